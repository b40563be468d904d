"""What the cache refuses to load and to store; that engines are built, kept and rebuilt is tested beside the builder."""

import fcntl
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from relidar.bundle import ENGINES, Bundle, open_bundle
from relidar.engine_cache import EngineKey, building, engine_key, input_shapes, load_plan, plan_fault, plan_path, store_plan
from relidar.errors import BackendError
from relidar.words import MOST_PROMPTS, MOST_QUERIES


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    """A bundle of one's own."""
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    return open_bundle(tmp_path / "bundle")


@pytest.fixture
def key(bundle: Bundle) -> EngineKey:
    return engine_key(bundle, "tensorrt", "1", "sm87")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a disk that fills up: a file that grows beyond `size` bytes fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_plan_comes_back_as_it_was_stored(bundle: Bundle, key: EngineKey) -> None:
    with pytest.raises(BackendError, match=r"no engine for tensorrt 1 sm87 fp32 .*; run `python -m export\.trt"):
        load_plan(bundle, key)
    store_plan(bundle, key, b"plan")
    assert plan_fault(bundle, key) is None
    assert load_plan(bundle, key) == b"plan"
    store_plan(bundle, key, b"newer")
    assert load_plan(bundle, key) == b"newer"


@pytest.mark.parametrize(("limit", "content"), [(1000, b"x" * 2000), (100, b"x" * 50)], ids=["the plan", "its side-car"])
def test_a_full_disk_is_told_and_leaves_nothing_that_counts(bundle: Bundle, key: EngineKey, limit: int, content: bytes) -> None:
    before = {path: path.read_bytes() for path in bundle.path.iterdir()}
    with files_of_at_most(limit), pytest.raises(BackendError, match=r"cannot be written \(File too large\); free space"):
        store_plan(bundle, key, content)
    assert plan_fault(bundle, key)
    assert not list((bundle.path / ENGINES).glob(".*")), "no temporary file is left"
    open_bundle(bundle.path)
    assert {path: path.read_bytes() for path in bundle.path.iterdir() if path.is_file()} == before
    store_plan(bundle, key, content)
    assert load_plan(bundle, key) == content


def test_a_device_without_space_is_told_by_its_name(bundle: Bundle, key: EngineKey, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_to_full_disk(_path: Path, data: bytes) -> None:
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(data)

    monkeypatch.setattr(Path, "write_bytes", write_to_full_disk)
    with pytest.raises(BackendError, match=rf"{key.digest}\.plan: .* 4 bytes cannot be written \(No space left on device\)"):
        store_plan(bundle, key, b"plan")


def test_what_a_killed_builder_left_is_removed(bundle: Bundle, key: EngineKey) -> None:
    path = plan_path(bundle, key)
    path.parent.mkdir()
    halves = [path.with_name(f".{path.stem}.{ending}.abc.{ending}") for ending in ("plan", "json")]
    for half in halves:
        half.write_bytes(b"half")
    with building(bundle):
        assert not any(half.exists() for half in halves)
        store_plan(bundle, key, b"plan")


def test_only_what_a_builder_leaves_is_removed_and_all_of_it_that_can_be(bundle: Bundle, key: EngineKey) -> None:
    store_plan(bundle, key, b"plan")
    folder = bundle.path / ENGINES
    names = [".gitignore", ".notes.json", *(f".{key.digest}.{ending}.folder.{ending}" for ending in ("plan", "json"))]
    for name in names[:2]:
        (folder / name).touch()
    for name in names[2:]:  # which cannot be unlinked
        (folder / name).mkdir()
    halves = [folder / f".{key.digest}.{ending}.abc.{ending}" for ending in ("plan", "json")]
    for half in halves:
        half.touch()
    with building(bundle):
        assert not any(half.exists() for half in halves)
        assert all((folder / name).exists() for name in names)
        assert load_plan(bundle, key) == b"plan"


def test_without_locks_nothing_of_others_is_removed(bundle: Bundle, key: EngineKey, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = plan_path(bundle, key)
    path.parent.mkdir()
    half = path.with_name(f".{path.name}.abc.plan")
    half.write_bytes(b"half")
    with building(bundle):
        store_plan(bundle, key, b"plan")
    assert half.exists()
    assert load_plan(bundle, key) == b"plan"


def test_the_profile_takes_any_number_of_words(bundle: Bundle) -> None:
    shapes = input_shapes(bundle.manifest)
    width = bundle.manifest.student.feature_width
    assert (shapes["text"].min, shapes["text"].max) == ((1, width), (MOST_PROMPTS, width))
    assert (shapes["class_of_prompt"].min, shapes["class_of_prompt"].max) == ((1,), (MOST_PROMPTS,))
    assert (shapes["queries"].min, shapes["queries"].max) == ((1, width), (MOST_QUERIES, width))

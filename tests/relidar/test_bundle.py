"""A bundle that does not fit is refused with the file, what was found, and what to do."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from relidar.bundle import CPU_PROGRAM, DENSE_FP16_ONNX, GOLDEN, MANIFEST, REQUIRED, TEXT_BANK, Bundle, open_bundle, sha256_file
from relidar.errors import BundleError
from relidar.text_bank import TextBank, save_text_bank


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle of one's own to damage."""
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = yaml.safe_load((path / MANIFEST).read_text())
    change(content)
    (path / MANIFEST).write_text(yaml.safe_dump(content, sort_keys=False))


def refused(path: Path, *words: str) -> None:
    with pytest.raises(BundleError) as caught:
        open_bundle(path)
    for word in words:
        assert word in str(caught.value)


def test_a_whole_bundle_opens(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    assert bundle.manifest.format_version == 1
    assert set(bundle.manifest.sha256) == {*REQUIRED, DENSE_FP16_ONNX, CPU_PROGRAM}
    golden = bundle.golden()
    assert golden.features.shape[1] == bundle.manifest.student.feature_width == bundle.text.embeddings.shape[1]
    np.testing.assert_allclose(np.linalg.norm(golden.features, axis=1), 1, atol=1e-5)


def test_no_bundle(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere: no manifest.yaml", "export.trt")


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_file(copy: Path, name: str) -> None:
    (copy / name).unlink()
    refused(copy, name, "missing", "export it again")


@pytest.mark.parametrize("name", REQUIRED)
def test_a_changed_or_cut_file(copy: Path, name: str) -> None:
    whole = (copy / name).read_bytes()
    for data in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        (copy / name).write_bytes(data)
        refused(copy, name, "sha256", "changed or cut")


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version(copy: Path, version: object) -> None:
    edit(copy, lambda content: content.update(format_version=version))
    refused(copy, f"format_version is {version!r}", "reads 1", "export the bundle again")


def test_a_missing_version(copy: Path) -> None:
    edit(copy, lambda content: content.pop("format_version"))
    refused(copy, "format_version is None")


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "engines/../../secret"])
def test_a_path_out_of_the_bundle(copy: Path, name: str) -> None:
    (copy.parent / "secret").write_text("secret")
    edit(copy, lambda content: content["sha256"].update({name: sha256_file(copy.parent / "secret")}))
    refused(copy, name, "outside the bundle")


def test_a_link_out_of_the_bundle(copy: Path) -> None:
    shutil.move(copy / TEXT_BANK, copy.parent / "elsewhere")
    (copy / TEXT_BANK).symlink_to(copy.parent / "elsewhere")
    refused(copy, TEXT_BANK, "outside the bundle")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(colour="red"), ["unknown key 'colour'"]),
        (lambda c: c["student"].update(level=5), ["student.level", "did you mean 'levels'"]),
        (lambda c: c.pop("classes"), ["classes"]),
        (lambda c: c.update(classes=[]), ["classes"]),
        (lambda c: c.update(tolerance=0.0), ["tolerance"]),
        (lambda c: c.update(tolerance=float("nan")), ["tolerance"]),
        (lambda c: c["sha256"].pop("student.onnx"), ["no sha256 of student.onnx"]),
        (lambda c: c["capacities"].pop(), ["4 capacities for 5 levels"]),
        (lambda c: c["student"].update(feature_width=7), ["32 wide", "7"]),
        (lambda c: c["classes"][0].update(prompts=["zeppelin"]), ["'zeppelin'", "export.text"]),
        (lambda c: c["classes"][0].update(prompts=["car"] * 4097), ["4112 prompts", "at most 4096"]),
        (lambda c: c["classes"][1].update(id=c["classes"][0]["id"]), ["twice"]),
        (lambda c: c["capacities"][0].update(min=9, opt=5), ["capacities"]),
    ],
)
def test_a_manifest_that_does_not_fit(copy: Path, change: Callable[[dict[str, Any]], Any], words: list[str]) -> None:
    edit(copy, change)
    refused(copy, *words)


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "\x00", "!!python/object/apply:os.getcwd []"])
def test_a_manifest_that_is_none(copy: Path, text: str) -> None:
    (copy / MANIFEST).write_text(text)
    refused(copy, MANIFEST)


def test_a_text_bank_that_is_none(copy: Path) -> None:
    (copy / TEXT_BANK).write_bytes(b"not safetensors")
    edit(copy, lambda content: content["sha256"].update({TEXT_BANK: sha256_file(copy / TEXT_BANK)}))
    refused(copy, TEXT_BANK, "not a text bank")


def test_text_of_another_width(copy: Path) -> None:
    bundle = open_bundle(copy)
    narrow = TextBank("random", bundle.text.prompts, np.eye(16, 20, dtype=np.float32))
    save_text_bank(narrow, copy / TEXT_BANK)
    edit(copy, lambda content: content["sha256"].update({TEXT_BANK: sha256_file(copy / TEXT_BANK)}))
    refused(copy, "20 wide", "32", "encoder")


@pytest.mark.parametrize("fault", ["cut", "no features", "pickle", "shapes", "text", "npy"])
def test_a_golden_scan_that_is_none(copy: Path, fault: str) -> None:
    bundle: Bundle = open_bundle(copy)
    golden = bundle.golden()
    path = copy / GOLDEN
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:-50])
    elif fault == "no features":
        np.savez(path, xyz_m=golden.xyz_m, intensity=golden.intensity)
    elif fault == "pickle":
        np.savez(path, xyz_m=golden.xyz_m, intensity=golden.intensity, features=np.array([{}]))
    elif fault == "shapes":
        np.savez(path, xyz_m=golden.xyz_m[:-1], intensity=golden.intensity, features=golden.features)
    elif fault == "npy":
        with path.open("wb") as file:
            np.save(file, golden.features)
    else:
        path.write_text("golden")
    with pytest.raises(BundleError, match=r"golden\.npz.*xport the bundle again"):
        bundle.golden()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("xyz_m", lambda a: a.astype(np.float64)),
        ("intensity", lambda a: a.astype(np.uint8)),
        ("intensity", lambda a: a[:, None]),
        ("intensity", lambda a: a[0]),
        ("features", lambda a: a.astype(np.float16)),
        ("features", lambda a: a[:0]),
        ("features", lambda a: a[:, :-1]),
        ("features", lambda a: a[0]),
        ("features", lambda a: np.where(np.arange(a.size).reshape(a.shape) == 3, np.float32(np.nan), a)),
        ("features", lambda a: a / np.float32(0)),
    ],
)
@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value):RuntimeWarning")
def test_a_golden_scan_of_other_shapes_types_or_values(copy: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    bundle = open_bundle(copy)
    arrays = vars(bundle.golden())
    np.savez(copy / GOLDEN, **{**arrays, name: change(arrays[name])})
    with pytest.raises(BundleError, match=r"golden\.npz: .*Export the bundle again"):
        bundle.golden()

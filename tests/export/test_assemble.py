import copy
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.checkpoint import StudentCheckpoint
from export.assemble import RawScan, capacities, lowered, write_bundle
from relidar.bundle import ENGINES, open_bundle
from relidar.errors import BundleError, CheckpointError, CloudError, ConfigError
from relidar.executor import self_test
from relidar.onnx_executor import PairsExecutor
from relidar.text_bank import TextBank
from relidar.words import MOST_PROMPTS


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_bundle_opens_and_reproduces_its_golden_scan(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    assert self_test(PairsExecutor(bundle), bundle) < 1e-4
    assert len(bundle.manifest.classes) == 16


def test_the_same_checkpoint_gives_the_same_networks(
    tiny_checkpoint: StudentCheckpoint, tiny_bundle: Path, random_cloud: Callable[..., RawScan], tmp_path: Path
) -> None:
    write_bundle(tiny_checkpoint, [random_cloud(300)], tmp_path / "b")
    again, first = open_bundle(tmp_path / "b").manifest.sha256, open_bundle(tiny_bundle).manifest.sha256
    assert [again[name] for name in ("student.onnx", "student-pairs.onnx")] == [
        first[name] for name in ("student.onnx", "student-pairs.onnx")
    ]


def test_a_failure_in_the_middle_leaves_the_old_bundle(
    tiny_checkpoint: StudentCheckpoint, random_cloud: Callable[..., RawScan], tmp_path: Path
) -> None:
    out = tmp_path / "b"
    write_bundle(tiny_checkpoint, [random_cloud(300)], out)
    before = contents(out)
    # The networks are written already when the embeddings turn out to be words.
    rows = np.full(tiny_checkpoint.text.embeddings.shape, "x")
    broken = replace(tiny_checkpoint, text=replace(tiny_checkpoint.text, embeddings=rows))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="could not convert"):
        write_bundle(broken, [random_cloud(300)], out)
    assert contents(tmp_path) == {f"b/{name}": data for name, data in before.items()}
    with pytest.raises(ValueError, match="could not convert"):
        write_bundle(broken, [random_cloud(300)], tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_full_disk_leaves_the_old_bundle_and_says_so(
    tiny_checkpoint: StudentCheckpoint, random_cloud: Callable[..., RawScan], tmp_path: Path
) -> None:
    write_bundle(tiny_checkpoint, [random_cloud(300)], tmp_path / "b")
    before = contents(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # a file that grows beyond fails, as on a full disk
    try:
        with pytest.raises(BundleError, match=r"b: cannot be written \(.*File too large.*free space.*is as it was"):
            write_bundle(tiny_checkpoint, [random_cloud(400)], tmp_path / "b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(tmp_path) == before
    open_bundle(tmp_path / "b")


@pytest.mark.parametrize("where", ["stem.conv.weight", "encoder.1.blocks.0.norm.running_var", "head.bias"])
def test_a_student_that_diverged_is_refused_by_the_layer(
    tiny_checkpoint: StudentCheckpoint, random_cloud: Callable[..., RawScan], tmp_path: Path, where: str
) -> None:
    student = copy.deepcopy(tiny_checkpoint.student)
    student.state_dict()[where].view(-1)[0] = -np.inf
    with pytest.raises(CheckpointError, match=r"weights in (submanifold|down|a linear).* not all finite numbers.*train again"):
        write_bundle(replace(tiny_checkpoint, student=student), [random_cloud(300)], tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_student_with_an_unknown_layer_cannot_be_lowered(tiny_checkpoint: StudentCheckpoint) -> None:
    student = copy.deepcopy(tiny_checkpoint.student)
    student.stem = torch.nn.Identity()
    with pytest.raises(CheckpointError, match=r"minkunet14 has a layer that no graph is known for.*relidar that wrote"):
        lowered(student)


def test_an_older_bundle_is_replaced_whole(
    tiny_checkpoint: StudentCheckpoint, random_cloud: Callable[..., RawScan], tmp_path: Path
) -> None:
    out = tmp_path / "b"
    write_bundle(tiny_checkpoint, [random_cloud(300)], out)
    (out / "left over").write_text("x")
    write_bundle(tiny_checkpoint, [random_cloud(400)], out)
    assert not (out / "left over").exists()
    open_bundle(out)


def test_engines_stay_where_the_network_is_the_same(
    tiny_checkpoint: StudentCheckpoint, random_cloud: Callable[..., RawScan], tmp_path: Path
) -> None:
    out = tmp_path / "b"
    write_bundle(tiny_checkpoint, [random_cloud(300)], out)
    (out / ENGINES).mkdir()
    (out / ENGINES / "key.plan").write_bytes(b"plan")
    write_bundle(tiny_checkpoint, [random_cloud(400)], out)
    assert contents(out / ENGINES) == {"key.plan": b"plan"}
    student = copy.deepcopy(tiny_checkpoint.student)
    with torch.no_grad():
        student.head.bias[0] += 1
    write_bundle(replace(tiny_checkpoint, student=student), [random_cloud(400)], out)
    assert not (out / ENGINES).exists()


def test_a_folder_of_something_else_is_not_replaced(
    tiny_checkpoint: StudentCheckpoint, random_cloud: Callable[..., RawScan], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="photos: a folder that is not a bundle"):
        write_bundle(tiny_checkpoint, [random_cloud(300)], tmp_path / "photos")
    with pytest.raises(ConfigError, match=r"holiday\.jpg: a file"):
        write_bundle(tiny_checkpoint, [random_cloud(300)], tmp_path / "photos" / "holiday.jpg")
    assert (tmp_path / "photos" / "holiday.jpg").read_bytes() == b"x"


def test_a_bundle_needs_a_scan_with_voxels(tiny_checkpoint: StudentCheckpoint, tmp_path: Path) -> None:
    with pytest.raises(CloudError, match="no scans"):
        write_bundle(tiny_checkpoint, [], tmp_path / "b")
    with pytest.raises(CloudError, match="no point in range"):
        write_bundle(tiny_checkpoint, [RawScan(np.full((5, 3), np.nan, np.float32), np.zeros(5, np.float32))], tmp_path / "b")


def test_text_that_does_not_fit_the_classes_is_refused_before_anything_is_written(
    tiny_checkpoint: StudentCheckpoint, random_cloud: Callable[..., RawScan], tmp_path: Path
) -> None:
    many = tuple(f"{i}" for i in range(MOST_PROMPTS + 1))
    rows = np.tile(tiny_checkpoint.text.embeddings[:1], (len(many), 1))
    crowd = tiny_checkpoint.prompt_set.classes[0].model_copy(update={"prompts": many})
    prompt_set = tiny_checkpoint.prompt_set.model_copy(update={"classes": (crowd,)})
    with pytest.raises(BundleError, match=rf"prompt set 'test': {len(many)} prompts .*at most {MOST_PROMPTS}"):
        write_bundle(
            replace(tiny_checkpoint, text=TextBank("random", many, rows), prompt_set=prompt_set),
            [random_cloud(300)],
            tmp_path / "b",
        )
    narrow = replace(tiny_checkpoint.text, embeddings=np.eye(16, dtype=np.float32))
    for text in (narrow, replace(tiny_checkpoint.text, prompts=tuple(f"{i}" for i in range(16)))):
        with pytest.raises(BundleError):
            write_bundle(replace(tiny_checkpoint, text=text), [random_cloud(300)], tmp_path / "b")
        assert list(tmp_path.iterdir()) == []


def test_capacities_are_the_median_and_the_percentile_with_headroom() -> None:
    counts = np.stack([np.arange(1, 102) * 10, np.arange(1, 102)], axis=1)  # 10..1010 and 1..101 voxels
    fine, coarse = capacities(counts)
    assert (fine.min, fine.opt, fine.max) == (1, 510, 1500)
    assert (coarse.min, coarse.opt, coarse.max) == (1, 51, 150)


def test_the_golden_scan_fits_whatever_the_others_are() -> None:
    (fine,) = capacities([[5000], *[[10]] * 400])
    assert (fine.opt, fine.max) == (10, 5000)


def test_the_manifest_says_where_the_capacities_come_from(tiny_bundle: Path) -> None:
    rule = open_bundle(tiny_bundle).manifest.capacity_rule
    assert rule is not None
    assert (rule.percentile, rule.headroom, rule.scans) == (99, 1.5, 1)

"""Linear probe, fine-tuning and k-shot: what is trained and what is not, voxel labels against a loop, learning, records."""

import copy
import json
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from distill import evaluate
from distill.checkpoint import StudentCheckpoint, save_student
from distill.fine_tuning import Classifier, answers, fresh, segmentation_loss, tune
from distill.k_shot import draw, halves
from distill.labelled_clouds import FolderClouds, spread
from distill.scan_folder import ScanSet
from distill.scoring import score
from distill.student import Student, StudentConfig
from distill.tune_config import FINE_TUNE, LINEAR_PROBE, TuneConfig
from distill.tuning_scans import IGNORED, voxel_truth
from relidar.config_file import validate
from relidar.errors import ConfigError, DatasetError
from relidar.text_bank import TextBank
from relidar.voxels import CartesianGrid, Preprocessing, voxelise

ROOT = Path(__file__).parents[2]
SCAN_SET = {
    "name": "made-up",
    "intensity_max": 1.0,
    "classes": [
        {"name": "ground", "truth": [3], "predicted": ["drivable surface"]},
        {"name": "wall", "truth": [4, 5], "predicted": ["manmade"]},
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve scans of a ground and a wall; one point in ten has no label."""
    generator = np.random.default_rng(0)
    path = tmp_path / "scans"
    path.mkdir()
    for number in range(12):
        xyz = generator.uniform([-12, -12, -1.9], [12, 12, -1.7], (600, 3))
        wall = generator.random(600) < 0.3
        xyz[wall, 1], xyz[wall, 2] = 9.0 + number / 20, generator.uniform(-1.7, 2.5, wall.sum())
        label = np.where(wall, generator.choice([4, 5], 600), 3)
        label[generator.random(600) < 0.1] = 0
        points = np.column_stack([xyz, np.where(wall, 0.9, 0.2)]).astype(np.float32)
        np.savez(path / f"{number:03d}.npz", points=points, label=label.astype(np.uint8))
    return path


@pytest.fixture
def scan_set() -> ScanSet:
    return validate(SCAN_SET, ScanSet, "test")


@pytest.fixture
def clouds(folder: Path, scan_set: ScanSet) -> FolderClouds:
    return FolderClouds.of_folder(folder, scan_set, 255.0)


def test_a_voxel_has_the_class_of_most_of_its_labelled_points() -> None:
    random = np.random.default_rng(0)
    xyz_m = random.uniform(-3, 3, (400, 3)).astype(np.float32)
    truth = random.choice(np.array([0, 1, 2, 255], np.uint8), 400, p=[0.2, 0.2, 0.1, 0.5])
    voxels = voxelise(xyz_m, None, Preprocessing(grid=CartesianGrid(voxel_size_m=1.0), features=("one",)))
    found = voxel_truth(voxels, truth, 3)
    assert len(found) == len(voxels.coordinates)
    for row in range(len(found)):
        votes = [int(t) for v, t in zip(voxels.voxel_of_point, truth, strict=True) if v == row and t != 255]
        if not votes:
            assert found[row] == IGNORED
        else:
            assert votes.count(found[row]) == max(map(votes.count, votes))
    assert (found == IGNORED).any()


def test_ignored_voxels_have_no_part_in_the_loss() -> None:
    torch.manual_seed(0)
    logits, truth = torch.randn(20, 3), torch.randint(0, 3, (20,))
    more = torch.cat([logits, 100 * torch.randn(5, 3)])
    ignored = torch.cat([truth, torch.full((5,), IGNORED)])
    torch.testing.assert_close(segmentation_loss(more, ignored), segmentation_loss(logits, truth))
    assert segmentation_loss(logits, torch.full((20,), IGNORED)).item() == 0


def test_protocol_parameters_are_slidrs() -> None:
    assert (FINE_TUNE.epochs, FINE_TUNE.batch_scans, FINE_TUNE.trunk_lr, FINE_TUNE.head_lr) == (100, 16, 0.02, 2.0)
    assert (LINEAR_PROBE.epochs, LINEAR_PROBE.trunk_lr, LINEAR_PROBE.head_lr) == (100, 0.0, 0.05)
    assert (FINE_TUNE.momentum, FINE_TUNE.dampening, FINE_TUNE.weight_decay) == (0.9, 0.1, 1e-4)


def test_a_linear_probe_trains_the_last_layer_alone(
    tiny_checkpoint: StudentCheckpoint, clouds: FolderClouds, scan_set: ScanSet
) -> None:
    before = copy.deepcopy(tiny_checkpoint.student.state_dict())

    def tuned(protocol: TuneConfig, epochs: int) -> Classifier:
        config = protocol.model_copy(update={"epochs": epochs})
        return tune(tiny_checkpoint.student, tiny_checkpoint.preprocessing, clouds.only([0, 1]), scan_set, config)

    probe = tuned(LINEAR_PROBE, 2)
    for name, value in probe.trunk.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not torch.equal(tuned(LINEAR_PROBE, 1).head.weight, probe.head.weight)
    whole = tuned(FINE_TUNE, 1)
    changed = [name for name, value in whole.trunk.state_dict().items() if not torch.equal(value, before[name])]
    assert {"stem.conv.weight", "stem.norm.running_mean"} <= set(changed)
    assert not any(name.startswith("head.") for name in changed)
    # The student itself is left as it was.
    for name, value in tiny_checkpoint.student.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_trunk_and_last_layer_have_their_own_rates(
    tiny_checkpoint: StudentCheckpoint, clouds: FolderClouds, scan_set: ScanSet
) -> None:
    def moved(trunk_lr: float, head_lr: float) -> tuple[float, float]:
        config = FINE_TUNE.model_copy(update={"epochs": 1, "trunk_lr": trunk_lr, "head_lr": head_lr, "weight_decay": 0.0})
        tuned = tune(tiny_checkpoint.student, tiny_checkpoint.preprocessing, clouds.only([0]), scan_set, config)
        start = tune(
            tiny_checkpoint.student,
            tiny_checkpoint.preprocessing,
            clouds.only([0]),
            scan_set,
            config.model_copy(update={"trunk_lr": 1e-12, "head_lr": 1e-12}),
        )
        trunk = (tuned.trunk.stem.conv.weight - start.trunk.stem.conv.weight).norm()
        return trunk.item(), (tuned.head.weight - start.head.weight).norm().item()

    once, head_twice, trunk_twice = moved(1e-3, 1e-2), moved(1e-3, 2e-2), moved(2e-3, 1e-2)
    assert head_twice == pytest.approx((once[0], 2 * once[1]), rel=1e-2)
    assert trunk_twice == pytest.approx((2 * once[0], once[1]), rel=1e-2)


def test_fine_tuning_learns_and_is_determined_by_its_seed(
    tiny_checkpoint: StudentCheckpoint, clouds: FolderClouds, scan_set: ScanSet
) -> None:
    config = FINE_TUNE.model_copy(update={"epochs": 15, "batch_scans": 1, "head_lr": 0.5})
    preprocessing = tiny_checkpoint.preprocessing
    model = tune(fresh(tiny_checkpoint.student, 0), preprocessing, clouds.only([0, 1]), scan_set, config)
    result = score(answers(model, preprocessing), (clouds[n] for n in (8, 9)), scan_set)
    assert result["miou"] > 80
    assert result["points"] == sum(int((clouds[n][2] > 0).sum()) for n in (8, 9))
    short = config.model_copy(update={"epochs": 1})
    one, same, other = (
        tune(fresh(tiny_checkpoint.student, 0), preprocessing, clouds.only([0, 1]), scan_set, settings).head.weight
        for settings in (short, short, short.model_copy(update={"seed": 1}))
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_points_in_no_voxel_get_no_answer(tiny_checkpoint: StudentCheckpoint, clouds: FolderClouds, scan_set: ScanSet) -> None:
    config = LINEAR_PROBE.model_copy(update={"epochs": 1})
    model = tune(tiny_checkpoint.student, tiny_checkpoint.preprocessing, clouds.only([0]), scan_set, config)
    predict = answers(model, tiny_checkpoint.preprocessing)
    xyz_m = np.array([[5, 0, 0], [np.nan, 0, 0], [500, 0, 0], [5.01, 0, 0]], np.float32)
    label = predict(xyz_m, np.zeros(4, np.float32))
    assert label[0] == label[3] < 2
    assert label[1] == label[2] == 255
    assert predict(np.full((2, 3), np.nan, np.float32), None).tolist() == [255, 255]


def test_shots_are_earlier_than_the_test_and_nested(clouds: FolderClouds) -> None:
    earlier, later = halves(clouds)
    assert [path.stem for path in earlier.paths] == [f"{n:03d}" for n in range(8)]
    assert [path.stem for path in later.paths] == [f"{n:03d}" for n in range(8, 12)]
    for seed in range(3):
        chosen = [set(draw(earlier, k, seed).paths) for k in (1, 2, 4, 8)]
        assert [len(paths) for paths in chosen] == [1, 2, 4, 8]
        assert all(small < large for small, large in pairwise(chosen))
    assert len({draw(earlier, 1, seed).paths[0] for seed in range(20)}) > 3
    with pytest.raises(DatasetError, match="12 scans are too few to label 12"):
        halves(clouds, 12)
    with pytest.raises(DatasetError, match="k = 9, but there are only 8"):
        draw(earlier, 9, 0)
    assert [path.stem for path in spread(clouds, 3).paths] == ["000", "006", "011"]


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate", *map(str, words)])
    evaluate.main()


def test_the_commands_write_a_record_a_run(
    tiny_checkpoint: StudentCheckpoint,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_student(tiny_checkpoint, tmp_path / "student.pt")
    (tmp_path / "set.yaml").write_text(yaml.safe_dump(SCAN_SET))
    words = ["--checkpoint", tmp_path / "student.pt", "--scans", folder, "--scan-set", tmp_path / "set.yaml"]
    out = tmp_path / "out.json"
    run(monkeypatch, "k-shot", *words, "--k", 1, 2, "--seeds", 3, 4, "--epochs", 2, "--test-scans", 2, "--out", out)
    content = json.loads(out.read_text())
    assert [(r["k"], r["seed"], r["scans"]) for r in content["runs"]] == [(1, 3, 2), (2, 3, 2), (1, 4, 2), (2, 4, 2)]
    assert all(r["protocol"] == "k_shot" and r["set"] == "made-up" and r["tuning"]["epochs"] == 2 for r in content["runs"])
    assert all(set(r["structure"]) == {"uniformity_student", "tolerance_student"} for r in content["runs"])
    assert content["commit"]
    assert "\n1 labelled scan, seed 3\n" in (said := capsys.readouterr().out)
    assert "\n2 labelled scans, seed 3\n" in said
    assert content["command"].startswith("python -m distill.evaluate k-shot --checkpoint ")
    run(monkeypatch, "zero-shot", *words, "--random-start", "--out", out)
    record = json.loads(out.read_text())
    assert (record["protocol"], record["random_start"], record["scans"]) == ("zero_shot", True, 12)
    assert record["seconds"] > 0


def test_a_dataset_is_probed_tuned_and_shot(
    tiny_checkpoint: StudentCheckpoint, config_values: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    # As wide as the teacher of the configuration, which the gaps are measured against.
    student = Student(StudentConfig(architecture="minkunet14", width=0.25), 1, 384)
    text = TextBank("random", tiny_checkpoint.text.prompts, np.eye(len(tiny_checkpoint.text.prompts), 384, dtype=np.float32))
    save_student(replace(tiny_checkpoint, student=student, text=text), tmp_path / "student.pt")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config_values))
    words = ["--checkpoint", tmp_path / "student.pt", "--config", tmp_path / "config.yaml", "--epochs", 1, "--batch-scans", 1]
    for command in ("linear-probe", "fine-tune", "k-shot"):
        out = tmp_path / f"{command}.json"
        run(monkeypatch, command, *words, *(["--k", 1] if command == "k-shot" else []), "--out", out)
        record = json.loads(out.read_text())
        assert record["protocol"] == command.replace("-", "_")
        assert record["labelled_scans"] == (1 if command == "k-shot" else 2)
        assert record["scans"] == 1
        assert record["points"] > 1000
        assert record["structure"]["relation_gap"] > 0
    save_student(tiny_checkpoint, tmp_path / "narrow.pt")
    with pytest.raises(ConfigError, match="is 384 wide, the student 32"):
        run(monkeypatch, "fine-tune", *words, "--checkpoint", tmp_path / "narrow.pt")
    with pytest.raises(ConfigError, match=r"--split val: 1 of its 1 keyframes are in data\.val_split \(val\)"):
        run(monkeypatch, "fine-tune", *words, "--split", "val")
    with pytest.raises(DatasetError, match="10 % is every 10th, but there are only 2"):
        run(monkeypatch, "fine-tune", *words, "--percent", 10)

"""Real students of two steps, scored as the comparison scores them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from distill.cache_filling import fill_cache
from distill.compare.config import CompareConfig
from distill.compare.runs import FEW_LABELS, ZERO_SHOT, Run
from distill.compare.scoring import few_label_records, zero_shot_records
from distill.compare.sets import held_out
from distill.config import SimilarityLoss
from relidar.config_file import validate
from relidar.errors import ConfigError, DatasetError

ROOT = Path(__file__).parents[3]
COMMAND = "python -m distill.compare"


@pytest.fixture(scope="module")
def values(config_values: dict, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """One loss, one teacher; the two training keyframes stand in for the validation split, which has one only."""
    train = config_values | {
        "run": str(tmp_path_factory.mktemp("compare")),
        "data": config_values["data"] | {"val_split": "train"},
        "schedule": config_values["schedule"] | {"steps": 2},
    }
    contest = {"teacher": config_values["teacher"], "text_shifts": [0, 2], "spare_dimensions": 16}
    few = {"shots": [1], "steps": 2, "probe_steps": 2}
    return {
        "train": train, "contests": [contest], "losses": [{"kind": "similarity"}], "learning_rates": [1e-3], "seeds": [0],
        "tuning_share": 0.5, "few_labels": few,
    }  # fmt: skip


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten labelled scans, named as the set that configs/scan_sets describes."""
    folder = tmp_path_factory.mktemp("data") / "vlp32-mit"
    folder.mkdir()
    for number in range(10):
        random = np.random.default_rng(number)
        points = np.concatenate([random.uniform(-20, 20, (300, 3)), random.uniform(0, 255, (300, 1))], axis=1)
        np.savez(folder / f"{number}.npz", points=points.astype(np.float32), label=random.integers(0, 9, 300).astype(np.uint8))
    return folder


def test_a_run_is_trained_once_and_scored_by_words_and_by_few_labels(
    values: dict, real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    config = validate(values, CompareConfig, "test")
    run = Run(0, config.contests[0], SimilarityLoss(), 1e-3)
    fill_cache(run.train_config(config), workers=0)
    zero_shot_records(config, run, [real], COMMAND)
    records = json.loads(run.records(config, ZERO_SHOT, [real]).read_text())
    assert [(r["set"], r["text_shift"]) for r in records] == [
        ("street-tuning", 0.0), ("street", 0.0), ("street", 2.0), ("vlp32-mit", 0.0), ("vlp32-mit", 2.0),
    ]  # fmt: skip
    assert all(r["loss"] == "similarity" and (r["command"], r["run"]) == (COMMAND, run.name) for r in records)
    assert records[2]["text_gap"] > records[1]["text_gap"]
    assert set(records[0]["gaps"]) >= {"modality_gap", "relation_gap", "tolerance_student"}
    trained = (run.folder(config) / "student.pt").stat().st_mtime_ns
    few_label_records(config, run, [real], COMMAND)
    assert (run.folder(config) / "student.pt").stat().st_mtime_ns == trained
    learned = json.loads(run.records(config, FEW_LABELS, [real]).read_text())
    assert [(r["set"], r["protocol"], r["k"]) for r in learned] == [
        ("street", "k_shot", 1), ("vlp32-mit", "k_shot", 1), ("street", "linear_probe", 2),
    ]  # fmt: skip
    few_label_records(config, Run(1), [real], COMMAND)
    random = json.loads(Run(1).records(config, FEW_LABELS, [real]).read_text())
    assert {(r["loss"], r["teacher"], r["lr"]) for r in random} == {("random", None, None)}


def test_a_street_too_small_to_choose_and_to_test_is_refused(values: dict) -> None:
    alone = values | {"train": values["train"] | {"data": values["train"]["data"] | {"val_split": "val"}}}
    with pytest.raises(DatasetError, match="1 validation keyframe"):
        held_out(validate(alone, CompareConfig, "test"))


def test_a_student_of_another_configuration_is_not_scored(values: dict, tmp_path: Path) -> None:
    config = validate(values | {"train": values["train"] | {"run": str(tmp_path)}}, CompareConfig, "test")
    run = Run(0, config.contests[0], SimilarityLoss(), 1e-3)
    folder = run.folder(config)
    folder.mkdir(parents=True)
    (folder / "student.pt").write_bytes(b"of another")  # its checkpoint to resume from is not there any more
    other = run.train_config(config).model_copy(update={"seed": 9})
    (folder / "config.yaml").write_text(yaml.safe_dump(other.model_dump(mode="json")))
    with pytest.raises(ConfigError, match="holds a run with another configuration"):
        zero_shot_records(config, run, [], COMMAND)


@pytest.mark.slow  # starts processes that import torch
def test_the_command_does_all_runs_and_nothing_twice(values: dict, real: Path, tmp_path: Path) -> None:
    (tmp_path / "compare.yaml").write_text(yaml.safe_dump(values | {"train": values["train"] | {"run": str(tmp_path / "runs")}}))
    command = [sys.executable, "-m", "distill.compare", "--config", tmp_path / "compare.yaml", "--out", tmp_path / "out.json"]
    environment = {"RELIDAR_DATA": str(real.parent), "PATH": ""}
    made: list[dict[Path, int]] = []
    for _ in range(2):
        done = subprocess.run([*command, "--jobs", "2"], capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        records = json.loads((tmp_path / "out.json").read_text())
        assert len(records) == 5 + 2 * 3
        assert "| similarity |" in done.stdout
        assert (tmp_path / "out.svg").read_text().startswith("<?xml")
        files = [path for kind in ("*/*/student.pt", "*/*/*.json") for path in (tmp_path / "runs").glob(kind)]
        made.append({path: path.stat().st_mtime_ns for path in files})
    assert len(made[0]) == 1 + 3
    assert made[1] == made[0]


def test_no_scene_both_chooses_and_tests(values: dict) -> None:
    tuning, test = held_out(validate(values, CompareConfig, "test"))
    assert len(tuning) == 1
    assert not {frame.scene for frame in tuning.frames} & {frame.scene for frame in test.frames}

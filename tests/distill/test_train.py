"""The trainer as a user runs it: it learns, resumes to the very same weights, and refuses what it cannot use."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from distill.cache import fill_cache
from distill.checkpoint import load_student
from distill.config import TrainConfig
from distill.train import LAST, STUDENT, train
from relidar.config_file import load, validate
from relidar.errors import CheckpointError, ConfigError, DatasetError

ROOT = Path(__file__).parents[2]


def with_values(values: dict, **changes: object) -> TrainConfig:
    return validate(values | changes, TrainConfig, "test")


def test_a_resumed_run_ends_with_the_weights_of_a_straight_run(config_values: dict, tmp_path: Path) -> None:
    straight = train(with_values(config_values, run=str(tmp_path / "straight")))
    # The same run, killed after its third step: the last checkpoint is that of step 2.
    stopped = tmp_path / "stopped"
    code = (
        "import os, sys, torch, yaml\n"
        "from distill import training_module, train\n"
        "from distill.config import TrainConfig\n"
        "from relidar.config_file import validate\n"
        "step = training_module.Distillation.training_step\n"
        "def killed(self, batch, index):\n"
        "    if self.global_step == 3: os.kill(os.getpid(), 9)\n"
        "    return step(self, batch, index)\n"
        "training_module.Distillation.training_step = killed\n"
        "torch.set_num_threads(1)\n"  # as in the tests: the order of sums depends on it
        "train.train(validate(yaml.safe_load(sys.argv[1]), TrainConfig, 'test'))\n"
    )
    values = yaml.safe_dump(config_values | {"run": str(stopped)})
    killed = subprocess.run([sys.executable, "-c", code, values], cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert (stopped / LAST).exists()
    assert not (stopped / STUDENT).exists()
    resumed = train(with_values(config_values, run=str(stopped)))
    expected, found = load_student(straight).student.state_dict(), load_student(resumed).student.state_dict()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


def test_a_cut_checkpoint_is_refused(config_values: dict, tmp_path: Path) -> None:
    (tmp_path / LAST).write_bytes(b"PK cut short")
    with pytest.raises(CheckpointError, match=r"last\.ckpt: not readable as a checkpoint"):
        train(with_values(config_values, run=str(tmp_path)))


def test_an_error_in_a_worker_process_is_told_plainly(config_values: dict, tmp_path: Path) -> None:
    street = tmp_path / "street"
    shutil.copytree(config_values["data"]["root"], street)
    values = config_values | {"data": {"root": str(street), "splits": "file"}, "cache": str(tmp_path / "cache")}
    for image in (street / "samples/CAM_BACK").glob("*.jpg"):
        image.write_bytes(image.read_bytes()[:300])
    with pytest.raises(DatasetError, match=r"^[^\n]*\.jpg: image cannot be read[^\n]*$"):
        fill_cache(validate(values, TrainConfig, "test"), workers=1)


@pytest.mark.parametrize("loss", ["relational", "contrastive", "similarity"])
def test_every_loss_falls(config_values: dict, tmp_path: Path, loss: str) -> None:
    schedule = config_values["schedule"] | {"steps": 30}
    train(with_values(config_values, run=str(tmp_path), loss={"kind": loss}, schedule=schedule, optim={"lr": 0.01}))
    log = EventAccumulator(str(tmp_path / "log"))
    log.Reload()
    values = [event.value for event in log.Scalars("loss")]
    assert values[-1] < 0.97 * values[0]
    assert "structure/relation_gap" in log.Tags()["scalars"]


def test_the_command_writes_the_student_and_the_resolved_config(config_values: dict, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config_values | {"run": str(tmp_path / "run")}))
    command = [sys.executable, "-W", "error::UserWarning", "-m", "distill.train", "--config", str(path), "--schedule.steps", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    resolved = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert resolved["schedule"]["steps"] == 2
    assert resolved["optim"]["lr"] == TrainConfig.model_fields["optim"].default.lr
    assert load_student(tmp_path / "run" / STUDENT).training.steps == 2


def test_another_configuration_is_not_mixed_into_a_run(config_values: dict, tmp_path: Path) -> None:
    schedule = config_values["schedule"] | {"steps": 2}
    train(with_values(config_values, run=str(tmp_path), schedule=schedule))
    with pytest.raises(ConfigError, match="another configuration"):
        train(with_values(config_values, run=str(tmp_path), schedule=schedule, seed=1))


def test_a_missing_cache_names_the_command_that_fills_it(config_values: dict, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"python -m distill\.cache"):
        train(with_values(config_values, run=str(tmp_path / "run"), cache=str(tmp_path / "empty")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optm: {lr: 0.1}", "did you mean 'optim'"),
        ("optim: {lr: 1e-3}", r"optim\.lr is \"1e-3\""),
        ("loss: {kind: relatonal}", "relatonal"),
        ("schedule: {steps: 0}", r"schedule\.steps is 0"),
    ],
)
def test_a_wrong_config_is_refused_by_name(config_values: dict, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config_values | yaml.safe_load(text)))
    with pytest.raises(ConfigError, match=message) as caught:
        load(path, TrainConfig)
    assert str(path) in str(caught.value)


def test_a_wrong_override_ends_the_command_and_leaves_nothing_behind(config_values: dict, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config_values | {"run": str(tmp_path / "run")}))
    command = [sys.executable, "-m", "distill.train", "--config", str(path), "--optim.lrr", "1e-3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "unknown key 'optim.lrr'; did you mean 'lr'" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [path]


def test_zero_shot_evaluation_of_a_checkpoint(config_values: dict, tmp_path: Path) -> None:
    schedule = config_values["schedule"] | {"steps": 2}
    student = train(with_values(config_values, run=str(tmp_path / "run"), schedule=schedule))
    out = tmp_path / "zero_shot.json"
    config = tmp_path / "run/config.yaml"
    command = [
        sys.executable,
        "-m",
        "distill.evaluate",
        "zero-shot",
        "--config",
        str(config),
        "--checkpoint",
        str(student),
        "--out",
        str(out),
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    result = json.loads(out.read_text())
    present = [iou for iou in result["class_iou"].values() if iou is not None]
    assert result["miou"] == pytest.approx(sum(present) / len(present))
    assert result["scans"] == 1
    assert result["structure"]["relation_gap"] > 0

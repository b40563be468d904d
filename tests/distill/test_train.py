"""The trainer as a user runs it: it learns, resumes to the very same weights, and refuses what it cannot use."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from distill.cache_filling import fill_cache
from distill.checkpoint import load_student
from distill.config import TrainConfig
from distill.torch_executor import student_segmenter
from distill.trainer import LAST, STUDENT, train
from distill.training_module import Distillation
from relidar.config_file import load, validate
from relidar.errors import CheckpointError, ConfigError, DatasetError, TextError

ROOT = Path(__file__).parents[2]


def with_values(values: dict, **changes: object) -> TrainConfig:
    return validate(values | changes, TrainConfig, "test")


# One thread as in the tests, since the order of sums depends on it.
TRAIN = """
import os, sys, torch, yaml
from distill import trainer, training_module
from distill.config import TrainConfig
from relidar.config_file import validate
torch.set_num_threads(1)
{killer}
trainer.train(validate(yaml.safe_load(sys.argv[1]), TrainConfig, "test"))
"""
IN_A_STEP = """
step = training_module.Distillation.training_step
def killed(self, batch, index):
    if self.global_step == {number}:
        os.kill(os.getpid(), 9)
    return step(self, batch, index)
training_module.Distillation.training_step = killed
"""
WHILE_WRITING = """
save, files = torch.save, []
def killed(content, file):
    files.append(file)
    save(content, file)
    if len(files) == {number}:
        os.truncate(file, os.path.getsize(file) // 2)
        os.kill(os.getpid(), 9)
torch.save = killed
"""


@pytest.fixture(scope="module")
def straight(config_values: dict, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Weights of a run of six steps that nothing stops, with a checkpoint every second."""
    run = tmp_path_factory.mktemp("straight")
    return load_student(train(with_values(config_values, run=str(run)))).student.state_dict()


def same_weights(run: Path, expected: dict[str, torch.Tensor]) -> bool:
    found = load_student(run / STUDENT).student.state_dict()
    return all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


@pytest.mark.parametrize(
    ("killer", "number", "steps_left"),
    [(IN_A_STEP, 3, 4), pytest.param(WHILE_WRITING, 2, 4, marks=pytest.mark.slow), (WHILE_WRITING, 4, 0)],
    ids=["in step 3", "writing checkpoint 2", "writing the student"],
)
def test_a_killed_run_goes_on_and_ends_with_the_weights_of_a_straight_run(
    config_values: dict,
    straight: dict[str, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killer: str,
    number: int,
    steps_left: int,
) -> None:
    values = yaml.safe_dump(config_values | {"run": str(tmp_path)})
    code = TRAIN.format(killer=killer.format(number=number))
    killed = subprocess.run([sys.executable, "-c", code, values], cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert (tmp_path / LAST).exists()
    assert not (tmp_path / STUDENT).exists()
    steps: list[int] = []
    step = Distillation.training_step
    monkeypatch.setattr(Distillation, "training_step", lambda self, *batch: steps.append(self.global_step) or step(self, *batch))
    train(with_values(config_values, run=str(tmp_path)))
    assert steps == list(range(6 - steps_left, 6))
    assert same_weights(tmp_path, straight)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_a_run_killed_at_random_moments_until_it_ends(
    config_values: dict, straight: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    values = yaml.safe_dump(config_values | {"run": str(tmp_path)})
    command = [sys.executable, "-c", TRAIN.format(killer=""), values]
    moments, seconds, killed = np.random.default_rng(0), 0.0, 0
    while not (tmp_path / STUDENT).exists():
        # The time it takes to start is not known, so the moments move on until they meet the training.
        seconds += 1.5
        try:
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=seconds + moments.uniform(0, 3))
        except subprocess.TimeoutExpired:  # which kills it with SIGKILL
            killed += 1
    assert killed > 2
    assert same_weights(tmp_path, straight)


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


@pytest.mark.parametrize(
    "loss",
    [
        "relational",
        "contrastive",
        *(pytest.param(x, marks=pytest.mark.slow) for x in ("contrastive_tolerant", "similarity", "scalr")),
    ],
)
def test_every_loss_falls(config_values: dict, tmp_path: Path, loss: str) -> None:
    schedule = config_values["schedule"] | {"steps": 30}
    # To the tests' teacher, whose weights are random, everything looks nearly alike: two superpixels have a mean cosine of 0.98.
    # So at the usual temperature of 0.07 even a student that copies it has a contrastive loss of 0.95 log N and more.
    settings = {"kind": loss} | ({"tau": 0.005} if loss.startswith("contrastive") else {})
    train(with_values(config_values, run=str(tmp_path), loss=settings, schedule=schedule, optim={"lr": 0.01}))
    log = EventAccumulator(str(tmp_path / "log"))
    log.Reload()
    values = [event.value for event in log.Scalars("loss")]
    assert values[-1] < 0.97 * values[0]
    gaps = ["modality_gap", "alignment", "uniformity_gap", "relation_gap"]
    both = [f"{of}_{side}" for of in ("uniformity", "tolerance") for side in ("student", "teacher")]
    assert {f"structure/{name}" for name in gaps + both} <= set(log.Tags()["scalars"])


@pytest.mark.slow
def test_mixed_precision_trains_too_and_the_weights_stay_float32(config_values: dict, tmp_path: Path) -> None:
    schedule = config_values["schedule"] | {"steps": 30, "precision": "bf16-mixed"}
    student = load_student(train(with_values(config_values, run=str(tmp_path), schedule=schedule, optim={"lr": 0.01}))).student
    log = EventAccumulator(str(tmp_path / "log"))
    log.Reload()
    values = [event.value for event in log.Scalars("loss")]
    assert values[-1] < 0.97 * values[0]
    assert {parameter.dtype for parameter in student.parameters()} == {torch.float32}


def test_pixels_and_their_points_can_be_rows(config_values: dict, tmp_path: Path) -> None:
    values = config_values | {"pairing": "pixels", "cache": str(tmp_path / "cache"), "run": str(tmp_path / "run")}
    config = with_values(values, schedule=config_values["schedule"] | {"steps": 2})
    with pytest.raises(DatasetError, match=r"python -m distill\.cache"):  # the cache of superpixels is another
        train(with_values(values, cache=config_values["cache"]))
    assert fill_cache(config, workers=0) == 2
    assert load_student(train(config)).training.steps == 2


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


def test_a_teacher_without_words_trains_a_student_without_words(config_values: dict, tmp_path: Path) -> None:
    torch.manual_seed(0)
    name, weights = "vit_tiny_patch16_224", tmp_path / "vit.safetensors"
    model = timm.create_model(name, num_classes=0)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, weights)
    values = config_values | {
        "teacher": {"kind": "timm", "model": name, "weights": str(weights)},
        "cache": str(tmp_path / "cache"),
        "run": str(tmp_path / "run"),
        "schedule": config_values["schedule"] | {"steps": 2},
    }
    config = with_values(values)
    fill_cache(config, workers=0)
    student = load_student(train(config))
    assert student.student.feature_width == 192
    assert student.text.prompts == ()
    with pytest.raises(TextError, match="no embedding of 'barrier'"):
        student_segmenter(student)


def test_a_text_encoder_of_another_space_than_the_teachers_is_refused(config_values: dict, tmp_path: Path) -> None:
    text = config_values["text"] | {"encoder": "open_clip:ViT-B-16:openai"}
    with pytest.raises(ConfigError, match="the teacher's space is that of sentence"):
        train(with_values(config_values, run=str(tmp_path), text=text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss: {kind: contrastive_tolerant, drop_share: 1.0}", r"drop_share is 1\.0"),
        ("loss: {kind: scalr, tau: 0.07}", r"unknown key 'loss\.tau'; remove it \(known here: kind\)"),
        ("pairing: points", r"pairing is \"points\""),
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
    assert "command line: unknown key '--optim.lrr'; did you mean '--optim.lr'?" in done.stderr
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

"""What is measured of each run, as records for results/compare.json."""

import json
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.cache_filling import open_cache
from distill.checkpoint import StudentCheckpoint, load_student
from distill.compare.config import RANDOM, CompareConfig, loss_name
from distill.compare.moved_words import move_words, text_gap, words_of, zero_shots
from distill.compare.runs import FEW_LABELS, ZERO_SHOT, Run
from distill.compare.sets import TestSet, held_out, real_set, street_set
from distill.config import AdamWConfig, SimilarityLoss, TrainConfig
from distill.datasets import read_keyframes
from distill.fine_tuning import fine_tuned
from distill.k_shot import draw
from distill.labelled_clouds import LabelledClouds
from distill.provenance import commit
from distill.student import Student
from distill.student_structure import measure_structure
from distill.teachers import make_teacher
from distill.trainer import STUDENT, refuse_other_config, train
from distill.tune_config import TuneConfig
from relidar.atomic import write_text
from relidar.bundle import TrainingFacts
from relidar.prompts import load_prompt_set
from relidar.text_bank import TextBank

Record = dict[str, Any]
TUNING = "street-tuning"


def zero_shot_records(config: CompareConfig, run: Run, real: Sequence[Path], command: str) -> None:
    """Trains a run's student unless that was done, and writes what it scores by its words alone."""
    started = time.monotonic()
    train_config = run.train_config(config)
    checkpoint = load_student(_student(train_config))
    words = words_of(checkpoint)
    moved = {shift: move_words(words, shift, train_config.text.spare_dimensions) for shift in run.text_shifts}
    shared = {"run": "", "seed": 0, "loss": SimilarityLoss(), "optim": AdamWConfig()}  # of all runs of a teacher
    energy = _image_energy(train_config.model_copy(update=shared).model_dump_json())
    tuning, test = held_out(config)
    street = street_set(config)
    view_of = open_cache(train_config, make_teacher(train_config.teacher).fingerprint).read
    gaps = measure_structure(checkpoint, train_config, test.frames, street.label_map, view_of=view_of)
    sets = (street, *(real_set(config, folder) for folder in real))
    scored = [(TUNING, zero_shots(checkpoint, {0.0: words}, tuning, street.label_map, TUNING))]
    scored += [(each.name, zero_shots(checkpoint, moved, each.zero_shot, each.label_map, each.name)) for each in sets]
    seconds = round(time.monotonic() - started, 1)
    records = [
        _facts(run, name, command)
        | {"protocol": "zero_shot", "text_shift": shift, "text_gap": text_gap(moved.get(shift, words), energy)}
        | result
        | {"gaps": gaps, "seconds": seconds}
        for name, results in scored
        for shift, result in results.items()
    ]
    _write(run.records(config, ZERO_SHOT, real), records)


def few_label_records(config: CompareConfig, run: Run, real: Sequence[Path], command: str) -> None:
    """Writes what a run's student scores after learning the labels of k scans, or all of the street with its last layer."""
    checkpoint = load_student(_student(run.train_config(config))) if run.loss else _random_start(config, run)
    records = []

    def learn(each: TestSet, labelled: LabelledClouds, tune: TuneConfig, protocol: Record) -> None:
        started = time.monotonic()
        result = fine_tuned(checkpoint, labelled, each.later, each.label_map, tune)
        scored = {name: result[name] for name in ("miou", "class_iou")}
        seconds = {"seconds": round(time.monotonic() - started, 1)}
        records.append(_facts(run, each.name, command) | protocol | scored | seconds)

    street = street_set(config)
    for each in (street, *(real_set(config, folder) for folder in real)):
        for k in config.few_labels.shots:
            protocol = {"protocol": "k_shot", "k": k}
            learn(each, draw(each.labelled, k, run.seed), config.fine_tune(k, run.seed), protocol)
    probe = config.linear_probe(len(street.labelled), run.seed)
    learn(street, street.labelled, probe, {"protocol": "linear_probe", "k": len(street.labelled)})
    _write(run.records(config, FEW_LABELS, real), records)


def _student(config: TrainConfig) -> Path:
    path = Path(config.run) / STUDENT
    if not path.exists():
        return train(config)
    refuse_other_config(Path(config.run), config)
    return path


def _random_start(config: CompareConfig, run: Run) -> StudentCheckpoint:
    """A student of the same shape that has learned nothing; its last layer and its words are not asked."""
    train_config = config.train
    prompts = load_prompt_set(Path(train_config.text.prompts))
    torch.manual_seed(run.seed)
    student = Student(train_config.student, len(train_config.preprocessing.features), feature_width=8).eval()
    nothing = TextBank("none", (), np.zeros((0, 8), np.float32))
    facts = TrainingFacts(commit=commit(), config_sha256="", steps=0)
    return StudentCheckpoint(student, train_config.preprocessing, prompts, nothing, facts)


@cache
def _image_energy(train_config: str) -> torch.Tensor:
    """(D, D) mean of x x^T over the teacher's features of held-out keyframes, what it tells apart weighing the same."""
    config = TrainConfig.model_validate_json(train_config)
    views = open_cache(config, make_teacher(config.teacher).fingerprint)
    total, count = torch.zeros(()), 0.0
    for frame in read_keyframes(config.data, config.data.val_split):
        view = views.read(frame)
        x, weight = torch.from_numpy(view.features).float(), torch.from_numpy(1.0 / view.crowd)
        total = total + x.T @ (x * weight[:, None])
        count += float(weight.sum())
    return total / count


def _facts(run: Run, name: str, command: str) -> Record:
    return {
        "loss": loss_name(run.loss) if run.loss else RANDOM,
        "teacher": run.contest.teacher.kind if run.contest else None,
        "seed": run.seed,
        "lr": run.lr,
        "set": name,
        "commit": commit(),
        "run": run.name,
        "command": command,
    }


def _write(path: Path, records: Sequence[Record]) -> None:
    write_text(path, json.dumps(records, indent=2) + "\n")

"""A small bundle with random weights, made on the spot: what a soak needs is a right answer, not a good one."""

from pathlib import Path

import numpy as np
import torch

from distill.checkpoint import StudentCheckpoint
from distill.student import Student, StudentConfig
from export.assemble import RawScan, write_bundle
from relidar.bundle import TrainingFacts
from relidar.prompts import ClassPrompts, PromptSet
from relidar.text_bank import TextBank
from relidar.voxels import CartesianGrid, Preprocessing

WORDS = ("road", "pavement", "grass", "wall", "building", "tree", "pole", "car", "van", "lorry", "person", "child", "bicycle")
CLASSES = 9
"""The first of WORDS; the rest is only in the text bank, for other vocabularies."""
FEATURE_WIDTH = 16


def write_small_bundle(path: Path, seed: int, voxel_size_m: float = 0.4) -> Path:
    """Writes a bundle whose labels depend on the seed; returns its path."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    student = Student(StudentConfig(architecture="minkunet14", width=0.25), in_channels=1, feature_width=FEATURE_WIDTH)
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
            assert module.running_mean is not None
            assert module.running_var is not None
            torch.nn.init.normal_(module.running_mean, std=0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    rows = random.normal(size=(len(WORDS), FEATURE_WIDTH)).astype(np.float32)
    text = TextBank("random", WORDS, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    classes = tuple(
        ClassPrompts(id=index, name=name, prompts=(name,), rgb=(20 * index, 255 - 20 * index, 128))
        for index, name in enumerate(WORDS[:CLASSES])
    )
    preprocessing = Preprocessing(grid=CartesianGrid(voxel_size_m=voxel_size_m))
    training = TrainingFacts(commit="0" * 40, config_sha256="0" * 64, steps=0)
    checkpoint = StudentCheckpoint(student.eval(), preprocessing, PromptSet(name="soak", classes=classes), text, training)
    scan = RawScan(random.uniform(-15, 15, (4000, 3)).astype(np.float32), random.uniform(0, 255, 4000).astype(np.float32))
    write_bundle(checkpoint, [scan], path, unknown_threshold=0.2)
    return path

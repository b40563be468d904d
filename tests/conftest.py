"""Fixtures that several folders of tests share."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import distill.torchvision_operators  # noqa: F401, before anything that imports torchvision

# isort: split
from distill.checkpoint import StudentCheckpoint
from distill.student import Student, StudentConfig
from export.assemble import RawScan, write_bundle
from relidar.bundle import TrainingFacts
from relidar.prompts import ClassPrompts, PromptSet
from relidar.text_bank import TextBank
from relidar.voxels import CartesianGrid, Preprocessing

# Tests are small: more threads than one only get into each other's way.
torch.set_num_threads(1)

CLASS_NAMES = (
    "barrier", "bicycle", "bus", "car", "construction vehicle", "motorcycle", "pedestrian", "traffic cone", "trailer", "truck",
    "drivable surface", "other flat", "sidewalk", "terrain", "manmade", "vegetation",
)  # fmt: skip


@pytest.fixture(scope="session")
def tiny_checkpoint() -> StudentCheckpoint:
    """A small student with random weights, random batch norm statistics and random text embeddings of the nuScenes classes."""
    torch.manual_seed(0)
    width = 32
    student = Student(StudentConfig(architecture="minkunet14", width=0.25), in_channels=1, feature_width=width)
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
            torch.nn.init.normal_(module.running_mean, std=0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    rows = np.random.default_rng(0).normal(size=(len(CLASS_NAMES), width)).astype(np.float32)
    text = TextBank("random", CLASS_NAMES, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    classes = tuple(
        ClassPrompts(id=index, name=name, prompts=(name,), rgb=(16 * index, 255 - 16 * index, 128))
        for index, name in enumerate(CLASS_NAMES)
    )
    preprocessing = Preprocessing(grid=CartesianGrid(voxel_size_m=0.2))
    training = TrainingFacts(commit="0" * 40, config_sha256="0" * 64, steps=0)
    return StudentCheckpoint(student.eval(), preprocessing, PromptSet(name="test", classes=classes), text, training)


@pytest.fixture(scope="session")
def random_cloud() -> Callable[..., RawScan]:
    """random_cloud(points, seed=0): points on a ground plane, two walls and in the air, as a LiDAR might see them."""

    def make(points: int, seed: int = 0) -> RawScan:
        random = np.random.default_rng(seed)
        xyz_m = random.uniform(-20, 20, (points, 3))
        surface = random.integers(0, 5, points)
        xyz_m[:, 2] = np.where(surface < 2, -1.8, random.uniform(-1.8, 3, points))
        xyz_m[:, 1] = np.where(surface == 2, 8.0, np.where(surface == 3, -8.0, xyz_m[:, 1]))
        return RawScan(xyz_m.astype(np.float32), random.uniform(0, 255, points).astype(np.float32))

    return make


@pytest.fixture(scope="session")
def relidar_data() -> Path:
    """The folder of real scans that the environment variable RELIDAR_DATA names; tests that need it skip without."""
    if "RELIDAR_DATA" not in os.environ:
        pytest.skip("RELIDAR_DATA does not name a folder of real scans")
    return Path(os.environ["RELIDAR_DATA"])


@pytest.fixture(scope="session")
def tiny_bundle(
    tiny_checkpoint: StudentCheckpoint, random_cloud: Callable[..., RawScan], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A real bundle of `tiny_checkpoint`; read only."""
    path = tmp_path_factory.mktemp("bundle") / "tiny"
    write_bundle(tiny_checkpoint, [random_cloud(6000)], path)
    return path

from collections.abc import Callable

import numpy as np
import pytest
import torch

from distill.checkpoint import StudentCheckpoint
from distill.student import Architecture, Student, StudentConfig
from distill.torch_executor import TorchExecutor
from export.assemble import RawScan
from export.program import lower
from relidar.executor import FEATURES, UNIT_FEATURES
from relidar.program import Add, Concat, Convolution, Linear, Normalise, Program, Relu
from relidar.rulebook import Rulebook, build_rulebook
from relidar.voxels import voxelise


def interpret(program: Program, features: np.ndarray, rulebook: Rulebook) -> np.ndarray:
    """What the steps mean, in float64 and without any trick."""
    tables = rulebook.tables()
    values = {FEATURES: features.astype(np.float64)}
    for step in program.steps:
        match step:
            case Convolution(output, x, table, weight, bias):
                padded = np.vstack([values[x], np.zeros((1, weight.shape[1]))])  # index -1 is the last row
                values[output] = np.einsum("vki,kio->vo", padded[tables[table]], weight) + bias
            case Linear(output, x, weight, bias):
                values[output] = values[x] @ weight + bias
            case Add(output, left, right):
                values[output] = values[left] + values[right]
            case Relu(output, x):
                values[output] = np.maximum(values[x], 0)
            case Concat(output, left, right):
                values[output] = np.hstack([values[left], values[right]])
            case Normalise(output, x):
                values[output] = values[x] / np.linalg.norm(values[x], axis=1, keepdims=True)
    return values[UNIT_FEATURES]


@pytest.mark.parametrize("architecture", ["minkunet14", "minkunet18", "minkunet34"])
def test_program_means_what_the_student_computes(
    architecture: Architecture, random_cloud: Callable[..., RawScan], tiny_checkpoint: StudentCheckpoint
) -> None:
    torch.manual_seed(1)
    student = Student(StudentConfig(architecture=architecture, width=0.25), in_channels=1, feature_width=12)
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.bias)
    cloud = random_cloud(500)
    voxels = voxelise(cloud.xyz_m, cloud.intensity, tiny_checkpoint.preprocessing)
    rulebook = build_rulebook(voxels.coordinates, 5)
    expected = TorchExecutor(student)(voxels.features, rulebook)
    assert np.abs(interpret(lower(student), voxels.features, rulebook) - expected).max() < 1e-5


def test_every_value_is_written_once_before_it_is_read(tiny_checkpoint: StudentCheckpoint) -> None:
    known = {FEATURES}
    for step in lower(tiny_checkpoint.student).steps:
        read = {getattr(step, field) for field in ("input", "left", "right") if hasattr(step, field)}
        assert read <= known
        assert step.output not in known
        known.add(step.output)
    assert UNIT_FEATURES in known


def test_all_tables_of_the_pyramid_are_used(tiny_checkpoint: StudentCheckpoint) -> None:
    rulebook = build_rulebook(np.zeros((1, 3), np.int32), 5)
    program = lower(tiny_checkpoint.student)
    assert program.tables == {name: table.shape[1] for name, table in rulebook.tables().items()} | program.tables
    assert set(program.tables) == set(rulebook.tables())

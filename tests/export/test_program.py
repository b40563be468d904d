import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from distill.checkpoint import StudentCheckpoint
from distill.student import Architecture, Student, StudentConfig
from distill.torch_executor import TorchExecutor
from export.assemble import RawScan
from export.program import lower
from relidar.errors import CheckpointError
from relidar.executor import FEATURES, UNIT_FEATURES
from relidar.rulebook import build_rulebook
from relidar.voxels import voxelise
from tests.relidar.compiled.small_programs import interpret


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
    assert program.tables == {name: table.shape[1] for name, table in rulebook.tables().items()}


STRANGE_LAYERS = {
    "stem": torch.nn.Identity(),
    "head": torch.nn.Identity(),
    "down.0.conv": torch.nn.Linear(16, 16),
    "up.1.norm": torch.nn.BatchNorm1d(64, track_running_stats=False),
    "encoder.0": torch.nn.Sequential(),
    "encoder.1.blocks.0": torch.nn.Identity(),
    "encoder.1.blocks.0.project": torch.nn.Linear(16, 32),
    "decoder.0.blocks.0.project": torch.nn.Sequential(torch.nn.Identity()),
    "decoder.0.blocks.0.project.1": torch.nn.Identity(),
}


@pytest.mark.parametrize("where", STRANGE_LAYERS)
def test_a_layer_without_a_known_graph_is_the_checkpoints_fault(where: str, tiny_checkpoint: StudentCheckpoint) -> None:
    student = copy.deepcopy(tiny_checkpoint.student)
    parent, _, name = where.rpartition(".")
    setattr(student.get_submodule(parent), name, STRANGE_LAYERS[where])
    with pytest.raises(CheckpointError, match=r"minkunet14 has a layer that no graph is known for \(.*relidar that wrote"):
        lower(student)

"""The peer of the benchmarks computes what our student computes; if it did not, their ratios would say nothing."""

import numpy as np
import pytest
import torch

from distill.checkpoint import StudentCheckpoint
from export.program import lower
from relidar.compiled.program import CompiledProgram
from relidar.rulebook import build_rulebook
from relidar.voxels import CartesianGrid, Preprocessing, voxelise

SPEC = Preprocessing(grid=CartesianGrid(voxel_size_m=0.2), max_range_m=20.0)


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    random = np.random.default_rng(0)
    return np.concatenate([random.uniform(-8, 8, (3000, 3)) * [1, 1, 0.1], random.uniform(0, 255, (3000, 1))], 1).astype(
        np.float32
    )


def test_the_same_features(tiny_checkpoint: StudentCheckpoint, points: np.ndarray) -> None:
    from tests.benchmarks.spconv_student import SpconvStudent, SpconvVoxeliser

    program = lower(tiny_checkpoint.student)
    voxels = voxelise(points[:, :3], points[:, 3], SPEC)
    voxeliser = SpconvVoxeliser(SPEC, program.levels, len(points))
    peer = SpconvStudent(program, voxeliser.shape)(torch.from_numpy(voxels.features), voxeliser.indices(voxels.coordinates))
    ours = CompiledProgram(program, threads=1)(voxels.features, build_rulebook(voxels.coordinates, program.levels))
    assert np.abs(peer.numpy() - ours).max() < 1e-3
    assert np.abs(ours).max() > 0.1


def test_the_same_voxels(points: np.ndarray) -> None:
    from tests.benchmarks.spconv_student import SpconvVoxeliser, search_pairs

    away = np.abs(points[:, :3] / 0.2 % 1 - 0.5).max(axis=1) < 0.49  # from where rounding decides
    far = np.hypot(points[:, 0], points[:, 1]) > SPEC.min_range_m
    kept = np.ascontiguousarray(points[away & far])
    voxels = voxelise(kept[:, :3], kept[:, 3], SPEC)
    voxeliser = SpconvVoxeliser(SPEC, 5, len(kept))
    means, indices = voxeliser(torch.from_numpy(kept))
    assert set(map(tuple, indices.tolist())) == set(map(tuple, voxeliser.indices(voxels.coordinates).tolist()))
    assert torch.isfinite(means).all()
    assert search_pairs(5, indices, voxeliser.shape) == build_rulebook(voxels.coordinates, 5).voxels[-1]

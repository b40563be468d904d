"""The student in spconv, the peer of the benchmarks: the steps of our program over spconv's voxels, pairs and convolutions.

It runs what we run: the same weights with batch norm folded in, biases, sums and ReLUs in place. spconv orders axes z, y, x.

On one thread its features are ours. On several, spconv 2.3.8 loses some additions on the CPU: its scatter shares two pointers
among OpenMP's threads. Its time is a peer's all the same.
"""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from relidar.executor import FEATURES
from relidar.program import SMALLEST_NORM, Add, Concat, Convolution, Linear, Normalise, Program, Relu, Step, inputs_of
from relidar.voxels import CartesianGrid, Preprocessing

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its build tools ask for the locale in a way that Python deprecates
    spconv = pytest.importorskip("spconv.pytorch", reason="spconv is not installed: extra `bench`")
    from spconv.pytorch.utils import PointToVoxel

POINTS_A_VOXEL = 5
"""That spconv's voxeliser keeps, of which the mean is taken; its documents' own figure."""


class SpconvVoxeliser:
    """Points to spconv's voxels, on the grid of a Cartesian preprocessing."""

    def __init__(self, spec: Preprocessing, levels: int, most_points: int) -> None:
        assert isinstance(spec.grid, CartesianGrid)
        size_m = spec.grid.voxel_size_m
        # Bounds that are whole cells of the coarsest level, so that cells have the parents that they have in our rulebook.
        step = 2 ** (levels - 1)
        bounds_m = [(-spec.max_range_m, spec.max_range_m)] * 2 + [(spec.min_height_m, spec.max_height_m)]
        low = [int(np.floor(low_m / size_m / step)) * step for low_m, _ in bounds_m]
        high = [int(np.ceil(high_m / size_m / step)) * step for _, high_m in bounds_m]
        self.lowest_cell = np.array(low)
        limits_m = [cell * size_m for cell in (*low, *high)]
        self._generator = PointToVoxel([size_m] * 3, limits_m, 4, most_points, POINTS_A_VOXEL)
        self.shape = [int(cells) for cells in self._generator.grid_size]
        """Cells along z, y and x."""

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 4) x, y, z, intensity -> (V, 4) means and (V, 4) int32 indices: 0, z, y, x."""
        kept, cells, count, _ = self._generator.generate_voxel_with_id(points)
        return kept.sum(dim=1) / count[:, None], nn.functional.pad(cells, (1, 0))

    def cells(self, points: Tensor) -> Tensor:
        """The indices alone, without the means."""
        return nn.functional.pad(self._generator.generate_voxel_with_id(points)[1], (1, 0))

    def indices(self, coordinates: NDArray[np.int32]) -> Tensor:
        """(V, 4) the indices of our own cells."""
        cells = (coordinates - self.lowest_cell)[:, ::-1]
        return nn.functional.pad(torch.from_numpy(cells.astype(np.int32)), (1, 0)).contiguous()


class SpconvStudent(nn.Module):
    """A program in spconv."""

    def __init__(self, program: Program, shape: list[int]) -> None:
        super().__init__()
        self._shape = shape
        self._layers = [(step, _layer(step)) for step in program.steps]
        self.eval()

    @torch.inference_mode()
    def forward(self, features: Tensor, indices: Tensor) -> Tensor:
        """(V, C_in) and their indices -> (V, D) unit rows; the pair searches are part of it, each made once."""
        values = {FEATURES: spconv.SparseConvTensor(features, indices, self._shape, 1)}
        for step, layer in self._layers:
            values[step.output] = layer(*(values[name] for name in inputs_of(step)))
        return values[self._layers[-1][0].output].features


def search_pairs(levels: int, indices: Tensor, shape: list[int]) -> int:
    """All of spconv's pair searches for a student of so many levels; returns the number of voxels of the coarsest."""
    from spconv.core import ConvAlgo
    from spconv.pytorch import ops

    for level in range(levels):
        ops.get_indice_pairs(indices, 1, shape, ConvAlgo.Native, *([v] * 3 for v in (3, 1, 1, 1, 0)), subm=True)
        if level + 1 < levels:
            indices, _, _ = ops.get_indice_pairs(indices, 1, shape, ConvAlgo.Native, *([v] * 3 for v in (2, 2, 0, 1, 0)))
            shape = [cells // 2 for cells in shape]
    return len(indices)


def _layer(step: Step) -> Callable[..., "spconv.SparseConvTensor"]:
    if isinstance(step, Convolution):
        convolution, bias = _convolution(step), torch.from_numpy(step.bias)
        return lambda x: _changed(convolution(x), lambda rows: rows.add_(bias))
    if isinstance(step, Linear):
        weight, bias = torch.from_numpy(step.weight), torch.from_numpy(step.bias)
        return lambda x: _changed(x, lambda rows: torch.addmm(bias, rows, weight))
    if isinstance(step, Add):
        return lambda x, y: _changed(x, lambda rows: rows.add_(y.features))
    if isinstance(step, Relu):
        return lambda x: _changed(x, torch.relu_)
    if isinstance(step, Concat):
        return lambda x, y: _changed(x, lambda rows: torch.cat([rows, y.features], dim=1))
    assert isinstance(step, Normalise)
    return lambda x: _changed(x, lambda rows: nn.functional.normalize(rows, dim=1, eps=SMALLEST_NORM))


def _changed(x: "spconv.SparseConvTensor", change: Callable[[Tensor], Tensor]) -> "spconv.SparseConvTensor":
    return x.replace_feature(change(x.features))


def _convolution(step: Convolution) -> nn.Module:
    kind, level = step.table.rsplit("_", 1)
    k, channels, outputs = step.weight.shape
    make, key = {
        "submanifold": (spconv.SubMConv3d, step.table),
        "down": (lambda *a, **b: spconv.SparseConv3d(*a, stride=2, **b), f"strided_{level}"),
        "up": (spconv.SparseInverseConv3d, f"strided_{level}"),
    }[kind]
    side = round(k ** (1 / 3))
    layer: nn.Module = make(channels, outputs, side, bias=False, indice_key=key)
    weight = torch.from_numpy(step.weight).reshape(side, side, side, channels, outputs).permute(4, 2, 1, 0, 3)
    layer.weight = nn.Parameter(weight.contiguous(), requires_grad=False)  # (C_out, z, y, x, C_in)
    return layer

"""The sparse convolution against the matrix products that it consists of."""

import numpy as np
import pytest
import torch

from distill.sparse_conv import SparseConvolution, pair_tables
from relidar.rulebook import build_rulebook
from relidar.voxels import CartesianGrid, Preprocessing, voxelise

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def cells() -> np.ndarray:
    """Voxels of a made-up scan: ground, walls and boxes as 32 beams see them."""
    azimuth, ring = np.meshgrid(np.linspace(-np.pi, np.pi, 1085), np.radians(np.linspace(-30.67, 10.67, 32)))
    wall_m = 12 + 8 * np.abs(np.sin(3 * azimuth))
    ground_m = np.where(ring < -0.02, 1.84 / np.tan(np.maximum(-ring, 0.02)), np.inf)
    distance_m = np.minimum(wall_m, ground_m)
    xyz_m = np.stack([distance_m * np.cos(azimuth), distance_m * np.sin(azimuth), distance_m * np.tan(ring)], axis=-1)
    spec = Preprocessing(grid=CartesianGrid(voxel_size_m=0.1), features=("one",))
    return voxelise(xyz_m.reshape(-1, 3).astype(np.float32), None, spec).coordinates


def test_convolution_against_its_matrix_products(cells: np.ndarray, record, alternate) -> None:  # type: ignore[no-untyped-def]
    """Forward and backward of a 96 -> 96 convolution, against nothing but the products that it consists of."""
    table = pair_tables(build_rulebook(cells, 1))["submanifold_0"]
    x = torch.randn(table.inputs, 96, requires_grad=True)
    weight = torch.randn(27, 96, 96, requires_grad=True)
    gradient = torch.randn(table.outputs, 96)
    gathered = [torch.randn(end - start, 96) for start, end in zip(table.splits, table.splits[1:], strict=False)]

    def ours() -> None:
        torch.autograd.grad(SparseConvolution.apply(x, weight, table), (x, weight), gradient)

    def products() -> None:
        with torch.no_grad():
            for rows, w in zip(gathered, weight, strict=True):
                y = rows @ w
                y @ w.T
                rows.T @ y

    detail = f"96 -> 96, {table.outputs} voxels, forward and backward"
    assert record("conv_floor", *alternate(ours, products), detail, wanted=0.8) >= 0.8

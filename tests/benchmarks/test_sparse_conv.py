"""The sparse convolution against the matrix products that it consists of."""

import pytest
import torch

from distill.sparse_conv import SparseConvolution, pair_tables
from relidar.rulebook import build_rulebook
from relidar.voxels import voxelise

pytestmark = pytest.mark.bench


def test_convolution_against_its_matrix_products(real_scans, spec, record, alternate) -> None:  # type: ignore[no-untyped-def]
    """Forward and backward of a 96 -> 96 convolution, against nothing but the products that it consists of."""
    xyz_m = real_scans["nuScenes"][:, :3].copy()
    table = pair_tables(build_rulebook(voxelise(xyz_m, real_scans["nuScenes"][:, 3], spec).coordinates, 1))["submanifold_0"]
    x = torch.randn(table.inputs, 96, requires_grad=True)
    weight = torch.randn(27, 96, 96, requires_grad=True)
    gradient = torch.randn(table.outputs, 96)
    pairs = [end - start for start, end in zip(table.splits, table.splits[1:], strict=False)]
    # What a convolution gathers, adds up and allocates is there already: rows of x and dy for every offset, room for results.
    rows_of_x, rows_of_dy, made = ([torch.randn(count, 96) for count in pairs] for _ in range(3))
    of_weight = torch.empty(27, 96, 96)

    def ours() -> None:
        torch.autograd.grad(SparseConvolution.apply(x, weight, table), (x, weight), gradient)

    def products() -> None:
        with torch.no_grad():
            for taken, w, y in zip(rows_of_x, weight, made, strict=True):
                torch.mm(taken, w, out=y)
            for taken, dy, w, dw, dx in zip(rows_of_x, rows_of_dy, weight, of_weight, made, strict=True):
                torch.mm(taken.T, dy, out=dw)
                torch.mm(dy, w.T, out=dx)

    detail = (
        f"96 -> 96, nuScenes scan, {table.outputs} voxels, forward and backward; peer is its products, into memory that is there"
    )
    for _ in range(20):  # as long as the allocator still asks the system for memory, page faults take a quarter of the time
        ours()
    assert record("conv_floor", *alternate(ours, products, runs=25), detail, wanted=0.8) >= 0.8

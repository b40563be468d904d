"""Sparse convolution against dense convolution on a grid, and its gradients against finite differences."""

import numpy as np
import pytest
import torch

from distill.sparse_conv import SparseConv, SparseConvolution, pair_tables
from relidar.rulebook import Rulebook, build_rulebook


@pytest.fixture(scope="module")
def rulebook() -> Rulebook:
    cells = np.argwhere(np.random.default_rng(0).random((8, 8, 8)) < 0.3).astype(np.int32)
    return build_rulebook(cells, levels=2)


def dense(cells: np.ndarray, features: torch.Tensor, size: int) -> torch.Tensor:
    grid = torch.zeros(1, features.shape[1], size, size, size, dtype=features.dtype)
    x, y, z = torch.from_numpy(cells).long().T
    grid[0, :, x, y, z] = features.T
    return grid


def test_submanifold_equals_dense_convolution_at_occupied_voxels(rulebook: Rulebook) -> None:
    cells = rulebook.coordinates[0]
    x, weight = torch.randn(len(cells), 3, dtype=torch.float64), torch.randn(27, 3, 5, dtype=torch.float64)
    kernel = weight.reshape(3, 3, 3, 3, 5).permute(4, 3, 0, 1, 2)
    expected = torch.nn.functional.conv3d(dense(cells, x, 8), kernel, padding=1)[0]
    a, b, c = torch.from_numpy(cells).long().T
    y = SparseConvolution.apply(x, weight, pair_tables(rulebook)["submanifold_0"])
    torch.testing.assert_close(y, expected[:, a, b, c].T)


def test_strided_convolution_equals_dense_at_occupied_voxels(rulebook: Rulebook) -> None:
    cells, coarse = rulebook.coordinates
    x, weight = torch.randn(len(cells), 3, dtype=torch.float64), torch.randn(8, 3, 5, dtype=torch.float64)
    kernel = weight.reshape(2, 2, 2, 3, 5).permute(4, 3, 0, 1, 2)
    expected = torch.nn.functional.conv3d(dense(cells, x, 8), kernel, stride=2)[0]
    a, b, c = torch.from_numpy(coarse).long().T
    y = SparseConvolution.apply(x, weight, pair_tables(rulebook)["down_0"])
    torch.testing.assert_close(y, expected[:, a, b, c].T)


def test_transposed_convolution_equals_dense_at_occupied_voxels(rulebook: Rulebook) -> None:
    cells, coarse = rulebook.coordinates
    x, weight = torch.randn(len(coarse), 3, dtype=torch.float64), torch.randn(8, 3, 5, dtype=torch.float64)
    kernel = weight.reshape(2, 2, 2, 3, 5).permute(3, 4, 0, 1, 2)
    expected = torch.nn.functional.conv_transpose3d(dense(coarse, x, 4), kernel, stride=2)[0]
    a, b, c = torch.from_numpy(cells).long().T
    y = SparseConvolution.apply(x, weight, pair_tables(rulebook)["up_0"])
    torch.testing.assert_close(y, expected[:, a, b, c].T)


@pytest.mark.parametrize("table", ["submanifold_0", "down_0", "up_0"])
def test_gradients_agree_with_central_differences(table: str) -> None:
    cells = np.argwhere(np.random.default_rng(1).random((3, 3, 3)) < 0.4).astype(np.int32)
    pairs = pair_tables(build_rulebook(cells, levels=2))[table]
    offsets = 27 if table.startswith("submanifold") else 8
    x = torch.randn(pairs.inputs, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(offsets, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: SparseConvolution.apply(a, b, pairs), (x, weight))


def test_bfloat16_autocast_reaches_the_convolution(rulebook: Rulebook) -> None:
    conv = SparseConv(3, 5, "submanifold_0", 27)
    x = torch.randn(rulebook.voxels[0], 3)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x, pair_tables(rulebook))
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), conv(x, pair_tables(rulebook)), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("table", ["submanifold_0", "down_0", "up_0"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_loses_no_digits_in_the_sums(rulebook: Rulebook, table: str, dtype: torch.dtype) -> None:
    pairs = pair_tables(rulebook)[table]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(pairs.inputs, 8, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(len(pairs.splits) - 1, 8, 8, generator=generator).to(dtype).requires_grad_()
    gradient = torch.randn(pairs.outputs, 8, generator=generator).to(dtype)
    y = SparseConvolution.apply(x, weight, pairs)
    exact = [tensor.detach().double().requires_grad_() for tensor in (x, weight)]
    expected = SparseConvolution.apply(*exact, pairs)
    ours = [y, *torch.autograd.grad(y, (x, weight), gradient)]
    theirs = [expected, *torch.autograd.grad(expected, exact, gradient.double())]
    for half, double in zip(ours, theirs, strict=True):
        assert half.dtype == dtype
        # Each pair's product and the sum are rounded once.
        assert ((half.double() - double).norm() / double.norm()).item() < 0.4 * torch.finfo(dtype).eps


def test_a_cloud_without_voxels_has_an_empty_answer() -> None:
    tables = pair_tables(build_rulebook(np.zeros((0, 3), np.int32), levels=2))
    for name, offsets in (("submanifold_0", 27), ("down_0", 8), ("up_0", 8)):
        x, weight = torch.zeros(0, 3, requires_grad=True), torch.randn(offsets, 3, 5, requires_grad=True)
        y = SparseConvolution.apply(x, weight, tables[name])
        assert y.shape == (0, 5)
        dx, dw = torch.autograd.grad(y.sum(), (x, weight))
        assert dx.shape == (0, 3)
        assert not dw.any()

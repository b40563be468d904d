"""torchsparse over our rulebook: its kernel map here, its kernels where it can be imported, against the pairs."""

import numpy as np
import pytest
import torch
from torch import Tensor

from distill.sparse_conv import PairTables, SparseConv, SparseConvolution, pair_tables
from distill.student import LEVELS, Student, StudentConfig
from distill.torchsparse_conv import convolve, kernel_map, use_torchsparse
from relidar.errors import ConfigError
from relidar.rulebook import build_rulebook

TABLES = ["submanifold_0", "down_0", "up_0", "submanifold_1"]


def importable() -> bool:
    try:
        use_torchsparse(torch.nn.Identity())
    except ConfigError:
        return False
    return True


needs_torchsparse = pytest.mark.skipif(not importable(), reason="torchsparse cannot be imported; it builds from source")


@pytest.fixture(scope="module")
def tables() -> PairTables:
    cells = np.unique(np.random.default_rng(0).integers(0, 14, (600, 3)), axis=0).astype(np.int32)
    return pair_tables(build_rulebook(cells, LEVELS))


def operands(tables: PairTables, name: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    table = tables[name]
    x = torch.randn(table.inputs, 8, generator=generator, dtype=dtype)
    return x, torch.randn(len(table.splits) - 1, 8, 16, generator=generator, dtype=dtype)


@pytest.mark.parametrize("name", TABLES)
def test_the_kernel_map_says_what_the_pairs_say(tables: PairTables, name: str) -> None:
    x, weight = operands(tables, name, torch.float64)
    table = kernel_map(tables[name])
    y = torch.zeros(table["sizes"][1], 16, dtype=torch.float64)
    offset = torch.repeat_interleave(torch.arange(len(weight)), table["nbsizes"].long())
    for (source, target), k in zip(table["nbmaps"].tolist(), offset.tolist(), strict=True):
        y[target] += x[source] @ weight[k]
    torch.testing.assert_close(y, SparseConvolution.apply(x, weight, tables[name]))
    assert table["nbmaps"].dtype == table["nbsizes"].dtype == torch.int32
    if name.startswith("submanifold"):  # what its kernels take for granted where K is odd
        middle = table["nbmaps"][offset == len(weight) // 2]
        assert torch.equal(middle, torch.arange(len(x), dtype=torch.int32)[:, None].expand(-1, 2))


@pytest.mark.skipif(importable(), reason="torchsparse is there")
def test_without_torchsparse_the_choice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"convolution: torchsparse cannot be imported .* choose pairs"):
        use_torchsparse(Student(StudentConfig(architecture="minkunet14", width=0.25), 1, 8))


@needs_torchsparse
@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
)
@pytest.mark.parametrize("name", TABLES)
def test_its_answer_and_gradients_are_those_of_the_pairs(tables: PairTables, name: str, device: str) -> None:
    x, weight = (operand.to(device).requires_grad_() for operand in operands(tables, name))
    table = tables[name].to(torch.device(device))
    found, expected = convolve(x, weight, table), SparseConvolution.apply(x, weight, table)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    direction = torch.randn(expected.shape, device=device)
    gradients = (torch.autograd.grad(y, (x, weight), direction) for y in (found, expected))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@needs_torchsparse
def test_a_student_answers_the_same_on_it(tables: PairTables) -> None:
    torch.manual_seed(0)
    student = Student(StudentConfig(architecture="minkunet14", width=0.25), 1, 8).eval()
    x = torch.randn(tables["submanifold_0"].inputs, 1)
    expected = student(x, tables)
    use_torchsparse(student)
    assert all(part.convolve is convolve for part in student.modules() if isinstance(part, SparseConv))
    torch.testing.assert_close(student(x, tables), expected, rtol=1e-3, atol=1e-3)

"""Sparse convolution in PyTorch over a rulebook's pairs: y[target] += x[source] @ W[k] for each kernel offset k.

It runs wherever torch runs and is the reference that every other executor is compared with.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from relidar.cached_kernel import cached_kernel
from relidar.rulebook import SUBMANIFOLD_OFFSETS, Rulebook


@dataclass(frozen=True)
class PairTable:
    """One table's pairs as tensors."""

    source: Tensor
    """(P,) int32 input rows, unique within one offset."""
    target: Tensor
    """(P,) int32 output rows, unique within one offset."""
    splits: tuple[int, ...]
    """(K + 1) offsets: pairs of offset k are splits[k]:splits[k + 1]."""
    inputs: int
    """V_in."""
    outputs: int
    """V_out."""
    middle: int | None
    """The offset that pairs every row with itself, in order, so that it needs no gathering; None if there is none."""

    def to(self, device: torch.device) -> "PairTable":
        """The same table on another device."""
        return replace(self, source=self.source.to(device), target=self.target.to(device))

    def offsets(self) -> list[tuple[int, Tensor, Tensor]]:
        """The occupied offsets but the middle, with the source and the target rows of their pairs."""
        spans = enumerate(zip(self.splits, self.splits[1:], strict=False))
        return [(k, self.source[a:b], self.target[a:b]) for k, (a, b) in spans if k != self.middle and b > a]


PairTables = dict[str, PairTable]


def pair_tables(rulebook: Rulebook) -> PairTables:
    """All tables of a rulebook, by the names that the student's layers use."""
    voxels = rulebook.voxels
    tables: PairTables = {}
    for name, pairs in rulebook.pairs.items():
        kind, level = name.rsplit("_", 1)
        fine = int(level)
        inputs = voxels[fine + 1] if kind == "up" else voxels[fine]
        outputs = voxels[fine + 1] if kind == "down" else voxels[fine]
        middle = SUBMANIFOLD_OFFSETS // 2 if kind == "submanifold" else None
        source, target = torch.from_numpy(pairs.source), torch.from_numpy(pairs.target)
        tables[name] = PairTable(source, target, tuple(pairs.splits.tolist()), inputs, outputs, middle)
    return tables


def take_rows(x: Tensor, rows: Tensor, taken: Tensor) -> None:
    """(V, C), (P,) int32: writes x[rows] into the first P rows of `taken`."""
    if _numba_reads(x):
        _take_rows(x.numpy(), rows.numpy(), taken.numpy())
    else:
        torch.index_select(x, 0, rows, out=taken[: len(rows)])


def add_rows(y: Tensor, rows: Tensor, added: Tensor) -> None:
    """(V, C), (P,) int32: y[rows] += the first P rows of `added`; no row occurs twice, so that no order matters."""
    if _numba_reads(y) and y.dtype == added.dtype:
        _add_rows(y.numpy(), rows.numpy(), added.numpy())
    else:
        y.index_add_(0, rows, added[: len(rows)].to(y.dtype))


def _numba_reads(x: Tensor) -> bool:
    """Whether the loops below serve x: they take half the time of torch's, which start anew for every row."""
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)


@cached_kernel()
def _take_rows(x: NDArray[Any], rows: NDArray[np.int32], taken: NDArray[Any]) -> None:
    for position in range(len(rows)):
        row = rows[position]
        for channel in range(x.shape[1]):
            taken[position, channel] = x[row, channel]


@cached_kernel()
def _add_rows(y: NDArray[Any], rows: NDArray[np.int32], added: NDArray[Any]) -> None:
    for position in range(len(rows)):
        row = rows[position]
        for channel in range(y.shape[1]):
            y[row, channel] += added[position, channel]


class SparseConvolution(torch.autograd.Function):
    """Forward and backward, one offset after the other, through two buffers that are small enough to stay in the caches.

    Nothing is kept but the input, since the gathers are cheap to repeat. Half precision is summed up in float32.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, table: PairTable) -> Tensor:
        """(V_in, C_in), (K, C_in, C_out) -> (V_out, C_out)."""
        ctx.save_for_backward(x, weight)
        ctx.table = table
        x, weight = x.detach().contiguous(), weight.detach()
        offsets = table.offsets()
        x_taken, y_made = _buffers(x, weight, offsets)
        y = _first_sum(x, weight, table.middle, table.outputs)
        for k, source, target in offsets:
            pairs = len(source)
            take_rows(x, source, x_taken)
            torch.mm(x_taken[:pairs], weight[k], out=y_made[:pairs])
            add_rows(y, target, y_made)
        return y.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients of the input and the weight."""
        x, weight = (saved.detach().contiguous() for saved in ctx.saved_tensors)
        table: PairTable = ctx.table
        dy = gradients[0].contiguous()
        offsets = table.offsets()
        x_taken, dy_taken = _buffers(x, weight, offsets)
        weight_back = weight.transpose(1, 2)
        dx = _first_sum(dy, weight_back, table.middle, table.inputs) if ctx.needs_input_grad[0] else None
        dw = torch.zeros_like(weight)
        if table.middle is not None:
            torch.mm(x.T, dy, out=dw[table.middle])
        for k, source, target in offsets:
            pairs = len(source)
            take_rows(x, source, x_taken)
            take_rows(dy, target, dy_taken)
            torch.mm(x_taken[:pairs].T, dy_taken[:pairs], out=dw[k])
            if dx is not None:
                torch.mm(dy_taken[:pairs], weight_back[k], out=x_taken[:pairs])
                add_rows(dx, source, x_taken)
        return None if dx is None else dx.to(x.dtype), dw, None


def _buffers(x: Tensor, weight: Tensor, offsets: list[tuple[int, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Room for the input and output rows of the offset that has most pairs."""
    most = max((len(source) for _, source, _ in offsets), default=0)
    return x.new_empty(most, weight.shape[1]), x.new_empty(most, weight.shape[2])


def _first_sum(x: Tensor, weight: Tensor, middle: int | None, rows: int) -> Tensor:
    """What the middle offset gives, or zeros, in float32 at least."""
    wide = torch.promote_types(x.dtype, torch.float32)
    return x.new_zeros(rows, weight.shape[2], dtype=wide) if middle is None else (x @ weight[middle]).to(wide)


class SparseConv(nn.Module):
    """A convolution without bias over one named table of the rulebook."""

    def __init__(self, in_channels: int, out_channels: int, table: str, kernel_offsets: int) -> None:
        super().__init__()
        self.table = table
        self.convolve: Callable[[Tensor, Tensor, PairTable], Tensor] = SparseConvolution.apply
        """How it is worked out: over pairs, unless another backend is set."""
        self.weight = nn.Parameter(torch.empty(kernel_offsets, in_channels, out_channels))
        # Of 27 offsets only a few are occupied on a surface, so the fan is counted as a 3x3 plane's; an up-convolution
        # has one occupied slot a row.
        fan_out = out_channels * {27: 9, 8: 1 if table.startswith("up") else 4}[kernel_offsets]
        nn.init.normal_(self.weight, std=(2.0 / fan_out) ** 0.5)

    def forward(self, x: Tensor, tables: PairTables) -> Tensor:
        """(V_in, C_in) -> (V_out, C_out)."""
        # autocast does not reach inside a custom function.
        dtype = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
        return self.convolve(x.to(dtype), self.weight.to(dtype), tables[self.table])

"""Sparse convolution in PyTorch over a rulebook's pairs: y[target] += x[source] @ W[k] for each kernel offset k.

It runs wherever torch runs and is the reference that every other executor is compared with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from relidar.rulebook import SUBMANIFOLD_OFFSETS, Pairs, Rulebook


@dataclass(frozen=True)
class PairsOfRows:
    """Which pairs each row takes part in; those of the middle offset are left out, and the pairs numbered without them."""

    pair: Tensor
    """int32 pairs, row by row."""
    start: Tensor
    """(V + 1,) int32: the pairs of row v are start[v]:start[v + 1] of them."""

    def to(self, device: torch.device) -> "PairsOfRows":
        """The same on another device."""
        return PairsOfRows(self.pair.to(device), self.start.to(device))

    def add(self, y: Tensor, of_pairs: Tensor) -> None:
        """Adds to each row of y (V, C) the rows of its pairs (P, C), always in the same order."""
        if _numba_reads(y):
            _add_pairs(y.numpy(), of_pairs.numpy(), self.pair.numpy(), self.start.numpy())
        elif len(self.pair):
            y += nn.functional.embedding_bag(self.pair, of_pairs, self.start, mode="sum", include_last_offset=True)


def take_rows(x: Tensor, rows: Tensor) -> Tensor:
    """(V, C), (P,) int32 -> (P, C)."""
    if not _numba_reads(x):
        return x.index_select(0, rows)
    taken = x.new_empty(len(rows), x.shape[1])
    _take_rows(x.numpy(), rows.numpy(), taken.numpy())
    return taken


def _numba_reads(x: Tensor) -> bool:
    """Whether the loops below serve x: they take half the time of torch's, which start anew for every row."""
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)


@numba.njit(cache=True, nogil=True)
def _take_rows(x, rows, taken):  # type: ignore[no-untyped-def]
    for position in range(len(rows)):
        row = rows[position]
        for channel in range(x.shape[1]):
            taken[position, channel] = x[row, channel]


@numba.njit(cache=True, nogil=True)
def _add_pairs(y, of_pairs, pair, start):  # type: ignore[no-untyped-def]
    for row in range(len(y)):
        for position in range(start[row], start[row + 1]):
            other = pair[position]
            for channel in range(y.shape[1]):
                y[row, channel] += of_pairs[other, channel]


@dataclass(frozen=True)
class PairTable:
    """One table's pairs as tensors."""

    source: Tensor
    """(P,) int32 input rows."""
    target: Tensor
    """(P,) int32 output rows, unique within one offset."""
    splits: tuple[int, ...]
    """(K + 1) offsets: pairs of offset k are splits[k]:splits[k + 1]."""
    by_source: PairsOfRows
    by_target: PairsOfRows
    middle: int | None
    """The offset that pairs every row with itself, in order, so that it needs no gathering; None if there is none."""

    @property
    def inputs(self) -> int:
        """V_in."""
        return len(self.by_source.start) - 1

    @property
    def outputs(self) -> int:
        """V_out."""
        return len(self.by_target.start) - 1

    def to(self, device: torch.device) -> "PairTable":
        """The same table on another device."""
        source, target = self.source.to(device), self.target.to(device)
        return PairTable(source, target, self.splits, self.by_source.to(device), self.by_target.to(device), self.middle)

    def offsets(self) -> list[tuple[int, slice, slice]]:
        """The occupied offsets but the middle: offset, its pairs, and the same as numbered without the middle."""
        found, left_out = [], 0
        for k, (start, end) in enumerate(zip(self.splits, self.splits[1:], strict=False)):
            if k == self.middle:
                left_out = end - start
            elif end > start:
                found.append((k, slice(start, end), slice(start - left_out, end - left_out)))
        return found


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
        tables[name] = _to_torch(pairs, inputs, outputs, middle)
    return tables


def _to_torch(pairs: Pairs, inputs: int, outputs: int, middle: int | None) -> PairTable:
    source, target = torch.from_numpy(pairs.source), torch.from_numpy(pairs.target)
    left_out = (0, 0) if middle is None else (int(pairs.splits[middle]), int(pairs.splits[middle + 1]))
    by_source, by_target = _pairs_of_rows(pairs.source, inputs, left_out), _pairs_of_rows(pairs.target, outputs, left_out)
    return PairTable(source, target, tuple(pairs.splits.tolist()), by_source, by_target, middle)


def _pairs_of_rows(row: NDArray[np.int32], rows: int, left_out: tuple[int, int]) -> PairsOfRows:
    pair, start = _group(row, rows, *left_out)
    return PairsOfRows(torch.from_numpy(pair), torch.from_numpy(start))


@numba.njit(cache=True, nogil=True)
def _group(row, rows, left_out_from, left_out_to):  # type: ignore[no-untyped-def]
    """Where in `row` each of the numbers 0..rows-1 stands, number by number, and where each one begins (rows + 1,)."""
    start = np.zeros(rows + 1, np.int32)
    for pair in range(len(row)):
        if pair < left_out_from or pair >= left_out_to:
            start[row[pair] + 1] += 1
    start = np.cumsum(start).astype(np.int32)
    position = start[:-1].copy()
    order = np.empty(start[-1], np.int32)
    for pair in range(len(row)):
        if pair < left_out_from or pair >= left_out_to:
            order[position[row[pair]]] = pair if pair < left_out_from else pair - (left_out_to - left_out_from)
            position[row[pair]] += 1
    return order, start


class SparseConvolution(torch.autograd.Function):
    """Forward and backward over pairs; nothing is kept but the input, since the gathers are cheap to repeat."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, table: PairTable) -> Tensor:
        """(V_in, C_in), (K, C_in, C_out) -> (V_out, C_out)."""
        ctx.save_for_backward(x, weight)
        ctx.table = table
        x, weight = x.detach(), weight.detach()
        y_of_pairs = x.new_empty(len(table.by_target.pair), weight.shape[2])
        for k, pairs, place in table.offsets():
            torch.mm(take_rows(x, table.source[pairs]), weight[k], out=y_of_pairs[place])
        y = x.new_zeros(table.outputs, weight.shape[2]) if table.middle is None else x @ weight[table.middle]
        table.by_target.add(y, y_of_pairs)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients of the input and the weight."""
        x, weight = (saved.detach() for saved in ctx.saved_tensors)
        table: PairTable = ctx.table
        dy = gradients[0].contiguous()
        dx_of_pairs = x.new_empty(len(table.by_source.pair), x.shape[1]) if ctx.needs_input_grad[0] else None
        dw = torch.zeros_like(weight)
        for k, pairs, place in table.offsets():
            dy_k = take_rows(dy, table.target[pairs])
            torch.mm(take_rows(x, table.source[pairs]).T, dy_k, out=dw[k])
            if dx_of_pairs is not None:
                torch.mm(dy_k, weight[k].T, out=dx_of_pairs[place])
        if table.middle is not None:
            torch.mm(x.T, dy, out=dw[table.middle])
        if dx_of_pairs is None:
            return None, dw, None
        dx = torch.zeros_like(x) if table.middle is None else dy @ weight[table.middle].T
        table.by_source.add(dx, dx_of_pairs)
        return dx, dw, None


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

"""Sparse convolution in PyTorch over a rulebook's pairs: y[target] += x[source] @ W[k] for each kernel offset k.

It runs wherever torch runs and is the reference that every other executor is compared with.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from relidar.rulebook import Pairs, Rulebook


@dataclass(frozen=True)
class PairTable:
    """One table's pairs as tensors."""

    source: Tensor
    """(P,) int64 input rows."""
    target: Tensor
    """(P,) int64 output rows, unique within one offset."""
    splits: tuple[int, ...]
    """(K + 1) offsets: pairs of offset k are splits[k]:splits[k + 1]."""
    inputs: int
    outputs: int

    def to(self, device: torch.device) -> "PairTable":
        """The same table on another device."""
        return PairTable(self.source.to(device), self.target.to(device), self.splits, self.inputs, self.outputs)


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
        tables[name] = _to_torch(pairs, inputs, outputs)
    return tables


def _to_torch(pairs: Pairs, inputs: int, outputs: int) -> PairTable:
    source, target = (torch.from_numpy(rows).long() for rows in (pairs.source, pairs.target))
    return PairTable(source, target, tuple(pairs.splits.tolist()), inputs, outputs)


class SparseConvolution(torch.autograd.Function):
    """Forward and backward over pairs; nothing is kept but the input, since the gathers are cheap to repeat."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, table: PairTable) -> Tensor:
        """(V_in, C_in), (K, C_in, C_out) -> (V_out, C_out)."""
        ctx.save_for_backward(x, weight)
        ctx.table = table
        y = x.new_zeros(table.outputs, weight.shape[2])
        for k, (source, target) in _offsets(table):
            y.index_add_(0, target, x.index_select(0, source) @ weight[k])
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients of the input and the weight."""
        x, weight = ctx.saved_tensors
        (dy,) = gradients
        dx = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        dw = torch.zeros_like(weight)
        for k, (source, target) in _offsets(ctx.table):
            dy_k = dy.index_select(0, target)
            torch.mm(x.index_select(0, source).T, dy_k, out=dw[k])
            if dx is not None:
                dx.index_add_(0, source, dy_k @ weight[k].T)
        return dx, dw, None


def _offsets(table: PairTable) -> list[tuple[int, tuple[Tensor, Tensor]]]:
    bounds = zip(table.splits, table.splits[1:], strict=False)
    return [(k, (table.source[start:end], table.target[start:end])) for k, (start, end) in enumerate(bounds) if end > start]


class SparseConv(nn.Module):
    """A convolution without bias over one named table of the rulebook."""

    def __init__(self, in_channels: int, out_channels: int, table: str, kernel_offsets: int) -> None:
        super().__init__()
        self.table = table
        self.weight = nn.Parameter(torch.empty(kernel_offsets, in_channels, out_channels))
        # Of 27 offsets only a few are occupied on a surface, so the fan is counted as a 3x3 plane's; an up-convolution
        # has one occupied slot a row.
        fan_out = out_channels * {27: 9, 8: 1 if table.startswith("up") else 4}[kernel_offsets]
        nn.init.normal_(self.weight, std=(2.0 / fan_out) ** 0.5)

    def forward(self, x: Tensor, tables: PairTables) -> Tensor:
        """(V_in, C_in) -> (V_out, C_out)."""
        # autocast does not reach inside a custom function.
        dtype = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
        output: Tensor = SparseConvolution.apply(x.to(dtype), self.weight.to(dtype), tables[self.table])
        return output

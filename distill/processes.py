"""What the processes of a run share, with gradients: the rows of the loss, and sums over voxels.

Each process backpropagates its own loss, and the gradient that arrives here is that of the sum of all processes' losses. So where
all work out the same loss from the same gathered rows, the mean of their gradients, which is what DistributedDataParallel takes,
is the gradient of that loss as one process with the whole batch would have it. All work out the whole loss, so one over pairs of
rows takes no less time for being shared.
"""

from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable


def several_processes() -> bool:
    """Whether this is one of several processes that talk to each other."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def gather_rows(rows: Tensor) -> Tensor:
    """(N_rank, D) of each process, N_rank >= 0 -> (N, D) of all by rank, in every process; alone, the rows as they are."""
    gathered: Tensor = _GatherRows.apply(rows) if several_processes() else rows
    return gathered


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of a tensor, of the same shape everywhere, over all processes; alone, the tensor as it is."""
    total: Tensor = _Sum.apply(values) if several_processes() else values
    return total


class _GatherRows(torch.autograd.Function):
    """Collectives want the same shape everywhere, so rows are padded to the longest and cut again."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        """(N_rank, D) -> (N, D)."""
        size, rank = distributed.get_world_size(), distributed.get_rank()
        count = torch.tensor([len(rows)], device=rows.device)
        counts_of_all = [torch.empty_like(count) for _ in range(size)]
        distributed.all_gather(counts_of_all, count)
        counts = [int(count) for count in counts_of_all]
        padded = rows.new_zeros(max(counts), rows.shape[1])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(size)]
        distributed.all_gather(parts, padded)
        start = sum(counts[:rank])
        ctx.own = slice(start, start + len(rows))
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """(N, D) -> (N_rank, D): what all processes' losses say about this process's rows."""
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total[ctx.own]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """The sum over processes."""
        total = values.contiguous().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Each process's value enters the sum of each process."""
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total

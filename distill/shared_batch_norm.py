"""Batch norm whose statistics are those of the voxels of all processes, on any device.

Without it a run's result would depend on over how many processes its batch is spread. PyTorch's SyncBatchNorm needs a GPU.
"""

import torch
from torch import Tensor, nn

from distill.processes import several_processes, sum_over_processes


class SharedBatchNorm(nn.BatchNorm1d):
    """BatchNorm1d of (V, C) rows, of which each process holds some; its parameters and buffers have the same names."""

    def forward(self, rows: Tensor) -> Tensor:
        """(V, C) -> (V, C)."""
        if not (self.training and several_processes()):
            return super().forward(rows)
        x = rows.to(torch.promote_types(rows.dtype, torch.float32))
        sums = sum_over_processes(torch.cat([x.sum(dim=0), x.new_tensor([len(x)])]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        # Squares of what is left after the mean lose no digits, where the mean of squares would.
        variance = sum_over_processes((x - mean).square().sum(dim=0)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        normal = (x - mean) * (variance + self.eps).rsqrt()
        return (normal * self.weight + self.bias).to(rows.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def share_batch_norm(module: nn.Module) -> None:
    """Makes every BatchNorm1d inside `module` a SharedBatchNorm of the same parameters and statistics."""
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm1d:
            shared = SharedBatchNorm(child.num_features, child.eps, child.momentum)
            shared.load_state_dict(child.state_dict())
            setattr(module, name, shared.to(child.weight.device, child.weight.dtype).train(child.training))
        else:
            share_batch_norm(child)

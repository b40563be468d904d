"""One training step: the student's features, pooled over the points of each superpixel, against the teacher's."""

from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor

from distill import losses
from distill.config import ContrastiveLoss, LossConfig, RelationalLoss, TrainConfig
from distill.scans import ScanBatch
from distill.structure import structure_gaps
from distill.student import Student

Loss = Callable[[Tensor, Tensor], Tensor]


class Distillation(lightning.LightningModule):
    """Student, loss and optimiser for Lightning's trainer."""

    def __init__(self, config: TrainConfig, student: Student) -> None:
        super().__init__()
        self.config = config
        self.student = student
        self.loss = make_loss(config.loss)

    def training_step(self, batch: ScanBatch, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        k = pool(self.student(batch.features, batch.tables), batch.voxel, batch.superpixel, len(batch.teacher))
        loss = self.loss(k, batch.teacher)
        self.log("loss", loss.detach(), prog_bar=True, batch_size=1)
        if self.global_step % self.trainer.log_every_n_steps == 0:
            gaps = structure_gaps(k.detach()[:1024], batch.teacher[:1024])
            self.log_dict({f"structure/{name}": value for name, value in gaps.items()}, batch_size=1)
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW with a one-cycle learning rate."""
        optim, steps = self.config.optim, self.config.schedule.steps
        optimizer = torch.optim.AdamW(self.student.parameters(), lr=optim.lr, weight_decay=optim.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, optim.lr, total_steps=steps + 1, pct_start=optim.warm_up)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(self, batch: ScanBatch, device: torch.device, dataloader_idx: int) -> ScanBatch:
        """Moves a batch."""
        return batch.to(device)


def make_loss(config: LossConfig) -> Loss:
    """The configured loss as a function of K and Q."""
    if isinstance(config, RelationalLoss):
        return lambda k, q: losses.relational(k, q, config.lambda_intra)
    if isinstance(config, ContrastiveLoss):
        return lambda k, q: losses.contrastive(k, q, config.tau)
    return losses.similarity


def pool(features: Tensor, voxel: Tensor, superpixel: Tensor, superpixels: int) -> Tensor:
    """Mean over each superpixel's points, at unit length again: without that the losses' diagonals mean nothing.

    Args:
        features: (V, D) unit rows.
        voxel: (P,) voxel of each point that an image sees.
        superpixel: (P,) superpixel it falls into; each number below `superpixels` occurs.
        superpixels: S.

    Returns:
        (S, D) unit rows.
    """
    total = features.new_zeros(superpixels, features.shape[1]).index_add(0, superpixel, features.index_select(0, voxel))
    return torch.nn.functional.normalize(total.float(), dim=1)

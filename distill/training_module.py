"""One training step: the student's features, pooled over the points of each row, against the teacher's, in all processes."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import distill.torchvision_operators  # noqa: F401, before lightning

# isort: split
import lightning

from distill import losses
from distill.config import (
    ContrastiveLoss,
    ContrastiveTolerantLoss,
    LossConfig,
    RelationalLoss,
    ScalrLoss,
    SgdConfig,
    TrainConfig,
)
from distill.pooling import pool
from distill.processes import gather_rows
from distill.scans import ScanBatch
from distill.structure import structure_gaps
from distill.student import Student
from relidar.errors import TrainingError
from relidar.words import Words

Loss = Callable[[Tensor, Tensor], Tensor]

LOGS_BETWEEN_GAPS = 3
"""The gaps in structure take far longer than the loss, so they are logged more rarely."""
GAP_ROWS = 1024
"""Rows that the gaps are taken from at most, evenly over all scans, cameras and processes."""


class Distillation(lightning.LightningModule):
    """Student, loss and optimiser for Lightning's trainer."""

    def __init__(self, config: TrainConfig, student: Student, words: Words | None = None) -> None:
        """The words are those of the classes, if the teacher knows any: it names rows by them for the logged tolerance."""
        super().__init__()
        self.config = config
        self.student = student
        self.loss = make_loss(config.loss)
        self._words = words

    def training_step(self, batch: ScanBatch, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        # Few of the voxels lie in some row (on the demo's street a fifth); the head of the others would work for nothing.
        voxels, voxel = torch.unique(batch.voxel, return_inverse=True)
        own = pool(self.student(batch.features, batch.tables, voxels), voxel, batch.superpixel, len(batch.teacher))
        teacher = torch.nn.functional.pad(batch.teacher, (0, self.config.text.spare_dimensions))
        k, q = gather_rows(own), gather_rows(teacher)
        loss = self.loss(k, q)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"step {self.global_step}: the loss is {loss.item()} over {len(k)} rows; lower optim.lr, or look for "
                "scans without points in any image."
            )
        self.log("loss", loss.detach(), prog_bar=True, batch_size=1)
        if self.global_step % (LOGS_BETWEEN_GAPS * self.trainer.log_every_n_steps) == 0:
            # Past self.log, which would write them again and again, as old as they are.
            for logger in self.loggers:
                gaps = self._gaps(k.detach(), q)
                logger.log_metrics({f"structure/{name}": value for name, value in gaps.items()}, self.global_step)
        return loss

    def _gaps(self, k: Tensor, q: Tensor) -> dict[str, float]:
        """Training reads no label, so tolerance is over the classes that the teacher's own features name."""
        some = slice(None, None, -(-len(k) // GAP_ROWS))
        k, q = k[some], q[some]
        named = None if self._words is None else torch.from_numpy(self._words.scores(q.cpu().numpy()).best).long().to(q.device)
        with torch.autocast(k.device.type, enabled=False):
            gaps = structure_gaps(k, q, named)
        return {name: value for name, value in gaps.items() if math.isfinite(value)}  # no class with two rows: no tolerance

    def configure_optimizers(self) -> Any:
        """The configured optimiser and the course of its learning rate over the steps."""
        optim, steps, weights = self.config.optim, self.config.schedule.steps, self.student.parameters()
        optimizer: torch.optim.Optimizer
        schedule: torch.optim.lr_scheduler.LRScheduler
        hardly_less = 1 - 1e-9  # a warm-up of one step exactly would be a division of 0 by 0
        if isinstance(optim, SgdConfig):
            optimizer = torch.optim.SGD(weights, optim.lr, optim.momentum, optim.dampening, optim.weight_decay)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        else:
            optimizer = torch.optim.AdamW(weights, optim.lr, weight_decay=optim.weight_decay)
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, optim.lr, total_steps=steps + 1, pct_start=hardly_less * optim.warm_up
            )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def make_loss(config: LossConfig) -> Loss:
    """The configured loss as a function of K and Q."""
    if isinstance(config, RelationalLoss):
        return lambda k, q: losses.relational(k, q, config.lambda_intra)
    if isinstance(config, ContrastiveLoss):
        return lambda k, q: losses.contrastive(k, q, config.tau)
    if isinstance(config, ContrastiveTolerantLoss):
        return lambda k, q: losses.contrastive_tolerant(k, q, config.tau, config.drop_share, config.vote_cosine)
    return losses.scalr if isinstance(config, ScalrLoss) else losses.similarity

"""The losses, one function an equation.

K are the student's and Q the frozen teacher's features: (N, D) rows of unit length, row i of both seen at the same place. No loss
knows about scans or cameras; a row may be a superpixel or a pixel-point pair.
"""

import torch
from torch import Tensor, nn

from distill.relation_blocks import RelationBlocks


def similarity(k: Tensor, q: Tensor) -> Tensor:
    """mean_i (1 - k_i . q_i)."""
    return (1.0 - (k * q).sum(dim=1)).mean()


def contrastive(k: Tensor, q: Tensor, tau: float) -> Tensor:
    """InfoNCE: the cross entropy of K Q^T / tau against the diagonal (SLidR, with tau 0.07)."""
    return nn.functional.cross_entropy(k @ q.T / tau, torch.arange(len(k), device=k.device))


def cross_relation(k: Tensor, q: Tensor) -> Tensor:
    """With C = |K Q^T - Q Q^T|: mean(diagonal of C) + mean(off-diagonal of C).

    Unit rows make the diagonal 1 - k_i . q_i, so this is `similarity` and a relation term.
    """
    return _relations(k, q, 1.0, 0.0)


def intra_relation(k: Tensor, q: Tensor) -> Tensor:
    """With D = |K K^T - Q Q^T|: mean of D_ij over i != j."""
    return _relations(k, q, 0.0, 1.0)


def relational(k: Tensor, q: Tensor, lambda_intra: float) -> Tensor:
    """cross_relation + lambda intra_relation: Mahmoud et al., "Image-to-Lidar Relational Distillation", ECCV 2024."""
    return _relations(k, q, 1.0, lambda_intra)


def _relations(k: Tensor, q: Tensor, cross_weight: float, intra_weight: float) -> Tensor:
    loss: Tensor = RelationBlocks.apply(k, q, cross_weight, intra_weight)
    return loss

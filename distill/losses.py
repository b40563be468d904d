"""The losses, one function an equation.

K are the student's and Q the frozen teacher's features: (N, D) rows of unit length, row i of both seen at the same place. No loss
knows about scans or cameras; a row may be a superpixel or a pixel-point pair.
"""

import torch
from torch import Tensor, nn


def similarity(k: Tensor, q: Tensor) -> Tensor:
    """mean_i (1 - k_i . q_i)."""
    return (1.0 - (k * q).sum(dim=1)).mean()


def contrastive(k: Tensor, q: Tensor, tau: float) -> Tensor:
    """InfoNCE: the cross entropy of K Q^T / tau against the diagonal (SLidR, with tau 0.07)."""
    return nn.functional.cross_entropy(k @ q.T / tau, torch.arange(len(k), device=k.device))


def cross_relation(k: Tensor, q: Tensor) -> Tensor:
    """With C = |K Q^T - Q Q^T|: mean(diagonal of C) + mean(off-diagonal of C).

    Unit rows make the diagonal 1 - k_i . q_i, so this is `similarity` and a relation term. Computed as (K - Q) Q^T, which loses
    no digits when K is close to Q.
    """
    return _diagonal_and_rest((k - q) @ q.T)


def intra_relation(k: Tensor, q: Tensor) -> Tensor:
    """With D = |K K^T - Q Q^T|: mean of D_ij over i != j; the diagonal is 0."""
    n = len(k)
    error = k - q
    # K K^T - Q Q^T = E Q^T + Q E^T + E E^T with E = K - Q.
    cross = error @ q.T
    difference = (cross + cross.T + error @ error.T).abs()
    return (difference.sum() - difference.diagonal().sum()) / max(n * (n - 1), 1)


def relational(k: Tensor, q: Tensor, lambda_intra: float) -> Tensor:
    """cross_relation + lambda intra_relation: Mahmoud et al., "Image-to-Lidar Relational Distillation", ECCV 2024."""
    return cross_relation(k, q) + lambda_intra * intra_relation(k, q)


def _diagonal_and_rest(difference: Tensor) -> Tensor:
    n = len(difference)
    absolute = difference.abs()
    diagonal = absolute.diagonal().sum()
    return diagonal / n + (absolute.sum() - diagonal) / max(n * (n - 1), 1)

"""The losses, one function an equation.

K are the student's and Q the frozen teacher's features: (N, D) rows of unit length, row i of both seen at the same place. No loss
knows about scans or cameras; a row may be a superpixel or a pixel-point pair. Narrower rows than float32 are widened, and mixed
precision does not reach in: it would round the small differences that the losses compare.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor, nn

from distill.relation_blocks import RelationBlocks

Settings = ParamSpec("Settings")
_Loss = Callable[Concatenate[Tensor, Tensor, Settings], Tensor]


def _wide(loss: _Loss[Settings]) -> _Loss[Settings]:
    @wraps(loss)
    def of_wide_rows(k: Tensor, q: Tensor, /, *args: Settings.args, **kwargs: Settings.kwargs) -> Tensor:
        k, q = (rows.to(torch.promote_types(rows.dtype, torch.float32)) for rows in (k, q))
        with torch.autocast(k.device.type, enabled=False):
            return loss(k, q, *args, **kwargs)

    return of_wide_rows


@_wide
def similarity(k: Tensor, q: Tensor) -> Tensor:
    """mean_i (1 - k_i . q_i)."""
    return (1.0 - (k * q).sum(dim=1)).mean()


@_wide
def contrastive(k: Tensor, q: Tensor, tau: float) -> Tensor:
    """InfoNCE: the cross entropy of K Q^T / tau against the diagonal (SLidR, with tau 0.07)."""
    return nn.functional.cross_entropy(k @ q.T / tau, torch.arange(len(k), device=k.device))


@_wide
def contrastive_tolerant(k: Tensor, q: Tensor, tau: float, drop_share: float, vote_cosine: float) -> Tensor:
    """InfoNCE that tolerates alike negatives: sum_i w_i l_i / sum_i w_i (ST-SLidR, Mahmoud et al., CVPR 2023).

    l_i = -log(exp(k_i . q_i / tau) / (exp(k_i . q_i / tau) + sum_j exp(k_i . q_j / tau))) over the j != i that are left when the
    share `drop_share` of the N - 1 negatives that are most similar to i, by q_i . q_j, is dropped.
    w_i = 1 - v_i: a row that many are like weighs less. Its votes v_i, the sum of the q_i . q_j that reach `vote_cosine`, j != i,
    are scaled to 0..1 over the rows; all rows weigh 1 where all have the same. Only Q decides what is dropped and what weighs.
    The published code sets the logit of a dropped negative to 0, which keeps exp(0) of it in the sum; here it leaves the sum.
    """
    with torch.no_grad():
        alike = (q @ q.T).fill_diagonal_(-torch.inf)
        votes = alike.where(alike >= vote_cosine, 0.0).sum(dim=1)
        votes -= votes.amin()
        weight = 1.0 - votes / votes.amax().clamp(min=torch.finfo(votes.dtype).tiny)
        dropped = alike.topk(int(drop_share * (len(q) - 1)), dim=1).indices
    logits = (k @ q.T / tau).scatter(1, dropped, -torch.inf)
    each = nn.functional.cross_entropy(logits, torch.arange(len(k), device=k.device), reduction="none")
    return (weight * each).sum() / weight.sum()


@_wide
def scalr(k: Tensor, q: Tensor) -> Tensor:
    """mean_i ||k_i - q_i||, the distance itself and not its square (ScaLR, Puy et al., CVPR 2024)."""
    return torch.linalg.vector_norm(k - q, dim=1).mean()


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


@_wide
def _relations(k: Tensor, q: Tensor, cross_weight: float, intra_weight: float) -> Tensor:
    loss: Tensor = RelationBlocks.apply(k, q, cross_weight, intra_weight)
    return loss

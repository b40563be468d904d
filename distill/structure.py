"""How the student's representation differs in structure from the teacher's: the gaps that the relational losses close.

K are the student's and Q the teacher's features, (N, D) unit rows of the same places.
"""

import torch
from torch import Tensor

from distill.losses import intra_relation


def modality_gap(k: Tensor, q: Tensor) -> Tensor:
    """||mean_i k_i - mean_i q_i||."""
    return (k.mean(dim=0) - q.mean(dim=0)).norm()


def alignment(k: Tensor, q: Tensor) -> Tensor:
    """mean_i ||k_i - q_i||^2 (Wang and Isola, ICML 2020)."""
    return (k - q).square().sum(dim=1).mean()


def uniformity(x: Tensor) -> Tensor:
    """log mean_{i<j} exp(-2 ||x_i - x_j||^2) (Wang and Isola, ICML 2020); lower is more uniform."""
    squared = torch.pdist(x).square()
    return (-2.0 * squared).exp().mean().log()


@torch.no_grad()
def structure_gaps(k: Tensor, q: Tensor) -> dict[str, float]:
    """All gaps by name; N >= 2."""
    student, teacher = uniformity(k), uniformity(q)
    gaps = {
        "modality_gap": modality_gap(k, q),
        "alignment": alignment(k, q),
        "uniformity_student": student,
        "uniformity_teacher": teacher,
        "uniformity_gap": (student - teacher).abs(),
        "relation_gap": intra_relation(k, q),
    }
    return {name: float(value) for name, value in gaps.items()}

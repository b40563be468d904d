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
    # Of unit rows ||x_i - x_j||^2 = 2 - 2 x_i . x_j, and one product is many times as fast as the differences of all pairs.
    closeness = (x @ x.T).mul_(4.0).sub_(4.0).exp_()
    pairs = len(x) * (len(x) - 1)
    return ((closeness.sum() - closeness.diagonal().sum()) / pairs).log()


def tolerance(x: Tensor, label: Tensor) -> Tensor:
    """mean of x_i . x_j over the pairs i != j of one class (Wang and Liu, CVPR 2021); NaN where there is no such pair.

    Args:
        x: (N, D) unit rows.
        label: (N,) int64 classes; rows below 0 belong to none.
    """
    x, label = x[label >= 0], label[label >= 0]
    classes = int(label.max()) + 1 if len(label) else 0
    # The products of all pairs of a class are the square of its sum, those of each row with itself included.
    total = x.new_zeros(classes, x.shape[1]).index_add(0, label, x)
    count = torch.bincount(label, minlength=classes)
    pairs = (count * (count - 1)).sum()
    mean = (total.square().sum() - x.square().sum()) / pairs.clamp(min=1)
    # The sums differ by rounding, so that without a pair their quotient by 0 could as well be infinite.
    return torch.where(pairs > 0, mean, torch.nan)


def text_outside_image(text: Tensor, image_energy: Tensor) -> Tensor:
    """Share of the differences between words, 0 to 1, that lies where image features hardly vary.

    That is outside the directions which hold 99 % of their energy. A loss that looks at the teacher's features through dot
    products with them leaves a student free there, and zero-shot scores suffer from what it puts there.

    Args:
        text: (C, D) unit rows, one a prompt.
        image_energy: (D, D) mean of x x^T over image features x.
    """
    values, directions = torch.linalg.eigh(image_energy)
    hardly = directions[:, values.cumsum(dim=0) < 0.01 * values.sum()]
    differences = text - text.mean(dim=0)
    return (differences @ hardly).square().sum() / differences.square().sum()


@torch.no_grad()
def structure_gaps(k: Tensor, q: Tensor, label: Tensor | None = None) -> dict[str, float]:
    """All gaps by name; N >= 2. With the classes `label` (N,) of the rows, the tolerance of both sides as well."""
    student, teacher = uniformity(k), uniformity(q)
    gaps = {
        "modality_gap": modality_gap(k, q),
        "alignment": alignment(k, q),
        "uniformity_student": student,
        "uniformity_teacher": teacher,
        "uniformity_gap": (student - teacher).abs(),
        "relation_gap": intra_relation(k, q),
    }
    if label is not None:
        gaps |= {"tolerance_student": tolerance(k, label), "tolerance_teacher": tolerance(q, label)}
    return {name: float(value) for name, value in gaps.items()}

"""The Lovasz-softmax loss: the Jaccard loss 1 - IoU of each class, made differentiable.

Berman, Triki and Blaschko, "The Lovasz-Softmax Loss" (CVPR 2018), in its form for classes that occur. Fine-tuning adds it to the
cross entropy, since the mean IoU is what is measured and cross entropy lets rare classes go.
"""

import torch
from torch import Tensor


def lovasz_softmax(probability: Tensor, truth: Tensor) -> Tensor:
    """Mean over the classes that occur of the Lovasz extension of 1 - IoU at the errors of the class.

    Args:
        probability: (N, C) rows that sum to 1.
        truth: (N,) class numbers 0..C-1, without points to ignore.

    Returns:
        A scalar; 0 if there are no points.
    """
    losses = []
    for number in torch.unique(truth).tolist():
        true = (truth == number).to(probability.dtype)
        errors, order = torch.sort((true - probability[:, number]).abs(), descending=True)
        losses.append(errors @ jaccard_steps(true[order]))
    return torch.stack(losses).mean() if losses else probability.sum() * 0.0


def jaccard_steps(true: Tensor) -> Tensor:
    """(N,) 1.0 where a point is of the class, by falling error -> (N,) how much 1 - IoU grows as each is got wrong in turn.

    With the first i points wrong, the intersection is the true ones among the rest, the union all true ones and the wrong others.
    """
    total = true.sum()
    lost = 1.0 - (total - true.cumsum(0)) / (total + (1.0 - true).cumsum(0))
    return torch.diff(lost, prepend=lost.new_zeros(1))

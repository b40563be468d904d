"""The relational loss, block by block: no N x N matrix is ever held.

With E = K - Q and M = E Q^T the relations differ by K Q^T - Q Q^T = M and K K^T - Q Q^T = M + M^T + E E^T. So the pair of blocks
(I, J) and (J, I) takes three products, and loses no digits where K is close to Q. The gradient needs only the signs of what is at
hand then, so it is summed up in the same pass.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK_ROWS = 1024


class RelationBlocks(torch.autograd.Function):
    """cross_weight * cross_relation + intra_weight * intra_relation of (N, D) rows; the gradient goes to K alone."""

    @staticmethod
    def forward(ctx: Any, k: Tensor, q: Tensor, cross_weight: float, intra_weight: float) -> Tensor:
        """Returns the loss, in float32 for narrower rows."""
        wide = torch.promote_types(k.dtype, torch.float32)
        k_wide, q_wide = k.to(wide), q.to(wide)
        with_gradient = ctx.needs_input_grad[0]
        with torch.autocast(k.device.type, enabled=False):  # mixed precision would round the products
            loss, gradient = _loss_and_gradient(k_wide, q_wide, cross_weight, intra_weight, with_gradient)
        if gradient is not None:
            ctx.save_for_backward(gradient.to(k.dtype))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        """d loss / d K, worked out in the forward pass."""
        (gradient,) = ctx.saved_tensors
        return gradient * grad_outputs[0].to(gradient.dtype), None, None, None


def _loss_and_gradient(
    k: Tensor, q: Tensor, cross_weight: float, intra_weight: float, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    n = len(k)
    error = k - q
    pair_weight = 1.0 / max(n * (n - 1), 1)
    cross, intra = cross_weight * pair_weight, intra_weight * pair_weight
    # The blocks weigh the diagonal of the cross relation as one pair among all; the equation weighs it 1 / N.
    diagonal = (error * q).sum(dim=1)
    extra = cross_weight / max(n, 1) - cross
    loss = extra * diagonal.abs().sum()
    gradient = extra * diagonal.sign()[:, None] * q if with_gradient else None
    blocks = [slice(start, min(start + BLOCK_ROWS, n)) for start in range(0, n, BLOCK_ROWS)]
    for number, i in enumerate(blocks):
        for j in blocks[number:]:
            m_ij = error[i] @ q[j].T
            m_ji = m_ij.T if i == j else q[i] @ error[j].T  # transposed, so that it lies like m_ij
            if intra_weight:
                d_ij = (m_ij + m_ji).addmm_(error[i], error[j].T)
                if i == j:
                    d_ij.fill_diagonal_(0.0)
                loss += intra * (1 if i == j else 2) * d_ij.norm(1)
                if gradient is not None:
                    d_ij.sign_()
                    gradient[i].addmm_(d_ij, k[j], alpha=2 * intra)
                    if i != j:
                        gradient[j].addmm_(d_ij.T, k[i], alpha=2 * intra)
            if cross_weight:
                loss += cross * m_ij.norm(1)
                if i != j:
                    loss += cross * m_ji.norm(1)
                if gradient is not None:
                    gradient[i].addmm_(m_ij.sign_(), q[j], alpha=cross)
                    if i != j:
                        gradient[j].addmm_(m_ji.sign_().T, q[i], alpha=cross)
    return loss, gradient

"""The relational loss, block by block: no N x N matrix is ever held.

With E = K - Q and M = E Q^T the relations differ by K Q^T - Q Q^T = M and K K^T - Q Q^T = M + M^T + E E^T. So the pair of blocks
(I, J) and (J, I) takes three products, and loses no digits where K is close to Q. The gradient needs only the signs of what is at
hand then, so it is summed up in the same pass.
"""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from relidar.cached_kernel import cached_kernel

BLOCK_ROWS = 512
"""A block of float32, 1 MB, fits into a processor's second-level cache. What suits a GPU was not measured."""


class RelationBlocks(torch.autograd.Function):
    """cross_weight * cross_relation + intra_weight * intra_relation of (N, D) rows; the gradient goes to K alone."""

    @staticmethod
    def forward(ctx: Any, k: Tensor, q: Tensor, cross_weight: float, intra_weight: float) -> Tensor:
        """Returns the loss of float32 or float64 rows."""
        loss, gradient = _loss_and_gradient(k, q, cross_weight, intra_weight, ctx.needs_input_grad[0])
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        """d loss / d K, worked out in the forward pass."""
        (gradient,) = ctx.saved_tensors
        return gradient * grad_outputs[0], None, None, None


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
            m_ji = m_ij.T.contiguous() if i == j else q[i] @ error[j].T  # transposed, so that it lies like m_ij
            d_ij = error[i] @ error[j].T
            if i == j:
                d_ij.diagonal().copy_(-2 * m_ij.diagonal())  # so that its sum with both is 0: a row has no relation to itself
            of_m_ij, of_m_ji, of_d_ij = _signs_and_sums(m_ij, m_ji, d_ij)
            loss += intra * (of_d_ij if i == j else 2 * of_d_ij) + cross * (of_m_ij if i == j else of_m_ij + of_m_ji)
            if gradient is None:
                continue
            if intra_weight:
                gradient[i].addmm_(d_ij, k[j], alpha=2 * intra)
                if i != j:
                    gradient[j].addmm_(d_ij.T, k[i], alpha=2 * intra)
            if cross_weight:
                gradient[i].addmm_(m_ij, q[j], alpha=cross)
                if i != j:
                    gradient[j].addmm_(m_ji.T, q[i], alpha=cross)
    return loss, gradient


Sums = tuple[Tensor | float, Tensor | float, Tensor | float]


def _signs_and_sums(m_ij: Tensor, m_ji: Tensor, d_ij: Tensor) -> Sums:
    """Adds m_ij and m_ji to d_ij, puts all three's signs in their place, and returns the sums of their absolute values."""
    if m_ij.device.type == "cpu":
        sums: Sums = _signs_and_sums_at_once(m_ij.numpy(), m_ji.numpy(), d_ij.numpy())
        return sums
    return _signs_and_sums_by_torch(m_ij, m_ji, d_ij)


def _signs_and_sums_by_torch(m_ij: Tensor, m_ji: Tensor, d_ij: Tensor) -> Sums:
    d_ij.add_(m_ij).add_(m_ji)
    absolute = m_ij.norm(1), m_ji.norm(1), d_ij.norm(1)
    for block in (m_ij, m_ji, d_ij):
        block.sign_()
    return absolute


@cached_kernel(fastmath={"reassoc"})
def _signs_and_sums_at_once(m_ij: NDArray[Any], m_ji: NDArray[Any], d_ij: NDArray[Any]) -> tuple[float, float, float]:
    # One pass over the blocks instead of eight. Rows are summed up in the blocks' type, lane by lane, blocks in float64.
    number = m_ij.dtype.type
    totals = (0.0, 0.0, 0.0)
    for row in range(len(m_ij)):
        of_m_ij, of_m_ji, of_d_ij = number(0), number(0), number(0)
        for column in range(m_ij.shape[1]):
            x, y = m_ij[row, column], m_ji[row, column]
            z = x + y + d_ij[row, column]
            of_m_ij += abs(x)
            of_m_ji += abs(y)
            of_d_ij += abs(z)
            m_ij[row, column] = number(x > 0) - number(x < 0)
            m_ji[row, column] = number(y > 0) - number(y < 0)
            d_ij[row, column] = number(z > 0) - number(z < 0)
        totals = (totals[0] + of_m_ij, totals[1] + of_m_ji, totals[2] + of_d_ij)
    return totals

"""The losses against naive loops, closed forms and the exact properties that their equations imply."""

import math

import pytest
import torch
from torch import Tensor

from distill import relation_blocks
from distill.losses import contrastive, cross_relation, intra_relation, relational, similarity


def unit_rows(n: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(n, width, generator=generator, dtype=torch.float64), dim=1)


def naive_cross(k: Tensor, q: Tensor) -> float:
    n = len(k)
    diagonal = sum(abs(float(k[i] @ q[i] - q[i] @ q[i])) for i in range(n)) / n
    rest = sum(abs(float(k[i] @ q[j] - q[i] @ q[j])) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return diagonal + rest


def naive_intra(k: Tensor, q: Tensor) -> float:
    n = len(k)
    return sum(abs(float(k[i] @ k[j] - q[i] @ q[j])) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))


def naive_contrastive(k: Tensor, q: Tensor, tau: float) -> float:
    total = 0.0
    for i in range(len(k)):
        terms = [math.exp(float(k[i] @ q[j]) / tau) for j in range(len(q))]
        total -= math.log(terms[i] / sum(terms))
    return total / len(k)


@pytest.mark.parametrize("n", [2, 3, 17])
@pytest.mark.parametrize("width", [2, 8])
def test_losses_equal_naive_loops(n: int, width: int) -> None:
    k, q = unit_rows(n, width, 1), unit_rows(n, width, 2)
    assert float(cross_relation(k, q)) == pytest.approx(naive_cross(k, q), abs=1e-12)
    assert float(intra_relation(k, q)) == pytest.approx(naive_intra(k, q), abs=1e-12)
    assert float(contrastive(k, q, 0.07)) == pytest.approx(naive_contrastive(k, q, 0.07), abs=1e-12)
    assert float(similarity(k, q)) == pytest.approx(sum(1 - float(k[i] @ q[i]) for i in range(n)) / n, abs=1e-12)
    assert float(relational(k, q, 0.3)) == pytest.approx(naive_cross(k, q) + 0.3 * naive_intra(k, q), abs=1e-12)


def test_equal_representations_have_no_relational_loss_but_a_contrastive_one() -> None:
    q = unit_rows(32, 16)
    assert float(cross_relation(q.clone(), q)) == 0.0
    assert float(intra_relation(q.clone(), q)) == 0.0
    assert float(contrastive(q, q, 0.07)) > 0


def test_a_rotation_is_invisible_to_the_intra_relation_alone() -> None:
    q = unit_rows(64, 16)
    rotation, _ = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    k = q @ rotation
    assert float(intra_relation(k, q)) < 1e-14
    assert float(cross_relation(k, q)) > 1.0


def test_the_diagonal_of_the_cross_relation_is_the_similarity_loss() -> None:
    k, q = unit_rows(20, 8, 1), unit_rows(20, 8, 2)
    rest = ((k @ q.T - q @ q.T).abs() * (1 - torch.eye(20))).sum() / (20 * 19)
    assert float(cross_relation(k, q) - rest) == pytest.approx(float(similarity(k, q)), abs=1e-12)


def test_gradients_have_the_form_that_the_equations_imply() -> None:
    n = 24
    k, q = unit_rows(n, 8, 1).requires_grad_(), unit_rows(n, 8, 2)
    eye = torch.eye(n, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(cross_relation(k, q), k)
    weight = eye / n + (1 - eye) / (n * n - n)
    torch.testing.assert_close(gradient, (weight * torch.sign(k @ q.T - q @ q.T)) @ q, rtol=0, atol=1e-14)
    (gradient,) = torch.autograd.grad(intra_relation(k, q), k)
    weight = (1 - eye) / (n * n - n)
    torch.testing.assert_close(gradient, 2 * (weight * torch.sign(k @ k.T - q @ q.T)) @ k, rtol=0, atol=1e-14)


@pytest.mark.parametrize("loss", [cross_relation, intra_relation, similarity])
def test_gradients_agree_with_central_differences(loss) -> None:  # type: ignore[no-untyped-def]
    k, q = unit_rows(6, 4, 1).requires_grad_(), unit_rows(6, 4, 2)
    assert torch.autograd.gradcheck(lambda x: loss(x, q), (k,), eps=1e-6, atol=1e-8)


def test_contrastive_closed_forms() -> None:
    orthonormal = torch.eye(4, dtype=torch.float64)
    assert float(contrastive(orthonormal, orthonormal, 0.07)) == pytest.approx(math.log(1 + 3 * math.exp(-1 / 0.07)), rel=1e-6)
    equal = torch.ones(5, 4, dtype=torch.float64) / 2
    assert float(contrastive(equal, equal, 0.07)) == pytest.approx(math.log(5))


@pytest.mark.parametrize("block_rows", [1, 4, 5, 16])
def test_blocks_of_any_size_give_the_same_loss_and_gradient(block_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    k, q = unit_rows(17, 6, 1).requires_grad_(), unit_rows(17, 6, 2)
    whole = relational(k, q, 0.7)
    (gradient,) = torch.autograd.grad(whole, k)
    monkeypatch.setattr(relation_blocks, "BLOCK_ROWS", block_rows)
    blocked = relational(k, q, 0.7)
    (gradient_of_blocks,) = torch.autograd.grad(blocked, k)
    assert blocked.item() == pytest.approx(whole.item(), abs=1e-14)
    torch.testing.assert_close(gradient_of_blocks, gradient, rtol=0, atol=1e-15)


@pytest.mark.parametrize("loss", [cross_relation, intra_relation])
def test_blocked_gradients_agree_with_central_differences(loss, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(relation_blocks, "BLOCK_ROWS", 2)
    k, q = unit_rows(5, 4, 1).requires_grad_(), unit_rows(5, 4, 2)
    assert torch.autograd.gradcheck(lambda x: loss(x, q), (k,), eps=1e-6, atol=1e-8)


def test_bfloat16_rows_are_compared_in_float32() -> None:
    k, q = unit_rows(200, 32, 1).bfloat16().requires_grad_(), unit_rows(200, 32, 2).bfloat16()
    loss = relational(k, q, 1.0)
    loss.backward()  # type: ignore[no-untyped-call]
    exact = relational(k.detach().double(), q.double(), 1.0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)
    assert k.grad is not None
    assert k.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_to_relate_have_no_relation(n: int) -> None:
    k, q = unit_rows(n, 4, 1).requires_grad_(), unit_rows(n, 4, 2)
    assert intra_relation(k, q).item() == 0.0
    assert cross_relation(k, q).item() == pytest.approx(similarity(k, q).item() if n else 0.0)

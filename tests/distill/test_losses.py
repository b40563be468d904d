"""The losses against naive loops, closed forms and the exact properties that their equations imply."""

import math

import pytest
import torch
from torch import Tensor

from distill import relation_blocks
from distill.losses import contrastive, contrastive_tolerant, cross_relation, intra_relation, relational, scalr, similarity

LOSSES = {
    "relational": lambda k, q: relational(k, q, 0.7),
    "contrastive": lambda k, q: contrastive(k, q, 0.07),
    "contrastive_tolerant": lambda k, q: contrastive_tolerant(k, q, 0.07, 0.3, 0.1),
    "similarity": similarity,
    "scalr": scalr,
}


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


def naive_tolerant(k: Tensor, q: Tensor, tau: float, drop_share: float, vote_cosine: float) -> float:
    n = len(k)
    votes = [sum(float(q[i] @ q[j]) for j in range(n) if j != i and float(q[i] @ q[j]) >= vote_cosine) for i in range(n)]
    span = max(votes) - min(votes)
    weights = [1 - (vote - min(votes)) / span if span else 1.0 for vote in votes]
    total = 0.0
    for i in range(n):
        by_similarity = sorted((j for j in range(n) if j != i), key=lambda j: -float(q[i] @ q[j]))
        negatives = by_similarity[int(drop_share * (n - 1)) :]
        positive = math.exp(float(k[i] @ q[i]) / tau)
        rest = sum(math.exp(float(k[i] @ q[j]) / tau) for j in negatives)
        total -= weights[i] * math.log(positive / (positive + rest))
    return total / sum(weights)


@pytest.mark.parametrize("n", [2, 3, 17])
@pytest.mark.parametrize("width", [2, 8])
def test_losses_equal_naive_loops(n: int, width: int) -> None:
    k, q = unit_rows(n, width, 1), unit_rows(n, width, 2)
    assert float(cross_relation(k, q)) == pytest.approx(naive_cross(k, q), abs=1e-12)
    assert float(intra_relation(k, q)) == pytest.approx(naive_intra(k, q), abs=1e-12)
    assert float(contrastive(k, q, 0.07)) == pytest.approx(naive_contrastive(k, q, 0.07), abs=1e-12)
    assert float(similarity(k, q)) == pytest.approx(sum(1 - float(k[i] @ q[i]) for i in range(n)) / n, abs=1e-12)
    assert float(relational(k, q, 0.3)) == pytest.approx(naive_cross(k, q) + 0.3 * naive_intra(k, q), abs=1e-12)
    assert float(scalr(k, q)) == pytest.approx(sum(math.dist(k[i], q[i]) for i in range(n)) / n, abs=1e-12)
    for drop_share, vote_cosine in ((0.0, 0.5), (0.3, 0.1), (0.9, -1.0)):
        expected = naive_tolerant(k, q, 0.07, drop_share, vote_cosine)
        assert float(contrastive_tolerant(k, q, 0.07, drop_share, vote_cosine)) == pytest.approx(expected, abs=1e-12)


def test_equal_representations_have_no_loss_but_a_contrastive_one() -> None:
    q = unit_rows(32, 16)
    for loss in (cross_relation, intra_relation, scalr):
        assert float(loss(q.clone(), q)) == 0.0
    assert float(similarity(q, q)) == pytest.approx(0.0, abs=1e-15)
    assert float(contrastive(q, q, 0.07)) > 0
    assert float(contrastive_tolerant(q, q, 0.07, 0.01, 0.5)) > 0


def test_a_rotation_is_invisible_to_the_intra_relation_alone() -> None:
    q = unit_rows(64, 16)
    rotation, _ = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    k = q @ rotation
    assert float(intra_relation(k, q)) < 1e-14
    assert float(cross_relation(k, q)) > 1.0
    for loss in LOSSES.values():
        assert float(loss(k, q)) > float(loss(q, q)) + 0.5


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
    (gradient,) = torch.autograd.grad(contrastive(k, q, 0.07), k)
    torch.testing.assert_close(gradient, (torch.softmax(k @ q.T / 0.07, dim=1) - eye) @ q / (n * 0.07), rtol=0, atol=1e-14)
    (gradient,) = torch.autograd.grad(scalr(k, q), k)
    torch.testing.assert_close(gradient, (k - q) / (k - q).norm(dim=1, keepdim=True) / n, rtol=0, atol=1e-14)
    (gradient,) = torch.autograd.grad(similarity(k, q), k)
    torch.testing.assert_close(gradient, -q / n, rtol=0, atol=1e-14)


@pytest.mark.parametrize("loss", [cross_relation, intra_relation, *LOSSES.values()])
def test_gradients_agree_with_central_differences(loss) -> None:  # type: ignore[no-untyped-def]
    k, q = unit_rows(6, 4, 1).requires_grad_(), unit_rows(6, 4, 2)
    assert torch.autograd.gradcheck(lambda x: loss(x, q), (k,), eps=1e-6, atol=1e-8, rtol=1e-7)


def test_where_student_and_teacher_agree_the_distance_pulls_nowhere() -> None:
    q = unit_rows(6, 4)
    k = torch.cat([q[:3], unit_rows(3, 4, 1)]).requires_grad_()
    (gradient,) = torch.autograd.grad(scalr(k, q), k)
    assert torch.equal(gradient[:3], torch.zeros(3, 4, dtype=torch.float64))
    assert bool((gradient[3:] != 0).any())


def test_contrastive_closed_forms() -> None:
    orthonormal = torch.eye(4, dtype=torch.float64)
    equal = torch.ones(5, 4, dtype=torch.float64) / 2
    assert float(contrastive(orthonormal, orthonormal, 0.07)) == pytest.approx(math.log(1 + 3 * math.exp(-1 / 0.07)), rel=1e-6)
    assert float(contrastive(equal, equal, 0.07)) == pytest.approx(math.log(5))
    # Of 3 and of 4 negatives, half drops one and two.
    left = math.log(1 + 2 * math.exp(-1 / 0.07))
    assert float(contrastive_tolerant(orthonormal, orthonormal, 0.07, 0.5, 0.5)) == pytest.approx(left, rel=1e-6)
    assert float(contrastive_tolerant(equal, equal, 0.07, 0.5, 0.5)) == pytest.approx(math.log(3))


def test_the_tolerant_loss_without_its_two_changes_is_infonce() -> None:
    k, q = unit_rows(20, 8, 1), unit_rows(20, 8, 2)
    assert float(contrastive_tolerant(k, q, 0.07, 0.0, 1.0)) == pytest.approx(float(contrastive(k, q, 0.07)), abs=1e-13)


def test_a_row_that_many_are_like_weighs_nothing_and_one_alone_weighs_most() -> None:
    q = torch.eye(6, dtype=torch.float64)[[0, 0, 0, 1, 1, 2]]
    k = unit_rows(6, 6).requires_grad_()
    (gradient,) = torch.autograd.grad(contrastive_tolerant(k, q, 0.07, 0.0, 0.5), k)
    (unweighted,) = torch.autograd.grad(contrastive(k, q, 0.07), k)
    # Votes 2, 2, 2, 1, 1, 0 give the weights 0, 0, 0, 1/2, 1/2, 1, whose sum is 2.
    weight = torch.tensor([0, 0, 0, 0.5, 0.5, 1], dtype=torch.float64)[:, None]
    torch.testing.assert_close(gradient, 6 * unweighted * weight / 2, rtol=0, atol=1e-13)


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
    assert torch.autograd.gradcheck(lambda x: loss(x, q), (k,), eps=1e-6, atol=1e-9, rtol=0.0)


@pytest.mark.parametrize("name", LOSSES)
def test_bfloat16_rows_are_compared_in_float32(name: str) -> None:
    k, q = unit_rows(200, 32, 1).bfloat16().requires_grad_(), unit_rows(200, 32, 2).bfloat16()
    loss = LOSSES[name](k, q)
    loss.backward()
    exact = LOSSES[name](k.detach().double(), q.double())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)
    assert k.grad is not None
    assert k.grad.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "block_rows"), [("relational", 64), ("relational", 1024), ("contrastive", 1024), ("contrastive_tolerant", 1024)]
)
def test_mixed_precision_does_not_reach_into_a_loss(name: str, block_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relation_blocks, "BLOCK_ROWS", block_rows)
    k, q = unit_rows(200, 32, 1).float().requires_grad_(), unit_rows(200, 32, 2).float()
    (expected,) = torch.autograd.grad(LOSSES[name](k, q), k)
    with torch.autocast("cpu", torch.bfloat16):
        loss = LOSSES[name](k, q)
    (gradient,) = torch.autograd.grad(loss, k)
    assert torch.equal(gradient, expected)
    assert loss.item() == pytest.approx(LOSSES[name](k.double(), q.double()).item(), rel=1e-6)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_to_relate_have_no_relation(n: int) -> None:
    k, q = unit_rows(n, 4, 1).requires_grad_(), unit_rows(n, 4, 2)
    assert intra_relation(k, q).item() == 0.0
    assert cross_relation(k, q).item() == pytest.approx(similarity(k, q).item() if n else 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_are_folded_alike_on_the_cpu_and_elsewhere(dtype: torch.dtype) -> None:
    """What a GPU runs, on the CPU; zeros have no sign."""
    blocks = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0), dtype=dtype)
    blocks[:, 2] = 0
    at_once, by_torch = blocks.clone(), blocks.clone()
    sums = relation_blocks._signs_and_sums(*at_once)
    torch.testing.assert_close(torch.tensor(sums, dtype=dtype), torch.stack(relation_blocks._signs_and_sums_by_torch(*by_torch)))
    torch.testing.assert_close(at_once, by_torch, rtol=0, atol=0)
    torch.testing.assert_close(at_once[2], blocks.sum(dim=0).sign(), rtol=0, atol=0)

"""The Lovasz-softmax loss against its definition with sets, its value for hard answers, and its gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.lovasz import lovasz_softmax


def by_definition(probability: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the classes of sum_i m_i (J(first i) - J(first i - 1)), errors m falling; J(S) = 1 - |G - S| / |G + S|."""
    losses = []
    for number in sorted(set(truth.tolist())):
        group = {i for i in range(len(truth)) if truth[i] == number}
        error = [1 - p if i in group else p for i, p in enumerate(probability[:, number])]
        loss, wrong, before = 0.0, set(), 0.0
        for i in sorted(range(len(truth)), key=lambda i: -error[i]):
            wrong.add(i)
            jaccard = 1 - len(group - wrong) / len(group | wrong)
            loss += error[i] * (jaccard - before)
            before = jaccard
        losses.append(loss)
    return float(np.mean(losses))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_equals_its_definition(points: int, classes: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    probability = generator.dirichlet(np.full(classes, 0.5), points)
    truth = generator.integers(0, classes, points)
    loss = lovasz_softmax(torch.from_numpy(probability), torch.from_numpy(truth))
    assert float(loss) == pytest.approx(by_definition(probability, truth), abs=1e-12)


def test_of_hard_answers_it_is_one_minus_iou() -> None:
    generator = np.random.default_rng(0)
    truth, answer = generator.integers(0, 4, (2, 200))
    loss = lovasz_softmax(torch.eye(4, dtype=torch.float64)[answer], torch.from_numpy(truth))
    iou = [((truth == c) & (answer == c)).sum() / ((truth == c) | (answer == c)).sum() for c in range(4)]
    assert float(loss) == pytest.approx(1 - np.mean(iou))


def test_its_gradient() -> None:
    torch.manual_seed(0)
    truth = torch.randint(0, 3, (12,))
    logits = torch.randn(12, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: lovasz_softmax(x.softmax(dim=1), truth), logits)


def test_without_points_it_is_zero() -> None:
    probability = torch.zeros(0, 3, requires_grad=True)
    loss = lovasz_softmax(probability, torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0

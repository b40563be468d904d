"""The structural gaps against naive loops."""

import math

import pytest
import torch

from distill.structure import structure_gaps, tolerance


def test_gaps_equal_naive_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    k, q = (torch.nn.functional.normalize(torch.randn(9, 5, generator=generator, dtype=torch.float64), dim=1) for _ in range(2))
    gaps = structure_gaps(k, q)

    def uniformity(x: torch.Tensor) -> float:
        terms = [math.exp(-2 * float((x[i] - x[j]) @ (x[i] - x[j]))) for i in range(9) for j in range(i)]
        return math.log(sum(terms) / len(terms))

    assert gaps["uniformity_student"] == pytest.approx(uniformity(k))
    assert gaps["uniformity_gap"] == pytest.approx(abs(uniformity(k) - uniformity(q)))
    assert gaps["alignment"] == pytest.approx(sum(float((k[i] - q[i]) @ (k[i] - q[i])) for i in range(9)) / 9)
    assert gaps["modality_gap"] == pytest.approx(math.sqrt(sum(float(k[:, d].mean() - q[:, d].mean()) ** 2 for d in range(5))))
    pairs = [(i, j) for i in range(9) for j in range(9) if i != j]
    assert gaps["relation_gap"] == pytest.approx(sum(abs(float(k[i] @ k[j] - q[i] @ q[j])) for i, j in pairs) / len(pairs))


def test_equal_representations_have_no_gap() -> None:
    q = torch.nn.functional.normalize(torch.randn(30, 6, generator=torch.Generator().manual_seed(1)), dim=1)
    gaps = structure_gaps(q.clone(), q)
    assert [gaps[name] for name in ("modality_gap", "alignment", "uniformity_gap", "relation_gap")] == [0.0] * 4


def test_tolerance_equals_a_naive_loop_over_the_pairs_of_one_class() -> None:
    x = torch.nn.functional.normalize(torch.randn(12, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64), dim=1)
    label = torch.tensor([0, 3, 0, 1, 1, 1, -1, 3, 0, -1, 2, 1])
    pairs = [(i, j) for i in range(12) for j in range(12) if i != j and label[i] == label[j] >= 0]
    expected = sum(float(x[i] @ x[j]) for i, j in pairs) / len(pairs)
    assert float(tolerance(x, label)) == pytest.approx(expected)
    gaps = structure_gaps(x.flip(0), x, label)
    assert gaps["tolerance_teacher"] == pytest.approx(expected)
    assert gaps["tolerance_student"] == pytest.approx(float(tolerance(x.flip(0), label)))


def test_a_class_of_equal_rows_is_wholly_tolerant_and_without_pairs_there_is_no_tolerance() -> None:
    x = torch.eye(3)[[0, 0, 1, 1, 1]]
    assert float(tolerance(x, torch.tensor([0, 0, 1, 1, 1]))) == pytest.approx(1.0)
    for seed in range(20):
        x = torch.nn.functional.normalize(torch.randn(40, 7, generator=torch.Generator().manual_seed(seed)), dim=1)
        assert math.isnan(float(tolerance(x, torch.randperm(40, generator=torch.Generator().manual_seed(seed)))))
        assert math.isnan(float(tolerance(x, torch.full((40,), -1))))

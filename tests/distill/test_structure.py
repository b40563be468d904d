"""The structural gaps against naive loops."""

import math

import pytest
import torch

from distill.structure import structure_gaps


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

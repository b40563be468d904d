"""How far the features of one form of a student are from the reference's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relidar.bundle import Precision
from relidar.executor import LABEL_AGREEMENT
from relidar.segmenter import ClassScorer
from relidar.words import VoxelScores

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Agreement:
    """One form against the reference, over all voxels of a set of scans."""

    name: str
    max_abs: float
    """Largest difference of a unit feature."""
    mean_abs: float
    min_cosine: float
    """Of the voxel that agrees least."""
    label_agreement: float
    """Share of the voxels with the same label: of the form's own scores, where it gives them."""
    p999_abs: float
    """99.9th percentile of the differences of unit features; of several scans the largest."""
    mean_cosine: float
    precision: Precision = "fp32"
    max_score_abs: float = 0.0
    """Largest difference of a voxel's score or margin."""

    def faults(self, tolerance: float) -> list[str]:
        """What is beyond its limit: features and scores, or in a lower precision the labels; a NaN always is."""
        if self.precision == "fp32":
            differences = {"a feature": self.max_abs, "a score": self.max_score_abs}
            return [
                f"{what} differs by {by:.1e}, limit {tolerance:.0e}" for what, by in differences.items() if not by <= tolerance
            ]
        faults = [] if self.max_abs >= 0 else ["a feature is not a number"]
        limit = LABEL_AGREEMENT[self.precision]
        return (
            faults
            if self.label_agreement >= limit
            else [*faults, f"same label for {self.label_agreement:.2%}, limit {limit:.1%}"]
        )

    def holds(self, tolerance: float) -> bool:
        """Whether it has no fault."""
        return not self.faults(tolerance)


def agreement(
    name: str,
    answer: Features,
    expected: Features,
    scorer: ClassScorer,
    precision: Precision = "fp32",
    scores: VoxelScores | None = None,
) -> Agreement:
    """Compares (V, D) unit rows, and the scores that the form gives itself; None: those that follow from its features."""
    difference = np.abs(answer - expected)
    cosine = (answer * expected).sum(axis=1)
    scored = scores or scorer.words.scores(answer)
    reference = scorer.words.scores(expected)
    same = scorer.labels(scored) == scorer.labels(reference)
    score_difference = np.abs(np.stack([scored.score - reference.score, scored.margin - reference.margin]))
    return Agreement(
        name=name,
        max_abs=float(difference.max()),
        mean_abs=float(difference.mean()),
        min_cosine=float(cosine.min()),
        label_agreement=float(same.mean()),
        p999_abs=float(np.percentile(difference, 99.9)),
        mean_cosine=float(cosine.mean(dtype=np.float64)),
        precision=precision,
        max_score_abs=float(score_difference.max()),
    )


def together(parts: Sequence[Agreement], voxels: Sequence[int]) -> Agreement:
    """One form over several scans of so many voxels each: extremes of the extremes, means weighted by voxels."""

    def mean(values: Sequence[float]) -> float:
        return float(np.average(values, weights=voxels))

    return Agreement(
        name=parts[0].name,
        max_abs=float(np.max([part.max_abs for part in parts])),
        mean_abs=mean([part.mean_abs for part in parts]),
        min_cosine=float(np.min([part.min_cosine for part in parts])),
        label_agreement=mean([part.label_agreement for part in parts]),
        p999_abs=float(np.max([part.p999_abs for part in parts])),
        mean_cosine=mean([part.mean_cosine for part in parts]),
        precision=parts[0].precision,
        max_score_abs=float(np.max([part.max_score_abs for part in parts])),
    )

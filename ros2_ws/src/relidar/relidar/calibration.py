"""How far a score can be trusted: of the points that score so much, which share is labelled right?

A score is a cosine, a margin the distance to the second-best class. Neither is a probability, so the usual calibration error says
little about them. What is told instead:

- `auroc`: the chance that a right point has a higher value than a wrong one (0.5 = the value tells nothing, 1 = it tells all).
- `face_value_error`: the expected calibration error of taking the value, clipped to 0..1, for the chance of being right:
  sum over bins of (share of points) x |share right - mean value|.
- `learned_error`: the same of a curve value -> share right that is learned on every other scan, made monotone, and measured on
  the scans between: what remains if a vehicle reads the curve rather than the score.
- `bins`: the curve itself, in bins of about as many points each.

Only points with a true class and an answer count.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relidar.metrics import rounded

CELLS = 400
SHOWN_BINS = 12


@dataclass
class Reliability:
    """Counts by value in fine cells, so that scans need not be kept; scans of even and odd number stand apart."""

    low: float
    high: float
    """Values beyond are counted in the first and last cell."""
    points: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, CELLS), np.int64))
    right: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, CELLS), np.int64))

    def update(self, scan: int, value: NDArray[np.float32], is_right: NDArray[np.bool_]) -> None:
        """Adds the (n,) values of one scan and whether each point's label is right."""
        cell = np.clip((value.astype(np.float64) - self.low) / (self.high - self.low) * CELLS, 0, CELLS - 1).astype(np.int64)
        self.points[scan % 2] += np.bincount(cell, minlength=CELLS)
        self.right[scan % 2] += np.bincount(cell[is_right], minlength=CELLS)

    def add(self, other: "Reliability") -> None:
        """Adds what another recording counted."""
        self.points += other.points
        self.right += other.right

    def report(self) -> dict[str, Any] | None:
        """The figures of the module docstring; None if nothing was counted."""
        points, right = self.points.sum(axis=0), self.right.sum(axis=0)
        total = int(points.sum())
        if total == 0:
            return None
        face_value = np.clip(self.centres, 0.0, 1.0)
        learned = None
        if self.points[0].any() and self.points[1].any():
            learned = expected_error(monotone(self.points[0], self.right[0]), self.points[1], self.right[1])
        return {
            "points": total,
            "right_percent": round(100.0 * int(right.sum()) / total, 3),
            "auroc": rounded(auroc(right, points - right), 4),
            "face_value_error": rounded(expected_error(face_value, points, right), 4),
            "learned_error": rounded(learned, 4),
            "bins": self._bins(points, right),
        }

    @property
    def centres(self) -> NDArray[np.float64]:
        """(CELLS,) value in the middle of each cell."""
        return self.low + (np.arange(CELLS) + 0.5) * (self.high - self.low) / CELLS

    def _bins(self, points: NDArray[np.int64], right: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Neighbouring cells put together until each bin holds about as many points."""
        bin_of_cell = np.minimum((np.cumsum(points) - points / 2) / points.sum() * SHOWN_BINS, SHOWN_BINS - 1).astype(np.int64)
        width = (self.high - self.low) / CELLS
        rows = []
        for number in range(SHOWN_BINS):
            cells = np.flatnonzero((bin_of_cell == number) & (points > 0))
            if len(cells):
                count = int(points[cells].sum())
                rows.append(
                    {
                        "from": round(float(self.low + cells[0] * width), 4),
                        "to": round(float(self.low + (cells[-1] + 1) * width), 4),
                        "mean": round(float(np.average(self.centres[cells], weights=points[cells])), 4),
                        "points": count,
                        "right_percent": round(100.0 * int(right[cells].sum()) / count, 3),
                    }
                )
        return rows


def expected_error(claimed: NDArray[np.float64], points: NDArray[np.int64], right: NDArray[np.int64]) -> float:
    """Sum over SHOWN_BINS equal spans of the claimed chance of (share of points) x |share right - mean claimed|.

    Args:
        claimed: (cells,) chance of being right that is claimed for each cell, 0..1.
        points: (cells,) points in it.
        right: (cells,) of these, right ones.
    """
    span = np.minimum((claimed * SHOWN_BINS).astype(np.int64), SHOWN_BINS - 1)
    total, sure, hit = (np.bincount(span, weights=w, minlength=SHOWN_BINS) for w in (points, points * claimed, right))
    return float(np.abs(hit - sure).sum() / total.sum())


def monotone(points: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """(cells,) share right, made not to fall by pooling adjacent violators; a cell without points takes its left neighbour's."""
    blocks: list[tuple[int, int, int]] = []  # first cell, points, right
    for cell in np.flatnonzero(points):
        block = (int(cell), int(points[cell]), int(right[cell]))
        while blocks and blocks[-1][2] * block[1] >= block[2] * blocks[-1][1]:
            first, count, hit = blocks.pop()
            block = (first, count + block[1], hit + block[2])
        blocks.append(block)
    curve = np.zeros(len(points), np.float64)
    for number, (first, count, hit) in enumerate(blocks):
        curve[0 if number == 0 else first :] = hit / count
    return curve


def auroc(right: NDArray[np.int64], wrong: NDArray[np.int64]) -> float | None:
    """Chance that a right point lies in a higher cell than a wrong one, ties counted half; None without either."""
    if not right.any() or not wrong.any():
        return None
    below = np.cumsum(wrong) - wrong
    pairs = float(right.sum()) * float(wrong.sum())
    return float((right.astype(np.float64) * (below + wrong / 2)).sum() / pairs)

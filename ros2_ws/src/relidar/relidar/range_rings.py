"""Confusion by distance: the same counts as `metrics.Confusion`, one for each ring around the sensor."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relidar.metrics import Confusion, rounded

EDGES_M = (0.0, 10.0, 20.0, 40.0, 60.0)
"""Where the rings begin; the last has no end. Distance is horizontal: sqrt(x^2 + y^2) in the sensor frame."""


def ring_of(xyz_m: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N, 3) points -> (N,) number of the ring, -1 where the distance is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        distance_m = np.hypot(xyz_m[:, 0].astype(np.float64), xyz_m[:, 1].astype(np.float64))
    ring = np.searchsorted(EDGES_M, distance_m, side="right") - 1
    return np.where(np.isfinite(distance_m), ring, -1)


def ring_names() -> tuple[str, ...]:
    """Such as "0-10 m" and "60 m and more"."""
    return (*(f"{a:g}-{b:g} m" for a, b in pairwise(EDGES_M)), f"{EDGES_M[-1]:g} m and more")


class RangeRings:
    """One confusion matrix a ring; points without a finite distance belong to none."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.confusions = [Confusion(classes) for _ in EDGES_M]

    def update(self, xyz_m: NDArray[np.float32], truth: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> None:
        """Adds one scan; `truth` and `prediction` as in `Confusion.update`."""
        ring = ring_of(xyz_m)
        for number, confusion in enumerate(self.confusions):
            inside = ring == number
            confusion.update(truth[inside], prediction[inside])

    def report(self) -> list[dict[str, Any]]:
        """One row a ring: its points with a true class, mIoU and IoU by class in percent."""
        return [
            {
                "ring": name,
                "points": confusion.points,
                "miou_percent": rounded(confusion.miou_percent()),
                "class_iou_percent": {c: rounded(iou) for c, iou in confusion.iou_percent().items()},
            }
            for name, confusion in zip(ring_names(), self.confusions, strict=True)
        ]

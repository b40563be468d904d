"""How good the labels are: one confusion matrix over raw points, and the intersection over union it implies."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from relidar.errors import DatasetError
from relidar.prompts import UNLABELLED


@dataclass
class Confusion:
    """Counts points by true and predicted class; classes are numbered 0..C-1, 255 means "none".

    A point without a true class is left out. A point with a true class but without a predicted one is a miss: it counts against
    its true class, in the last column.
    """

    classes: Sequence[str]
    counts: NDArray[np.int64] = field(init=False)
    """(C, C + 1) points by true class (row) and predicted class (column)."""

    def __post_init__(self) -> None:
        self.counts = np.zeros((len(self.classes), len(self.classes) + 1), np.int64)

    def update(self, truth: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> None:
        """Adds the points of one scan.

        Args:
            truth: (N,) class numbers, 255 = ignore the point.
            prediction: (N,) class numbers, 255 = no answer.

        Raises:
            DatasetError: lengths differ, or a number is neither a class nor 255.
        """
        if truth.shape != prediction.shape or truth.ndim != 1:
            raise DatasetError(f"truth {truth.shape} and prediction {prediction.shape}: expected (N,) both.")
        C = len(self.classes)
        for name, values in (("truth", truth), ("prediction", prediction)):
            wrong = values[(values >= C) & (values != UNLABELLED)]
            if len(wrong):
                raise DatasetError(f"{name} holds class {wrong[0]}, expected 0 to {C - 1} or {UNLABELLED}; map it first.")
        counted = truth != UNLABELLED
        columns = np.minimum(prediction[counted], C).astype(np.int64)
        cells = truth[counted].astype(np.int64) * (C + 1) + columns
        self.counts += np.bincount(cells, minlength=C * (C + 1)).reshape(C, C + 1)

    @property
    def points(self) -> int:
        """Points that have a true class."""
        return int(self.counts.sum())

    def iou_percent(self) -> dict[str, float | None]:
        """IoU = TP / (TP + FP + FN) in percent by class; None for a class that does not occur in the truth."""
        hits = np.diagonal(self.counts)
        true = self.counts.sum(axis=1)
        union = true + self.counts[:, :-1].sum(axis=0) - hits
        return {name: float(100.0 * hits[row] / union[row]) if true[row] else None for row, name in enumerate(self.classes)}

    def miou_percent(self) -> float | None:
        """Mean IoU over the classes that occur in the truth; None if none does."""
        present = [iou for iou in self.iou_percent().values() if iou is not None]
        return float(np.mean(present)) if present else None


def rounded(value: float | None, digits: int = 3) -> float | None:
    """To so many decimals; None stays None."""
    return None if value is None else round(value, digits)

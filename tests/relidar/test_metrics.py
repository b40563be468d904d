"""Confusion matrix and IoU against a loop over points, and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from relidar.errors import DatasetError
from relidar.metrics import Confusion

CLASSES = ("road", "car", "tree")
LABELS = arrays(np.uint8, 60, elements=st.sampled_from([0, 1, 2, 255]))


def naive_iou(truth: np.ndarray, prediction: np.ndarray) -> list[float | None]:
    ious: list[float | None] = []
    for k in range(len(CLASSES)):
        both = either = occurs = 0
        for t, p in zip(truth.tolist(), prediction.tolist(), strict=True):
            if t == 255:
                continue
            occurs += t == k
            both += t == k and p == k
            either += t == k or p == k
        ious.append(100.0 * both / either if occurs else None)
    return ious


@given(LABELS, LABELS)
def test_iou_equals_the_loop_over_points(truth: np.ndarray, prediction: np.ndarray) -> None:
    confusion = Confusion(CLASSES)
    confusion.update(truth[:25], prediction[:25])
    confusion.update(truth[25:], prediction[25:])
    expected = naive_iou(truth, prediction)
    assert list(confusion.iou_percent().values()) == pytest.approx(expected)
    present = [iou for iou in expected if iou is not None]
    assert confusion.miou_percent() == (pytest.approx(sum(present) / len(present)) if present else None)
    assert confusion.points == (truth != 255).sum()


def test_an_unanswered_point_is_a_miss_and_an_untrue_one_is_not_counted() -> None:
    confusion = Confusion(CLASSES)
    confusion.update(np.array([0, 0, 1, 255], np.uint8), np.array([0, 255, 1, 2], np.uint8))
    assert confusion.iou_percent() == {"road": 50.0, "car": 100.0, "tree": None}
    assert confusion.miou_percent() == 75.0
    assert confusion.counts.tolist() == [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_labels_that_are_no_class_are_refused() -> None:
    confusion = Confusion(CLASSES)
    with pytest.raises(DatasetError, match="truth holds class 3, expected 0 to 2 or 255"):
        confusion.update(np.array([3], np.uint8), np.array([0], np.uint8))
    with pytest.raises(DatasetError, match=r"truth \(2,\) and prediction \(1,\)"):
        confusion.update(np.zeros(2, np.uint8), np.zeros(1, np.uint8))

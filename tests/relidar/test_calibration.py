"""Calibration figures against loops over points and against cases with a known answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relidar.calibration import CELLS, SHOWN_BINS, Reliability, auroc, expected_error, monotone

counts = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


@given(counts)
def test_auroc_is_the_share_of_pairs_in_order(right_and_wrong: list[tuple[int, int]]) -> None:
    right, wrong = (np.array(column) for column in zip(*right_and_wrong, strict=True))
    values_right = np.repeat(np.arange(len(right)), right)
    values_wrong = np.repeat(np.arange(len(wrong)), wrong)
    won = [(1.0 if r > w else 0.5 if r == w else 0.0) for r in values_right for w in values_wrong]
    assert auroc(right, wrong) == (pytest.approx(np.mean(won)) if won else None)


@given(counts)
def test_monotone_is_the_best_rising_curve(right_and_wrong: list[tuple[int, int]]) -> None:
    right, wrong = (np.array(column) for column in zip(*right_and_wrong, strict=True))
    points = right + wrong
    curve = monotone(points, right)
    assert (np.diff(curve) >= 0).all()
    # The min-max formula of isotonic regression, cell by cell.
    for cell in np.flatnonzero(points):
        least = []
        for first in range(cell + 1):
            sums = [(right[first : last + 1].sum(), points[first : last + 1].sum()) for last in range(cell, len(points))]
            least.append(min((hit / count for hit, count in sums if count), default=0.0))
        assert curve[cell] == pytest.approx(max(least))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=15))
def test_expected_error_is_that_of_a_loop_over_bins(cells: list[tuple[float, int, int]]) -> None:
    claimed = np.array([cell[0] for cell in cells])
    right = np.array([cell[1] for cell in cells])
    points = right + np.array([cell[2] for cell in cells]) + 1
    error = 0.0
    for number in range(SHOWN_BINS):
        inside = [k for k, c in enumerate(claimed) if min(int(c * SHOWN_BINS), SHOWN_BINS - 1) == number]
        if inside:
            n = sum(points[k] for k in inside)
            mean = sum(points[k] * claimed[k] for k in inside) / n
            error += n / points.sum() * abs(sum(right[k] for k in inside) / n - mean)
    assert expected_error(claimed, points, right) == pytest.approx(error)


def test_a_score_that_is_the_chance_of_being_right_shows_no_error() -> None:
    random = np.random.default_rng(0)
    reliability = Reliability(-1.0, 1.0)
    for scan in range(10):
        score = random.uniform(0, 1, 20000).astype(np.float32)
        reliability.update(scan, score, random.uniform(0, 1, 20000) < score)
    report = reliability.report()
    assert report is not None
    assert report["points"] == sum(row["points"] for row in report["bins"]) == 200_000
    assert report["face_value_error"] < 0.01
    assert report["learned_error"] < 0.01
    assert report["auroc"] == pytest.approx(5 / 6, abs=0.01)
    assert len(report["bins"]) == SHOWN_BINS
    for row in report["bins"]:
        assert row["right_percent"] == pytest.approx(100 * row["mean"], abs=2)
        assert row["points"] == pytest.approx(200_000 / SHOWN_BINS, rel=0.1)


def test_an_overconfident_score_is_told_and_can_be_learned() -> None:
    reliability = Reliability(-1.0, 1.0)
    for scan in range(2):
        reliability.update(scan, np.full(100, 0.9, np.float32), np.arange(100) < 30)
    report = reliability.report()
    assert report is not None
    assert report["face_value_error"] == pytest.approx(0.6, abs=2 / CELLS)
    assert report["learned_error"] == 0
    assert report["auroc"] == 0.5


def test_nothing_counted_is_no_report_and_two_add_up() -> None:
    one, other, both = Reliability(0, 1), Reliability(0, 1), Reliability(0, 1)
    assert one.report() is None
    for scan, part in enumerate((one, other)):
        value = np.linspace(-1, 2, 50, dtype=np.float32)
        for target in (part, both):
            target.update(scan, value, value > 0.4)
    one.add(other)
    assert one.report() == both.report()

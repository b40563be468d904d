"""Rings against a loop over points."""

import math

import numpy as np

from relidar.metrics import Confusion
from relidar.range_rings import RangeRings, ring_names, ring_of


def test_rings_hold_what_a_loop_over_points_counts() -> None:
    random = np.random.default_rng(0)
    xyz_m = random.normal(0, 40, (3000, 3)).astype(np.float32)
    xyz_m[::50] = np.nan
    xyz_m[1] = (10, 0, 99)
    truth = random.choice([0, 1, 255], 3000).astype(np.uint8)
    prediction = random.choice([0, 1, 255], 3000).astype(np.uint8)
    rings = RangeRings(("a", "b"))
    rings.update(xyz_m[:1000], truth[:1000], prediction[:1000])
    rings.update(xyz_m[1000:], truth[1000:], prediction[1000:])
    edges = [0, 10, 20, 40, 60, math.inf]
    expected = [Confusion(("a", "b")) for _ in range(5)]
    for (x, y, _), true, predicted in zip(xyz_m.tolist(), truth, prediction, strict=True):
        for ring in range(5):
            if edges[ring] <= math.hypot(x, y) < edges[ring + 1]:
                expected[ring].update(np.array([true]), np.array([predicted]))
    for confusion, other in zip(rings.confusions, expected, strict=True):
        np.testing.assert_array_equal(confusion.counts, other.counts)
    rows = rings.report()
    assert [row["ring"] for row in rows] == list(ring_names()) == ["0-10 m", "10-20 m", "20-40 m", "40-60 m", "60 m and more"]
    assert rows[0]["points"] == expected[0].points > 0
    assert rows[2]["miou_percent"] == round(expected[2].miou_percent() or 0, 3)


def test_a_ring_begins_at_its_edge() -> None:
    xyz_m = np.array([[0, 0, 5], [10, 0, 0], [0, -20, 0], [60, 0, 0], [np.inf, 0, 0], [0, np.nan, 0]], np.float32)
    assert ring_of(xyz_m).tolist() == [0, 1, 2, 4, -1, -1]

"""Robustness figures against a loop over points, and draws that depend on nothing but the number of the scan."""

import json
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from relidar import charts, robustness
from relidar.corruptions import KINDS, SCALES, Corruption
from relidar.errors import ConfigError
from relidar.metrics import Confusion
from relidar.robustness import FIGURES, Robustness
from relidar.voxels import Preprocessing, voxelise

CLASSES = ("low", "high")


def scan(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    xyz_m = random.uniform(-40, 40, (900, 3)).astype(np.float32)
    return xyz_m, random.uniform(0, 60, 900).astype(np.float32), random.choice([0, 1, 255], 900).astype(np.uint8)


def predict(xyz_m: np.ndarray, intensity: np.ndarray | None) -> np.ndarray:
    """Calls what stands high "high" and what is not there nothing."""
    assert intensity is not None
    return np.where(np.isnan(xyz_m[:, 2]), 255, xyz_m[:, 2] > 0).astype(np.uint8)


def measured(*corruptions: str, seeds: tuple[int, ...] = (0, 1)) -> tuple[Robustness, Confusion]:
    result, clean = Robustness(CLASSES, corruptions), Confusion(CLASSES)
    for number, seed in enumerate(seeds):
        xyz_m, intensity, truth = scan(seed)
        answer = predict(xyz_m, intensity)
        clean.update(truth, answer)
        result.scan(number, (xyz_m, intensity), 255.0, truth, answer, predict)
    return result, clean


def miou(pairs: list[tuple[int, int]]) -> float:
    """Of (true, predicted) points, 255 = no answer."""
    ious = []
    for k in (0, 1):
        both, either = (sum(rule(t == k, p == k) for t, p in pairs) for rule in (lambda a, b: a and b, lambda a, b: a or b))
        ious.append(100 * both / either)
    return float(np.mean(ious))


def test_a_kind_without_severity_means_all_of_them() -> None:
    assert robustness.expand(["rain", "fog:3,fog:1", "dropout:0"]) == (*(f"rain:{s}" for s in range(1, 6)), "fog:3", "fog:1")
    assert robustness.expand([]) == ()
    for text in ("rain:9", "hail"):
        with pytest.raises(ConfigError, match=text):
            robustness.expand([text])


@pytest.mark.parametrize("name", ["fog:5", "dropout:3", "crosstalk:5", "jitter:5"])
def test_figures_are_what_a_loop_over_points_counts(name: str) -> None:
    result, clean = measured(name)
    report = result.report(clean)
    assert report is not None
    zero, row = report["rows"]
    whole, left, left_clean = [], [], []
    points = lost = replaced = 0
    for number, seed in enumerate((0, 1)):
        xyz_m, intensity, truth = scan(seed)
        changed = Corruption.parse(name)(xyz_m, intensity, np.random.default_rng([robustness.SEED, number]))
        answers = predict(changed.xyz_m, changed.intensity)
        for t, c, p, is_void, xyz in zip(truth, predict(xyz_m, intensity), answers, changed.void, changed.xyz_m, strict=True):
            points += 1
            lost += bool(is_void and np.isnan(xyz).any())
            replaced += bool(is_void and not np.isnan(xyz).any())
            if t == 255:
                continue
            whole.append((t, 255 if is_void else p))
            if not is_void:
                left.append((t, p))
                left_clean.append((t, c))
    expected = (miou(whole), miou(left), miou(left_clean), 100 * lost / points, 100 * replaced / points)
    assert [row[figure] for figure in FIGURES] == pytest.approx(expected, abs=1e-3)
    assert [zero[figure] for figure in FIGURES] == [round(clean.miou_percent() or 0, 3)] * 3 + [0, 0]


def test_lost_returns_lower_the_first_figure_and_leave_the_second() -> None:
    result, clean = measured(*(f"dropout:{severity}" for severity in range(1, 6)))
    report = result.report(clean)
    assert report is not None
    rows = report["rows"]
    whole, left, unhurt, lost = ([row[figure] for row in rows] for figure in list(FIGURES)[:4])
    assert (np.diff(whole) < 0).all()
    assert left == unhurt  # this network answers each point alone
    assert lost[1:] == pytest.approx(SCALES["dropout"].values, abs=4)
    assert [row["meaning"] for row in rows[:2]] == ["as recorded", "returns lost 10 %"]
    # The same draws at every severity: what is lost at one is lost at the next.
    xyz_m, intensity, _ = scan(0)
    voids = [Corruption("dropout", s)(xyz_m, intensity, np.random.default_rng([robustness.SEED, 0])).void for s in range(1, 6)]
    assert all((worse | less == worse).all() for less, worse in pairwise(voids))


def test_counts_are_written_down_and_add_up() -> None:
    both, clean = measured("rain:5", "fog:2")
    again = Robustness(CLASSES, ("rain:5", "fog:2"))
    again.add_raw(json.loads(json.dumps(both.raw())))
    assert again.report(clean) == both.report(clean)
    again.add_raw(both.raw())
    assert again.counts["rain:5"].points == 2 * both.counts["rain:5"].points
    assert again.report(clean) == both.report(clean)  # shares of twice as much of the same
    assert Robustness(CLASSES, ()).report(clean) is None


def test_a_shift_of_intensity_reaches_the_network_s_input() -> None:
    xyz_m, intensity, _ = scan(0)
    preprocessing = Preprocessing(features=("intensity", "height"))
    before = voxelise(xyz_m, intensity, preprocessing).features
    changed = Corruption("intensity-shift", 5)(xyz_m, intensity, np.random.default_rng(0))
    after = voxelise(changed.xyz_m, changed.intensity, preprocessing).features
    np.testing.assert_allclose(after[:, 0], 0.2 * before[:, 0], rtol=1e-5)
    np.testing.assert_array_equal(after[:, 1], before[:, 1])


def test_the_plot_has_two_lines_for_each_kind_and_says_what_they_are() -> None:
    result, clean = measured(*(f"{kind}:{severity}" for kind in KINDS[:2] for severity in (1, 5)))
    report = result.report(clean)
    assert report is not None
    svg = charts.alone(robustness.plot(report["rows"]))
    space = "{http://www.w3.org/2000/svg}"
    lines = [line.attrib for line in ET.fromstring(svg).iter(f"{space}polyline")]  # noqa: S314  # our own text
    assert [line["stroke-dasharray"] for line in lines] == ["none", "5 4"] * 2
    assert [line["stroke"] for line in lines] == [charts.SERIES_RGB[0]] * 2 + [charts.SERIES_RGB[1]] * 2
    assert all(len(line["points"].split()) == 3 for line in lines)
    assert "misses; dashed" in svg

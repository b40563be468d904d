"""What a replay counts on one topic of one bag, and the figures that follow; the counts of several recordings add up."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relidar import drop_simulation
from relidar.calibration import Reliability
from relidar.latency import percentiles_ms
from relidar.metrics import Confusion, rounded
from relidar.prompts import UNLABELLED
from relidar.range_rings import RangeRings
from relidar.robustness import Robustness
from relidar.segmenter import Segmentation

LATENCY_CELL_MS = 1
STAGES = ("decode", "voxelise", "rulebook", "infer", "scores", "encode")
"""As they come one after the other."""


class Figures:
    """Counts of one recording (a topic of a bag), or of several put together."""

    def __init__(self, evaluated: Sequence[str] | None, corruptions: Sequence[str]) -> None:
        """`evaluated`: names of the evaluated classes, None without a truth; `corruptions`: such as "rain:3"."""
        self.evaluated = None if evaluated is None else tuple(evaluated)
        self.arrival_ns: list[list[int]] = [[]]
        """Bag time of each scan, by recording."""
        self.latency_ms: list[list[float]] = [[]]
        self.stages_ms: dict[str, list[float]] = {}
        self.points = 0
        self.labels = np.zeros(UNLABELLED + 1, np.int64)
        """Points by label."""
        self.malformed: Counter[str] = Counter()
        self.without_truth = 0
        self.over_capacity = 0
        """Scans too large for the engine, which the CPU answered."""
        names = self.evaluated or ()
        self.confusion = Confusion(names)
        self.rings = RangeRings(names)
        self.score = Reliability(-1.0, 1.0)
        self.margin = Reliability(0.0, 1.0)
        self.sums = np.zeros((4, len(names)), np.float64)
        """By predicted class, of points with a true class: points, right ones, sum of scores, sum of margins."""
        self.robustness = Robustness(names, corruptions)

    def scan(self, bag_time_ns: int, latency_ms: float, answer: Segmentation) -> None:
        """Counts one answered scan."""
        self.arrival_ns[-1].append(bag_time_ns)
        self.latency_ms[-1].append(latency_ms)
        for stage, milliseconds in answer.timings_ms.items():
            self.stages_ms.setdefault(stage, []).append(milliseconds)
        self.points += len(answer.label)
        self.over_capacity += answer.over_capacity
        self.labels += np.bincount(answer.label, minlength=len(self.labels))

    def compare(
        self, xyz_m: NDArray[np.float32], truth: NDArray[np.uint8], prediction: NDArray[np.uint8], answer: Segmentation
    ) -> None:
        """Holds the newest scan against its truth; `truth` and `prediction` (N,) in evaluated classes, 255 = none."""
        self.confusion.update(truth, prediction)
        self.rings.update(xyz_m, truth, prediction)
        # A prediction outside the map is an answer too, and wrong; only an unlabelled point claims nothing.
        claims = (truth != UNLABELLED) & (answer.label != UNLABELLED)
        is_right = truth[claims] == prediction[claims]
        number = len(self.latency_ms[-1]) - 1
        self.score.update(number, answer.score[claims], is_right)
        self.margin.update(number, answer.margin[claims], is_right)
        mapped = prediction[claims] != UNLABELLED
        column = prediction[claims][mapped]
        weights = (np.ones(len(column)), is_right[mapped], answer.score[claims][mapped], answer.margin[claims][mapped])
        C = self.sums.shape[1]
        self.sums += [np.bincount(column, weights=weight, minlength=C) for weight in weights]

    @property
    def scans(self) -> int:
        """Answered scans."""
        return sum(len(times) for times in self.latency_ms)

    def add(self, other: "Figures") -> None:
        """Adds another recording with the same evaluated classes and corruptions."""
        self.arrival_ns += other.arrival_ns
        self.latency_ms += other.latency_ms
        for stage, times in other.stages_ms.items():
            self.stages_ms.setdefault(stage, []).extend(times)
        self.points += other.points
        self.labels += other.labels
        self.malformed += other.malformed
        self.without_truth += other.without_truth
        self.over_capacity += other.over_capacity
        for mine, theirs in zip(self._confusions(), other._confusions(), strict=True):
            mine.counts += theirs.counts
        self.score.add(other.score)
        self.margin.add(other.margin)
        self.sums += other.sums
        self.robustness.add_raw(other.robustness.raw())

    def report(self, class_names: dict[int, str]) -> dict[str, Any]:
        """All figures; `class_names` of the bundle by label."""
        all_ms = [time for times in self.latency_ms for time in times]
        labels = {class_names.get(int(k), "unlabelled"): int(self.labels[k]) for k in np.flatnonzero(self.labels)}
        return {
            "scans": self.scans,
            "malformed": dict(self.malformed),
            "over_capacity": self.over_capacity,
            "points": self.points,
            "unlabelled_points": int(self.labels[UNLABELLED]),
            "label_points": labels,
            "latency_ms": percentiles_ms(all_ms),
            "latency_histogram": _histogram(all_ms),
            "stages_ms": {stage: percentiles_ms(self.stages_ms[stage]) for stage in sorted(self.stages_ms, key=_stage_order)},
            "truth": self._truth_report(),
            "robustness": self.robustness.report(self.confusion),
        }

    def drops(self) -> list[dict[str, Any]]:
        """Drop simulation of a single recording."""
        return drop_simulation.report(self.arrival_ns[0], self.latency_ms[0])

    def raw(self) -> dict[str, Any]:
        """All counts as plain data, for `of_raw`."""
        return {
            "evaluated": self.evaluated,
            "arrival_ns": self.arrival_ns,
            "latency_ms": self.latency_ms,
            "stages_ms": self.stages_ms,
            "points": self.points,
            "labels": self.labels.tolist(),
            "malformed": dict(self.malformed),
            "without_truth": self.without_truth,
            "over_capacity": self.over_capacity,
            "confusions": [confusion.counts.tolist() for confusion in self._confusions()],
            "reliability": [[r.points.tolist(), r.right.tolist()] for r in (self.score, self.margin)],
            "sums": self.sums.tolist(),
            "robustness": self.robustness.raw(),
        }

    @classmethod
    def of_raw(cls, raw: dict[str, Any]) -> "Figures":
        """What `raw` gave; raises KeyError, ValueError or TypeError for anything else."""
        figures = cls(raw["evaluated"], list(raw["robustness"]))
        figures.arrival_ns, figures.latency_ms, figures.stages_ms = raw["arrival_ns"], raw["latency_ms"], raw["stages_ms"]
        figures.points, figures.without_truth = raw["points"], raw["without_truth"]
        figures.over_capacity = raw["over_capacity"]
        figures.labels += np.array(raw["labels"], np.int64)
        figures.malformed = Counter(raw["malformed"])
        for confusion, counts in zip(figures._confusions(), raw["confusions"], strict=True):
            confusion.counts += np.array(counts, np.int64).reshape(confusion.counts.shape)
        for reliability, (points, right) in zip((figures.score, figures.margin), raw["reliability"], strict=True):
            reliability.points += np.array(points, np.int64)
            reliability.right += np.array(right, np.int64)
        figures.sums += np.array(raw["sums"], np.float64).reshape(figures.sums.shape)
        figures.robustness.add_raw(raw["robustness"])
        return figures

    def _confusions(self) -> list[Confusion]:
        return [self.confusion, *self.rings.confusions]

    def _truth_report(self) -> dict[str, Any] | None:
        if self.evaluated is None:
            return None
        points, right, score, margin = self.sums
        by_class = [
            {
                "class": name,
                "points": int(points[k]),
                "right_percent": round(100 * right[k] / points[k], 3),
                "mean_score": round(score[k] / points[k], 4),
                "mean_margin": round(margin[k] / points[k], 4),
            }
            for k, name in enumerate(self.evaluated)
            if points[k]
        ]
        return {
            "points": self.confusion.points,
            "scans_without_truth": self.without_truth,
            "miou_percent": rounded(self.confusion.miou_percent()),
            "class_iou_percent": {name: rounded(iou) for name, iou in self.confusion.iou_percent().items()},
            "confusion": {
                "rows": list(self.evaluated),
                "columns": [*self.evaluated, "no answer"],
                "points": self.confusion.counts.tolist(),
            },
            "rings": self.rings.report(),
            "calibration": {"score": self.score.report(), "margin": self.margin.report(), "by_predicted_class": by_class},
        }


def _histogram(latency_ms: Sequence[float]) -> list[tuple[int, int]]:
    """(lower end in ms, scans) of the cells of LATENCY_CELL_MS that hold any."""
    cells = Counter(int(time // LATENCY_CELL_MS) * LATENCY_CELL_MS for time in latency_ms)
    return sorted(cells.items())


def _stage_order(stage: str) -> int:
    return STAGES.index(stage) if stage in STAGES else len(STAGES)

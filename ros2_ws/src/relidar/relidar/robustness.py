"""How the answers fare in bad weather and with a failing sensor: the figures that replay and `distill.evaluate` share.

Every kind and severity is measured on the same scans, with the same random draws. `FIGURES` says what the figures are. The one to
compare by counts a point whose return is gone as missed: fog takes the far points, which are the hard ones, so that the mean IoU
of what is left may even rise while the vehicle sees less.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relidar import charts
from relidar.corruptions import MAX_SEVERITY, SCALES, Corrupted, Corruption
from relidar.metrics import Confusion, rounded

SEED = 0
FIGURES = {
    "miou_percent": "mean IoU over all points of the recorded scans that have a true class; one whose return the corruption took "
    "away or replaced counts as a miss of its true class",
    "left_miou_percent": "mean IoU over the points whose own return is left",
    "left_clean_miou_percent": "mean IoU of the same points as answered without the corruption; what left_miou_percent lacks of "
    "it is what the corruption does to the network",
    "lost_percent": "points without a return, of all points",
    "replaced_percent": "points with the return of something else (a drop, fog, another LiDAR), of all points; what the network "
    "calls it is not scored",
}


def expand(texts: Sequence[str]) -> tuple[str, ...]:
    """["rain", "fog:3,fog:1"] -> ("rain:1", ..., "rain:5", "fog:3", "fog:1"); raises ConfigError for what is no corruption.

    Severity 0, the scan as recorded, is always measured and left out here.
    """
    words = [word.strip() for text in texts for word in text.split(",")]
    named = [[word] if ":" in word else [f"{word}:{severity}" for severity in range(1, MAX_SEVERITY + 1)] for word in words]
    names = dict.fromkeys(str(Corruption.parse(name)) for group in named for name in group)
    return tuple(name for name in names if not name.endswith(":0"))


class Counts:
    """Points of one kind at one severity."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.whole, self.left, self.left_clean = (Confusion(classes) for _ in range(3))
        self.points = self.lost = self.replaced = 0

    def update(self, truth: NDArray[np.uint8], clean: NDArray[np.uint8], prediction: NDArray[np.uint8], scan: Corrupted) -> None:
        """Adds a corrupted scan of N points.

        Args:
            truth: (N,) evaluated classes, 255 = none.
            clean: (N,) what was answered without the corruption, 255 = no answer.
            prediction: (N,) what was answered with it.
            scan: that was answered.
        """
        none = np.uint8(255)
        self.whole.update(truth, np.where(scan.void, none, prediction))
        truth_left = np.where(scan.void, none, truth)
        self.left.update(truth_left, prediction)
        self.left_clean.update(truth_left, clean)
        is_lost = scan.void & np.isnan(scan.xyz_m).any(axis=1)
        self.points += len(truth)
        self.lost += int(is_lost.sum())
        self.replaced += int((scan.void & ~is_lost).sum())

    def raw(self) -> dict[str, Any]:
        """All counts as plain data, for `add_raw`."""
        confusions = [confusion.counts.tolist() for confusion in self._confusions()]
        return {"confusions": confusions, "points": self.points, "lost": self.lost, "replaced": self.replaced}

    def add_raw(self, raw: Mapping[str, Any]) -> None:
        """Adds what `raw` gave; raises KeyError, ValueError or TypeError for anything else."""
        for confusion, counts in zip(self._confusions(), raw["confusions"], strict=True):
            confusion.counts += np.array(counts, np.int64).reshape(confusion.counts.shape)
        self.points += raw["points"]
        self.lost += raw["lost"]
        self.replaced += raw["replaced"]

    def row(self) -> dict[str, float | None]:
        """The `FIGURES`."""
        shares = [rounded(100.0 * count / max(self.points, 1)) for count in (self.lost, self.replaced)]
        values = [rounded(confusion.miou_percent()) for confusion in self._confusions()]
        return dict(zip(FIGURES, [*values, *shares], strict=True))

    def _confusions(self) -> tuple[Confusion, Confusion, Confusion]:
        return self.whole, self.left, self.left_clean


class Robustness:
    """Counts of all corruptions that were asked for, such as "rain:3"."""

    def __init__(self, classes: Sequence[str], corruptions: Sequence[str]) -> None:
        self.counts = {name: Counts(classes) for name in corruptions}

    def scan(
        self,
        number: int,
        cloud: tuple[NDArray[np.float32], NDArray[np.float32] | None],
        intensity_max: float,
        truth: NDArray[np.uint8],
        clean: NDArray[np.uint8],
        predict: Callable[[NDArray[np.float32], NDArray[np.float32] | None], NDArray[np.uint8]],
    ) -> None:
        """Has one scan answered again under every corruption.

        Args:
            number: of the scan; the draws depend on nothing else, so that severities differ by nothing but their severity.
            cloud: xyz_m (N, 3) in the sensor frame, and intensity (N,) or None.
            intensity_max: value of a full return.
            truth: (N,) evaluated classes, 255 = none.
            clean: (N,) what was answered to the scan as it is, 255 = no answer.
            predict: xyz_m and intensity -> (N,) evaluated classes, 255 = no answer.
        """
        for name, counts in self.counts.items():
            changed = Corruption.parse(name, intensity_max)(*cloud, np.random.default_rng([SEED, number]))
            counts.update(truth, clean, predict(changed.xyz_m, changed.intensity), changed)

    def raw(self) -> dict[str, Any]:
        """All counts as plain data, for `add_raw`."""
        return {name: counts.raw() for name, counts in self.counts.items()}

    def add_raw(self, raw: Mapping[str, Any]) -> None:
        """Adds what `raw` of the same corruptions gave; raises KeyError, ValueError or TypeError for anything else."""
        for name, counts in self.counts.items():
            counts.add_raw(raw[name])

    def report(self, clean: Confusion) -> dict[str, Any] | None:
        """{"figures": FIGURES, "rows": one a kind and severity}, severity 0 being `clean`; None if nothing was asked for."""
        if not self.counts:
            return None
        miou = rounded(clean.miou_percent())
        as_recorded = dict(zip(FIGURES, (miou, miou, miou, 0.0, 0.0), strict=True))
        rows: list[dict[str, Any]] = []
        for kind in dict.fromkeys(name.split(":")[0] for name in self.counts):
            scale = SCALES[kind]
            rows.append({"kind": kind, "severity": 0, "meaning": "as recorded", **as_recorded})
            for name, counts in self.counts.items():
                if name.split(":")[0] == kind:
                    severity = int(name.split(":")[1])
                    meaning = f"{scale.quantity} {scale.values[severity - 1]:g} {scale.unit}"
                    rows.append({"kind": kind, "severity": severity, "meaning": meaning, **counts.row()})
        return {"figures": FIGURES, "rows": rows}


def plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """Mean IoU against severity as SVG: solid the one that counts lost returns as missed, dashed that of the returns left."""
    solid, dashed = (
        {
            kind: [(row["severity"], row[figure]) for row in rows if row["kind"] == kind and row[figure] is not None]
            for kind in dict.fromkeys(row["kind"] for row in rows)
        }
        for figure in ("miou_percent", "left_miou_percent")
    )
    top = max((y for series in (solid, dashed) for points in series.values() for _, y in points), default=1.0)
    return charts.lines(
        solid,
        (0, MAX_SEVERITY),
        (0, max(top * 1.1, 1.0)),
        "severity (solid: lost or replaced returns are misses; dashed: returns left)",
        "mean IoU, %",
        "Mean IoU by severity of corruption",
        dashed,
    )

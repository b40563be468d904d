"""Mean IoU against the severity of what weather and faults do to scans, as figures and as a plot.

A return that is lost, or that comes from something else than the labelled object, is left out of the comparison: the figures say
how well the returns that are left are named. How many were lost or replaced stands beside them.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from relidar.corruptions import KINDS, MAX_SEVERITY, SCALES, Corruption
from relidar.label_map import LabelMap
from relidar.prompts import UNLABELLED

matplotlib.use("Agg")

Cloud = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.integer]]
"""xyz_m (N, 3), intensity (N,), true label (N,)."""
Plan = dict[str, tuple[int, ...]]
"""Severities by kind."""

SEED = 0


def plan_of(words: Sequence[str]) -> Plan:
    """What `--corrupt KIND[:SEVERITY] ...` asks for: without a severity, 0 to 5; raises ConfigError."""
    plan: dict[str, set[int]] = {}
    for word in words:
        every = range(MAX_SEVERITY + 1) if word in KINDS else (Corruption.parse(word).severity,)
        plan.setdefault(word.partition(":")[0], set()).update(every)
    return {kind: tuple(sorted(severities)) for kind, severities in plan.items()}


@dataclass
class Returns:
    """Counts of what became of the returns of scans."""

    points: int = 0
    lost: int = 0
    replaced: int = 0

    def percent(self) -> dict[str, float]:
        """{"lost": ..., "replaced": ...} in percent of the returns."""
        return {
            "lost": round(100 * self.lost / max(self.points, 1), 3),
            "replaced": round(100 * self.replaced / max(self.points, 1), 3),
        }


def corrupted(clouds: Iterable[Cloud], corruption: Corruption, label_map: LabelMap, returns: Returns) -> Iterator[Cloud]:
    """Corrupts clouds; the truth of void points becomes a number that the map ignores. Scan i always gets the same draws."""
    ignored = int(np.flatnonzero(label_map.truth_lookup() == UNLABELLED)[0])
    for number, (xyz_m, intensity, label) in enumerate(clouds):
        answer = corruption(xyz_m, intensity, np.random.default_rng([SEED, number]))
        lost = np.isnan(answer.xyz_m).any(axis=1) & answer.void
        returns.points += len(label)
        returns.lost += int(lost.sum())
        returns.replaced += int((answer.void & ~lost).sum())
        changed = intensity if answer.intensity is None else answer.intensity
        yield answer.xyz_m, changed, np.where(answer.void, ignored, label.astype(np.int64))


def measure(
    plan: Plan,
    clouds: Callable[[str], Iterable[Cloud]],
    miou_of: Callable[[Iterable[Cloud]], float | None],
    label_map: LabelMap,
    intensity_max: float,
    clean_miou: float | None,
) -> dict[str, Any]:
    """Scores the clouds at every severity of a plan.

    Args:
        plan: what to measure.
        clouds: all clouds, read anew at each call; the argument names the pass for its progress bar.
        miou_of: mean IoU of clouds in percent.
        label_map: what their labels mean.
        intensity_max: value of a full return in the clouds.
        clean_miou: of the clouds as they are, which is severity 0.

    Returns:
        {"robustness": {kind: {severity: mIoU}}, "returns_percent": {kind: {severity: {"lost", "replaced"}}}, "scales": ...}
    """
    mious: dict[str, dict[str, float | None]] = {}
    counts: dict[str, dict[str, dict[str, float]]] = {}
    for kind, severities in plan.items():
        for severity in severities:
            corruption, returns, miou = Corruption(kind, severity, intensity_max), Returns(), clean_miou
            if severity > 0:
                miou = miou_of(corrupted(clouds(str(corruption)), corruption, label_map, returns))
            mious.setdefault(kind, {})[str(severity)] = miou
            counts.setdefault(kind, {})[str(severity)] = returns.percent()
    scales = {kind: asdict(SCALES[kind]) for kind in plan}
    return {"robustness": mious, "returns_percent": counts, "scales": scales}


def lines(robustness: Mapping[str, Mapping[str, float | None]]) -> bytes:
    """Mean IoU against severity, a line for each kind; PNG."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axis = figure.subplots()
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for number, (kind, mious) in enumerate(robustness.items()):
        known = [(int(severity), miou) for severity, miou in mious.items() if miou is not None]
        style = {"color": colours[number % len(colours)], "marker": "o", "markersize": 4}
        axis.plot([severity for severity, _ in known], [miou for _, miou in known], label=kind, **style)
    axis.set(xlim=(-0.1, MAX_SEVERITY + 0.1), ylim=(0, None), xlabel="severity", ylabel="mean IoU of the returns left, %")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def table(result: Mapping[str, Any]) -> str:
    """The figures of `measure` as lines of text, a kind each."""
    rows = []
    for kind, mious in result["robustness"].items():
        cells = (f"{severity}: {'none' if miou is None else f'{miou:.1f}'}" for severity, miou in mious.items())
        rows.append(f"{kind:24s} mIoU by severity {', '.join(cells)}")
    return "\n".join(rows)

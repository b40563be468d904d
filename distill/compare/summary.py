"""What follows from the records: means and spreads over seeds, and whether the paper's claims hold here.

Spreads are standard deviations over the seeds, with N - 1 in the denominator. All means are over the seeds of the learning rate
that the tuning keyframes chose; the correlation is over all runs, whatever their learning rate.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import spearmanr

from distill.compare.config import RANDOM
from distill.compare.scoring import TUNING
from distill.compare.sets import STREET

Record = Mapping[str, Any]
Key = tuple[Any, ...]
GAPS = ("modality_gap", "alignment", "uniformity_gap", "relation_gap")
"""Structural gaps between student and teacher; the smaller, the more alike."""


@dataclass(frozen=True)
class Spread:
    """mIoU in percent over seeds."""

    mean: float
    deviation: float
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of one value a seed."""
        return cls(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))

    def __str__(self) -> str:
        return f"{self.mean:.1f} ± {self.deviation:.1f}"


def best_rates(records: Iterable[Record]) -> dict[Key, float]:
    """(teacher, loss) -> the learning rate with the best mean on the tuning keyframes.

    The mean is over the seeds with records of every learning rate that any seed has; a loss without such a seed is left out.
    """
    tuned: dict[Key, dict[float, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for r in records:
        if r["set"] == TUNING:
            tuned[r["teacher"], r["loss"]][r["lr"]][r["seed"]] = r["miou"]
    best = {}
    for key, by_rate in tuned.items():
        if seeds := set.intersection(*map(set, by_rate.values())):
            best[key] = max(by_rate, key=lambda lr: statistics.mean(by_rate[lr][seed] for seed in seeds))
    return best


def chosen(records: Iterable[Record]) -> list[Record]:
    """Those of the best learning rate of each teacher and loss, and the random starts."""
    every = list(records)
    lr_of = best_rates(every)
    return [r for r in every if r["loss"] == RANDOM or lr_of.get((r["teacher"], r["loss"])) == r["lr"]]


def spreads(records: Iterable[Record], key: Callable[[Record], Key]) -> dict[Key, Spread]:
    """Over the records of each key, one a seed."""
    values: dict[Key, list[float]] = defaultdict(list)
    for r in records:
        values[key(r)].append(r["miou"])
    return {k: Spread.of(v) for k, v in values.items()}


def zero_shot(records: Iterable[Record]) -> dict[Key, Spread]:
    """(teacher, set, text_shift, loss) -> mIoU by words alone, at the chosen learning rates."""
    rows = [r for r in chosen(records) if r["protocol"] == "zero_shot" and r["set"] != TUNING]
    return spreads(rows, lambda r: (r["teacher"], r["set"], r["text_shift"], r["loss"]))


def few_labels(records: Iterable[Record], protocol: str = "k_shot") -> dict[Key, Spread]:
    """(teacher, set, k, loss) -> mIoU after learning k scans, at the chosen learning rates; a random start has no teacher.

    The protocol may be `linear_probe`, too.
    """
    rows = [r for r in chosen(records) if r["protocol"] == protocol]
    return spreads(rows, lambda r: (r["teacher"], r["set"], r["k"], r["loss"]))


def correlations(records: Iterable[Record]) -> dict[str, dict[str, float]]:
    """Teacher -> gap -> Spearman's rank correlation with the street's zero-shot mIoU over all runs; "all" pools the teachers."""
    rows = [r for r in records if r["protocol"] == "zero_shot" and r["set"] == STREET and r["text_shift"] == 0]
    teachers = sorted({r["teacher"] for r in rows})
    groups = {teacher: [r for r in rows if r["teacher"] == teacher] for teacher in teachers} | {"all": rows}
    return {
        name: {gap: float(spearmanr([r["gaps"][gap] for r in group], [r["miou"] for r in group]).statistic) for gap in GAPS}
        for name, group in groups.items()
        if len(group) > 2
    }


def table(records: Iterable[Record]) -> str:
    """All of it as Markdown."""
    every = list(records)
    parts = []
    scored = zero_shot(every)
    for teacher in sorted({key[0] for key in scored}):
        for shift in sorted({key[2] for key in scored if key[0] == teacher}):
            moved = f", words moved out by {shift:g}" if shift else ""
            rows = {(loss, name): value for (t, name, s, loss), value in scored.items() if (t, s) == (teacher, shift)}
            parts.append(f"Zero-shot, teacher {teacher}{moved}\n\n{_grid('loss', rows)}")
    learned = few_labels(every)
    for teacher in sorted({key[0] for key in learned if key[0]}):
        for name in sorted({key[1] for key in learned}):
            rows = {(loss, f"k = {k}"): v for (t, n, k, loss), v in learned.items() if t in (teacher, None) and n == name}
            parts.append(f"k-shot on {name}, teacher {teacher}\n\n{_grid('start', rows)}")
    probed = few_labels(every, "linear_probe")
    for teacher in sorted({key[0] for key in probed if key[0]}):
        rows = {(loss, f"{n}, {k} scans"): v for (t, n, k, loss), v in probed.items() if t in (teacher, None)}
        parts.append(f"Linear probe, teacher {teacher}\n\n{_grid('start', rows)}")
    for teacher, by_gap in correlations(every).items():
        found = ", ".join(f"{gap} {value:+.2f}" for gap, value in by_gap.items())
        parts.append(f"Spearman with the street's zero-shot mIoU, teacher {teacher}: {found}")
    return "\n\n".join(parts)


def _grid(corner: str, cells: Mapping[tuple[str, str], Spread]) -> str:
    losses = sorted({row for row, _ in cells}, key=lambda row: (row == RANDOM, row))
    names = list(dict.fromkeys(column for _, column in cells))
    lines = [f"| {corner} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {loss} | {' | '.join(str(cells.get((loss, name), '')) for name in names)} |" for loss in losses]
    return "\n".join(lines)

"""The comparison as one picture.

Who names points best, what a gap between words and images does, whether the structural gap tells beforehand, what few labels add.
"""

import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from distill.compare.config import RANDOM
from distill.compare.sets import STREET
from distill.compare.summary import Record, Spread, few_labels, zero_shot

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "relidar"  # the same records give the same bytes
COLOURS = ("#2f6f9f", "#c8553d", "#3d8b5f", "#8a5fb0", "#b0892f", "#c2568f", "#5d9ea8", "#7d8f3a")
GAP = "relation_gap"


def draw(records: Iterable[Record]) -> str:
    """An SVG: zero-shot by teacher and set, text gap, structural gap; below k-shot by set."""
    every = list(records)
    losses = list(dict.fromkeys(r["loss"] for r in every if r["loss"] != RANDOM))
    colour = dict(zip(losses, itertools.cycle(COLOURS), strict=False))
    if any(r["loss"] == RANDOM for r in every):
        colour[RANDOM] = "#9aa5b1"
    zero, few = zero_shot(every), few_labels(every)
    teachers = list(dict.fromkeys(key[0] for key in zero))
    few_sets = list(dict.fromkeys(key[1] for key in few))
    swept = [teacher for teacher in teachers if len({key[2] for key in zero if key[0] == teacher}) > 1]
    columns = max(len(teachers) + len(swept) + 1, len(few_sets))
    rows = 2 if few_sets else 1
    figure = Figure(figsize=(4.8 * columns, 4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis, teacher in zip(axes[0], teachers, strict=False):
        _zero_shot(axis, teacher, zero, colour)
    for axis, teacher in zip(axes[0][len(teachers) :], swept, strict=False):
        _sweep(axis, teacher, every, zero, colour)
    _structure(axes[0][len(teachers) + len(swept)], every, teachers, colour)
    for axis, name in zip(axes[-1], few_sets, strict=False):
        _few(axis, name, teachers, few, colour)
    for axis in axes.flat:
        if not axis.has_data():
            axis.remove()
    figure.legend(
        handles=[Patch(color=c, label=name) for name, c in colour.items()],
        loc="outside lower center",
        ncols=len(colour),
        frameon=False,
    )
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def _zero_shot(axis: Axes, teacher: str, zero: Mapping[Any, Spread], colour: Mapping[str, str]) -> None:
    """Bars by set, one a loss, with the standard deviation over seeds."""
    scored = {(name, loss): value for (t, name, shift, loss), value in zero.items() if t == teacher and shift == 0}
    _groups(axis, scored, colour)
    axis.set(title=f"zero-shot, teacher {teacher}", ylabel="mIoU, %")


def _few(axis: Axes, name: str, teachers: Sequence[str], few: Mapping[Any, Spread], colour: Mapping[str, str]) -> None:
    """Bars by k, one a loss, for the first teacher; the random start beside."""
    teacher = next((t for t in teachers if any(key[0] == t for key in few)), None)
    scored = {(str(k), loss): value for (t, n, k, loss), value in few.items() if n == name and t in (teacher, None)}
    _groups(axis, scored, colour)
    axis.set(title=f"k-shot, {name}" + (f"\nteacher {teacher}" if teacher else ""), xlabel="labelled scans k", ylabel="mIoU, %")


def _groups(axis: Axes, scored: Mapping[tuple[str, str], Spread], colour: Mapping[str, str]) -> None:
    groups = list(dict.fromkeys(group for group, _ in scored))
    losses = [loss for loss in colour if any(loss == other for _, other in scored)]
    width = 0.8 / max(len(losses), 1)
    for index, loss in enumerate(losses):
        values = [scored.get((group, loss), Spread(np.nan, 0.0, 0)) for group in groups]
        place = np.arange(len(groups)) + index * width
        axis.bar(place, [v.mean for v in values], width * 0.95, yerr=[v.deviation for v in values], color=colour[loss],
                 error_kw={"elinewidth": 1, "ecolor": "#1d2530"})  # fmt: skip
    axis.set_xticks(np.arange(len(groups)) + width * (len(losses) - 1) / 2, [g.replace("-", "\n") for g in groups])
    axis.spines[["top", "right"]].set_visible(False)


def _sweep(axis: Axes, teacher: str, records: Sequence[Record], zero: Mapping[Any, Spread], colour: Mapping[str, str]) -> None:
    """mIoU on the street against the share of the words' differences that no image feature reaches."""
    gap_of = {r["text_shift"]: r["text_gap"] for r in records if r["teacher"] == teacher and r["protocol"] == "zero_shot"}
    for loss, tint in colour.items():
        values = {shift: v for (t, name, shift, other), v in zero.items() if (t, name, other) == (teacher, STREET, loss)}
        if values:
            place = [gap_of[shift] for shift in values]
            deviation = [v.deviation for v in values.values()]
            axis.errorbar(place, [v.mean for v in values.values()], deviation, color=tint, marker="o", markersize=4, capsize=2)
    axis.set(title=f"words moved out of the images, teacher {teacher}", xlabel="share of the words outside the image features",
             ylabel="zero-shot mIoU on the street, %")  # fmt: skip
    axis.spines[["top", "right"]].set_visible(False)


def _structure(axis: Axes, records: Sequence[Record], teachers: Sequence[str], colour: Mapping[str, str]) -> None:
    """Every run: its structural gap and what it scores, one marker a teacher."""
    for teacher, marker in zip(teachers, itertools.cycle("osD^"), strict=False):
        rows = [r for r in records if r["teacher"] == teacher and r["set"] == STREET and r["protocol"] == "zero_shot"]
        rows = [r for r in rows if r["text_shift"] == 0]
        tints = [colour[r["loss"]] for r in rows]
        axis.scatter([r["gaps"][GAP] for r in rows], [r["miou"] for r in rows], s=22, marker=marker, c=tints, label=teacher)
    axis.set(title="all runs: structural gap and mIoU", xlabel="relation gap", ylabel="zero-shot mIoU on the street, %")
    axis.spines[["top", "right"]].set_visible(False)
    if teachers:
        axis.legend(frameon=False, fontsize=9)

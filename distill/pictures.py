"""Pictures of labelled scans: from above, in the camera images, and as bars."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from distill.images import read_image
from distill.keyframe import Keyframe, project
from relidar import from_above
from relidar.labelled_cloud import palette
from relidar.prompts import ClassPrompts

matplotlib.use("Agg")


@dataclass(frozen=True)
class Labelled:
    """One scan with the truth and the answer."""

    xyz_m: NDArray[np.float32]
    """(N, 3)"""
    truth: NDArray[np.uint8]
    """(N,) class ids, 255 = none."""
    label: NDArray[np.uint8]
    """(N,) class ids, 255 = none."""
    score: NDArray[np.float32]
    """(N,)"""


def seen_from_above(scan: Labelled, classes: Sequence[ClassPrompts]) -> bytes:
    """Truth, answer and score of a scan seen from above; PNG."""
    rgb = palette(classes)
    figure = Figure(figsize=(15, 5.9), facecolor="white", layout="constrained")
    axes = figure.subplots(1, 3)
    titles = ("truth", "student's answer", "score (cosine with the best word)")
    views = (rgb[scan.truth], rgb[scan.label], from_above.colours_of_score(scan.score))
    for axis, title, view in zip(axes, titles, views, strict=True):
        axis.imshow(from_above.draw(scan.xyz_m, view), interpolation="nearest")
        axis.set(xticks=[], yticks=[], title=title)
    figure.colorbar(ScalarMappable(Normalize(0, 1), "viridis"), ax=axes[2], fraction=0.04)
    shown = [c for c in classes if (scan.truth == c.id).any() or (scan.label == c.id).any()]
    figure.legend(
        handles=[Patch(color=rgb[c.id] / 255.0, label=c.name.replace("_", " ")) for c in shown],
        loc="outside lower center", ncols=8, frameon=False,
    )  # fmt: skip
    return _png(figure)


def in_cameras(frame: Keyframe, scan: Labelled, classes: Sequence[ClassPrompts]) -> bytes:
    """The keyframe's images with the answer at each LiDAR point; PNG."""
    colours = palette(classes) / 255.0
    order = ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT")
    views = sorted(frame.views, key=lambda view: order.index(view.channel) if view.channel in order else len(order))
    rows = -(-len(views) // 3)
    figure = Figure(figsize=(15, 2.9 * rows), layout="constrained")
    for axis, view in zip(figure.subplots(rows, 3, squeeze=False).ravel(), views, strict=False):
        image = read_image(view.image)
        height, width = image.shape[:2]
        point, pixel = project(scan.xyz_m, view, height, width)
        axis.imshow(image)
        axis.scatter(pixel % width, pixel // width, s=2.5, c=colours[scan.label[point]], linewidths=0, alpha=0.8)
        axis.set(xlim=(0, width), ylim=(height, 0))
        axis.set_title(view.channel.removeprefix("CAM_").replace("_", " ").lower(), fontsize=10)
        axis.axis("off")
    return _png(figure)


def iou_bars(class_iou: dict[str, float | None], classes: Sequence[ClassPrompts]) -> bytes:
    """IoU in percent of each class that occurs, one bar each; PNG."""
    present = [(name, iou) for name, iou in class_iou.items() if iou is not None][::-1]
    rgb = {c.name: np.array(c.rgb) / 255.0 for c in classes}
    figure = Figure(figsize=(7, 0.6 + 0.3 * len(present)), layout="constrained")
    axis = figure.subplots()
    names = [name.replace("_", " ") for name, _ in present]
    bars = axis.barh(names, [iou for _, iou in present], color=[rgb.get(name, (0.35, 0.5, 0.7)) for name, _ in present])
    axis.bar_label(bars, fmt="%.0f", padding=3)
    axis.set(xlim=(0, 100), xlabel="IoU, %")
    axis.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def latency_bars(latency_ms: dict[str, dict[str, float | None]]) -> bytes:
    """Percentiles in milliseconds, a group of bars for each entry; PNG."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    axis = figure.subplots()
    width = 0.8 / max(len(latency_ms), 1)
    percentiles = ("p50", "p95", "p99")
    for index, (name, values) in enumerate(latency_ms.items()):
        position = np.arange(len(percentiles)) + index * width
        bars = axis.bar(position, [values[p] or 0.0 for p in percentiles], width * 0.95, label=name)
        axis.bar_label(bars, fmt="%.0f", padding=2)
    axis.set_xticks(np.arange(len(percentiles)) + width * (len(latency_ms) - 1) / 2, percentiles)
    axis.set_ylabel("ms")
    axis.margins(y=0.15)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=9)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()

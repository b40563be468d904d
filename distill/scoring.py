"""Mean IoU of answers to labelled clouds: one confusion matrix over raw points, and the same in bad weather.

A point whose return is lost or replaced counts as a miss of its true class; the mean IoU of the returns left stands beside it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.labelled_clouds import Cloud
from relidar.label_map import LabelMap
from relidar.metrics import Confusion
from relidar.prompts import ClassPrompts
from relidar.robustness import Robustness
from relidar.segmenter import Segmenter

Predict = Callable[[NDArray[np.float32], NDArray[np.float32] | None], NDArray[np.uint8]]
"""xyz_m (N, 3) and intensity (N,) or None -> (N,) evaluated classes, 255 = no answer."""


def score(
    predict: Predict,
    clouds: Iterable[Cloud],
    label_map: LabelMap,
    corruptions: Sequence[str] = (),
    intensity_max: float = 255.0,
) -> dict[str, Any]:
    """Compares answers with the truth: {miou, class_iou, points, scans, robustness}, IoU in percent.

    The mean is over the classes that occur in the truth; class_iou holds None for the others. Robustness is the report of
    relidar.robustness, None without `corruptions` (such as "rain:3"); `intensity_max` is a full return in the clouds.
    """
    confusion, robustness = Confusion(label_map.names), Robustness(label_map.names, corruptions)
    truth_of = label_map.truth_lookup()
    scans = 0
    for xyz_m, intensity, label in clouds:
        truth, prediction = truth_of[label], predict(xyz_m, intensity)
        confusion.update(truth, prediction)
        robustness.scan(scans, (xyz_m, intensity), intensity_max, truth, prediction, predict)
        scans += 1
    return {
        "miou": confusion.miou_percent(),
        "class_iou": confusion.iou_percent(),
        "points": confusion.points,
        "scans": scans,
        "robustness": robustness.report(confusion),
    }


def answers_of(segmenter: Segmenter, classes: Iterable[ClassPrompts], label_map: LabelMap) -> Predict:
    """A segmenter's answers as evaluated classes; raises ConfigError if the map names classes that it lacks."""
    prediction_of = label_map.prediction_lookup(tuple(classes))

    def predict(xyz_m: NDArray[np.float32], intensity: NDArray[np.float32] | None) -> NDArray[np.uint8]:
        return prediction_of[segmenter(xyz_m, intensity).label]

    return predict


def table(result: dict[str, Any]) -> str:
    """A result as lines of text."""
    lines = [f"{name:24s} {'absent' if iou is None else f'{iou:6.1f}'}" for name, iou in result["class_iou"].items()]
    present = sum(iou is not None for iou in result["class_iou"].values())
    mean = "none" if result["miou"] is None else f"{result['miou']:.1f}"
    lines.append(f"mean IoU {mean} % over {present} classes, {result['points']} points of {result['scans']} scans")
    for row in result["robustness"]["rows"] if result["robustness"] else ():
        whole, left = ("none" if row[k] is None else f"{row[k]:.1f}" for k in ("miou_percent", "left_miou_percent"))
        gone = row["lost_percent"] + row["replaced_percent"]
        name = f"{row['kind']}:{row['severity']}"
        lines.append(f"{name:18s} mIoU {whole:>5s}   of the returns left {left:>5s}   returns lost or replaced {gone:5.1f} %")
    return "\n".join(lines)

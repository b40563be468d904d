"""Evaluates a bag without ROS: labels every cloud as the node would, and reports latency, and mIoU where the bag has the truth.

    python -m relidar.replay drive.mcap --bundle runs/demo/bundle --out runs/replay
    python -m relidar.replay runs/demo/street/street.mcap --bundle runs/demo/bundle --out runs/replay \\
        --truth-field category --truth-map configs/label_maps/nuscenes32.yaml

Writes OUT/report.json. Latency is the time to decode, label and encode one cloud; the first, which warms up, stands apart. A
point with a true class that stays unlabelled counts as a miss.
"""

import json
import time
from argparse import Namespace
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from relidar import command_line
from relidar.atomic import write_text
from relidar.backends import BACKENDS, open_executor
from relidar.bags import CloudBag, RecordedCloud
from relidar.bundle import Bundle, open_bundle
from relidar.errors import BagError
from relidar.label_map import LabelMap, load_label_map
from relidar.labelled_cloud import colours_of, label_cloud
from relidar.latency import percentiles_ms
from relidar.metrics import Confusion
from relidar.pointcloud2 import MalformedCloudError, decode
from relidar.prompts import UNLABELLED
from relidar.segmenter import Segmenter


class Truth:
    """Compares labels with a field of the cloud that holds the true ones."""

    def __init__(self, field_name: str, label_map: LabelMap, bundle: Bundle) -> None:
        self.field_name = field_name
        self.label_map = label_map
        self.confusion = Confusion(label_map.names)
        self._truth_lookup = label_map.truth_lookup()
        self._prediction_lookup = label_map.prediction_lookup(bundle.manifest.classes)

    def compare(self, scan: RecordedCloud, label: NDArray[np.uint8]) -> None:
        """Counts one scan; raises BagError if the field is missing or holds several values a point."""
        cloud_field = scan.layout.field(self.field_name)
        if cloud_field is None or cloud_field.elements != 1:
            names = ", ".join(f.name for f in scan.layout.fields)
            raise BagError(
                f"{scan.topic}: no field {self.field_name!r} with one value a point, only {names}; correct --truth-field."
            )
        raw = decode(scan.layout, scan.data).values(self.field_name)
        with np.errstate(invalid="ignore"):
            known = (raw >= 0) & (raw < len(self._truth_lookup))
        truth = np.full(len(raw), UNLABELLED, np.uint8)
        truth[known] = self._truth_lookup[raw[known].astype(np.int64)]
        self.confusion.update(truth, self._prediction_lookup[label])

    def report(self) -> dict[str, Any]:
        """mIoU and IoU by class in percent, and the confusion matrix."""
        miou, ious = self.confusion.miou_percent(), self.confusion.iou_percent()
        return {
            "field": self.field_name,
            "map": self.label_map.name,
            "map_description": self.label_map.description,
            "points": self.confusion.points,
            "miou_percent": None if miou is None else round(miou, 3),
            "class_iou_percent": {name: None if iou is None else round(iou, 3) for name, iou in ious.items()},
            "confusion": {"rows": [*ious], "columns": [*ious, "no answer"], "points": self.confusion.counts.tolist()},
        }


@dataclass
class Tally:
    """What a replay has measured so far."""

    latency_ms: list[float] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=dict)
    points: int = 0
    unlabelled: int = 0
    malformed: Counter[str] = field(default_factory=Counter)

    def report(self) -> dict[str, Any]:
        """Counts and percentiles; the first scan is left out of the percentiles."""
        return {
            "scans": len(self.latency_ms),
            "malformed": dict(self.malformed),
            "points": self.points,
            "unlabelled_points": self.unlabelled,
            "first_latency_ms": round(self.latency_ms[0], 3),
            "latency_ms": percentiles_ms(self.latency_ms[1:]),
            "stages_ms": {stage: percentiles_ms(values[1:]) for stage, values in self.stages_ms.items()},
        }


def replay(bag: CloudBag, segmenter: Segmenter, bundle: Bundle, truth: Truth | None) -> dict[str, Any]:
    """Labels all clouds of a bag and returns the report.

    Raises:
        BagError: the bag is damaged, holds no cloud that can be decoded, or lacks the field of the truth.
    """
    colours = colours_of(bundle.manifest.classes)
    tally = Tally()
    for scan in tqdm(bag, "replay", len(bag), unit="scan"):
        start = time.perf_counter()
        try:
            labelled = label_cloud(segmenter, colours, scan.layout, scan.data)
        except MalformedCloudError as error:
            tally.malformed[error.cause] += 1
            continue
        tally.latency_ms.append(1e3 * (time.perf_counter() - start))
        for stage, milliseconds in labelled.segmentation.timings_ms.items():
            tally.stages_ms.setdefault(stage, []).append(milliseconds)
        label = labelled.segmentation.label
        tally.points += len(label)
        tally.unlabelled += int((label == UNLABELLED).sum())
        if truth is not None and len(label):
            truth.compare(scan, label)
    if not tally.latency_ms:
        raise BagError(f"{bag.path}: {bag.topic} has no usable cloud; malformed: {dict(tally.malformed) or 'none'}.")
    report = {"bag": str(bag.path), "topic": bag.topic, "bundle": str(bundle.path), "backend": segmenter.executor.name}
    return {**report, **tally.report(), "truth": truth.report() if truth else None}


def _run(arguments: Namespace) -> None:
    bundle = open_bundle(arguments.bundle)
    truth = Truth(arguments.truth_field, load_label_map(arguments.truth_map), bundle) if arguments.truth_field else None
    with CloudBag(arguments.bag, arguments.topic) as bag:
        segmenter = Segmenter.of_bundle(bundle, open_executor(bundle, arguments.backend))
        report = replay(bag, segmenter, bundle, truth)
    out = arguments.out / "report.json"
    write_text(out, json.dumps(report, indent=2) + "\n")
    miou = f", mIoU {report['truth']['miou_percent']} %" if report["truth"] else ""
    command_line.say(f"{report['scans']} scans, latency p50 {report['latency_ms']['p50']} ms{miou}: {out}")


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("bag", type=Path, help="rosbag2 folder, .mcap, .db3 or rosbag1 .bag")
    parser.add_argument("--bundle", type=Path, required=True, help="folder that `python -m export.trt` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.json; made if missing")
    parser.add_argument("--topic", help="PointCloud2 topic, if the bag has several")
    parser.add_argument("--backend", default="auto", choices=BACKENDS, help="what runs the student (default %(default)s)")
    parser.add_argument("--truth-field", help="field of the cloud with the true label of each point")
    parser.add_argument("--truth-map", type=Path, help="YAML: which true labels and which classes of the bundle are the same")
    arguments = parser.parse_args()
    if (arguments.truth_field is None) != (arguments.truth_map is None):
        parser.error("--truth-field and --truth-map belong together")
    command_line.run(lambda: _run(arguments))


if __name__ == "__main__":
    main()

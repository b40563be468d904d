"""One bag through the segmenter: labels every cloud as the node would, and counts.

A bag's result is a folder: result.json with all counts, pictures of a few scans, and on request the labelled bag and an .rrd. It
is put in its place when it is complete, so that a run that was killed leaves nothing that looks finished.
"""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from relidar import from_above, png
from relidar.atomic import atomic_folder
from relidar.bags import CloudBag, RecordedCloud
from relidar.cloud_outputs import OutputCloud, segmentation_cloud, visualization_cloud
from relidar.errors import BagError, DatasetError
from relidar.label_map import LabelMap, load_label_map
from relidar.labelled_bag import LabelledBag, record_labels
from relidar.labelled_cloud import palette, segment_cloud
from relidar.loaded_model import LoadedModel
from relidar.pointcloud2 import Cloud, MalformedCloudError
from relidar.prompts import UNLABELLED
from relidar.replay_figures import Figures
from relidar.replay_options import RESULT, ReplayOptions
from relidar.rerun_log import RerunLog
from relidar.segmenter import Segmentation
from relidar.truth import Truth
from relidar.vocabulary import build_vocabulary

LABELLED = "labelled"


def replay_bag(path: Path, folder: Path, model: LoadedModel, options: ReplayOptions, line: int = 0) -> None:
    """Labels all clouds of a bag and puts the result into `folder`, which it replaces.

    Args:
        path: the bag; one that is cut or corrupt is read up to the damage, which the result tells.
        folder: for the result.
        model: of `options.bundle`.
        options: what is asked.
        line: of the terminal, for the progress bar.

    Raises:
        BagError: nothing in the bag can be used, or it lacks the topic or the field of the truth.
        ConfigError, DatasetError: the label map or a truth file does not fit.
    """
    inputs = options.inputs(path)
    label_map = load_label_map(options.truth_map) if options.truth_map else None
    beside = options.truth.topic if options.truth else None
    with (
        CloudBag(path, options.topics, salvage=True, beside=beside) as bag,
        atomic_folder(folder) as temporary,
        ExitStack() as stack,
    ):
        run = _Run(bag, model, options, label_map, temporary, stack)
        scans = sum(bag.intact(topic) for topic in bag.topics)
        for scan, truth_cloud in tqdm(run.scans(), path.name, scans, unit="scan", position=line, leave=line == 0):
            run.take(scan, truth_cloud)
        stack.close()
        result = {"inputs": inputs, "bag": str(path), "backend": model.executor.name, "side_by_side": options.side_by_side}
        result |= run.result()
        (temporary / RESULT).write_text(json.dumps(result), encoding="utf-8")


class _Run:
    """The state of one replay."""

    def __init__(
        self,
        bag: CloudBag,
        model: LoadedModel,
        options: ReplayOptions,
        label_map: LabelMap | None,
        folder: Path,
        stack: ExitStack,
    ) -> None:
        manifest = model.bundle.manifest
        self.bag = bag
        self.segmenter = model.segmenter
        self.folder = folder
        self.vocabulary = build_vocabulary(model.words)
        self.palette = palette(manifest.classes)
        self.truth: Truth | None = None
        names = None
        if options.truth is not None and label_map is not None:
            self.truth = Truth(options.truth, label_map, manifest.classes, bag.topics)
            names = label_map.names
            id_of = {c.name: c.id for c in manifest.classes}
            shown = [id_of[c.predicted[0]] if c.predicted else UNLABELLED for c in label_map.classes]
            self.id_of_truth = np.array([*shown, *[UNLABELLED] * (256 - len(shown))], np.uint8)
        self.intensity_max = manifest.preprocessing.intensity_max
        self.figures = {topic: Figures(names, options.corruptions) for topic in bag.topics}
        self.pictures: list[dict[str, Any]] = []
        self.labelled: LabelledBag | None = None
        self.rerun: RerunLog | None = None
        if options.write:
            self.labelled = stack.enter_context(record_labels(folder / LABELLED, self.vocabulary.label_info()))
        if options.rerun:
            self.rerun = RerunLog(folder / "answers.rrd", manifest.classes)
            stack.callback(self.rerun.close)

    def scans(self) -> Iterator[tuple[RecordedCloud, RecordedCloud | None]]:
        """The bag's clouds, each with the cloud of the truth topic, if any."""
        return self.truth.beside(self.bag) if self.truth else ((scan, None) for scan in self.bag)

    def take(self, scan: RecordedCloud, truth_cloud: RecordedCloud | None) -> None:
        """Labels one scan and counts it."""
        figures = self.figures[scan.topic]
        start = time.perf_counter()
        try:
            cloud, answer = segment_cloud(self.segmenter, scan.layout, scan.data)
        except MalformedCloudError as error:
            figures.malformed[error.cause] += 1
            return
        encoding = time.perf_counter()
        output = segmentation_cloud(cloud, answer)
        end = time.perf_counter()
        answer.timings_ms["encode"] = 1e3 * (end - encoding)
        figures.scan(scan.bag_time_ns, 1e3 * (end - start), answer)
        truth = self.truth.of(scan, cloud, truth_cloud) if self.truth and len(answer.label) else None
        if self.truth is not None and len(answer.label):
            self._compare(figures, cloud, answer, truth)
        self._show(figures, scan, cloud, answer, truth)
        self._record(scan, cloud, answer, output)

    def result(self) -> dict[str, Any]:
        """What the bag came to, as plain data; raises BagError if it came to nothing."""
        malformed = {topic: dict(figures.malformed) for topic, figures in self.figures.items() if figures.malformed}
        damage = f" {self.bag.damage}" if self.bag.damage else ""
        answered = [figures for figures in self.figures.values() if figures.scans]
        if not answered:
            topics = ", ".join(self.bag.topics)
            raise BagError(f"{self.bag.path}: {topics} has no usable cloud; malformed: {malformed or 'none'}.{damage}")
        if self.truth is not None and not any(figures.confusion.points for figures in answered):
            raise DatasetError(
                f"{self.bag.path}: the truth was not found for any point of {sum(figures.scans for figures in answered)} scans; "
                "check that stamps are the same, and that the map lists the numbers."
            )
        return {
            "damage": self.bag.damage,
            "clouds": {t: {"read": self.bag.read[t], "recorded": self.bag.expected(t)} for t in self.bag.topics},
            "topics": {topic: figures.raw() for topic, figures in self.figures.items()},
            "pictures": self.pictures,
        }

    def _compare(self, figures: Figures, cloud: Cloud, answer: Segmentation, truth: NDArray[np.uint8] | None) -> None:
        mapped = self.truth
        if truth is None or mapped is None:
            figures.without_truth += 1
            return
        clean = mapped.prediction(answer.label)
        figures.compare(cloud.xyz_m, truth, clean, answer)
        figures.robustness.scan(
            figures.scans - 1,
            (cloud.xyz_m, cloud.intensity),
            self.intensity_max,
            truth,
            clean,
            lambda xyz_m, intensity: mapped.prediction(self.segmenter(xyz_m, intensity).label),
        )

    def _show(
        self, figures: Figures, scan: RecordedCloud, cloud: Cloud, answer: Segmentation, truth: NDArray[np.uint8] | None
    ) -> None:
        """Draws the first scan, the middle one and the last."""
        intact = self.bag.intact(scan.topic)
        number = figures.scans + figures.malformed.total() - 1
        if number not in (0, intact // 2, intact - 1) or not len(answer.label):
            return
        views = {"answer": self.palette[answer.label], "score": from_above.colours_of_score(answer.score)}
        if truth is not None:
            views = {"truth": self.palette[self.id_of_truth[truth]], **views}
        files = {}
        for view, rgb in views.items():
            files[view] = f"{len(self.pictures)}-{view}.png"
            (self.folder / files[view]).write_bytes(png.encode(from_above.draw(cloud.xyz_m, rgb)))
        drawn = [answer.label] if truth is None else [answer.label, self.id_of_truth[truth]]
        shown = [int(label) for label in np.unique(np.concatenate(drawn))]
        self.pictures.append({"topic": scan.topic, "scan": number, "stamp_ns": scan.stamp_ns, "files": files, "labels": shown})

    def _record(self, scan: RecordedCloud, cloud: Cloud, answer: Segmentation, output: OutputCloud) -> None:
        if self.labelled is not None:
            self.labelled.answer(scan, output, visualization_cloud(cloud, answer.label, self.vocabulary.colours))
        if self.rerun is not None:
            self.rerun.answer(scan, cloud, answer)

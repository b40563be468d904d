"""Zero-shot: how well points are named that nobody labelled for the student, by words alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from distill.checkpoint import StudentCheckpoint
from distill.labelled_clouds import FolderClouds, LabelledClouds
from distill.scan_folder import ScanSet
from distill.scoring import answers_of, score
from distill.torch_executor import student_segmenter
from relidar.bundle import open_bundle
from relidar.label_map import LabelMap
from relidar.segmenter import Segmenter


def zero_shot(
    checkpoint: StudentCheckpoint, clouds: LabelledClouds, label_map: LabelMap, corruptions: Sequence[str] = ()
) -> dict[str, Any]:
    """Scores a student by its words (see `score`)."""
    predict = answers_of(student_segmenter(checkpoint), checkpoint.prompt_set.classes, label_map)
    scans = (clouds[number] for number in tqdm(range(len(clouds)), desc="zero-shot", unit="scan"))
    return score(predict, scans, label_map, corruptions, checkpoint.preprocessing.intensity_max)


def scan_folder(folder: Path, bundle_path: Path, scan_set: ScanSet, backend: str, corruptions: Sequence[str]) -> dict[str, Any]:
    """Scores a bundle on the labelled scans of a folder; the result states the class mapping."""
    from relidar.backends import open_executor  # here, since a machine that only trains has no ONNX Runtime

    bundle = open_bundle(bundle_path)
    intensity_max = bundle.manifest.preprocessing.intensity_max
    clouds = FolderClouds.of_folder(folder, scan_set, intensity_max)
    segmenter = Segmenter.of_bundle(bundle, open_executor(bundle, backend))
    predict = answers_of(segmenter, bundle.manifest.classes, scan_set)
    scans = (clouds[number] for number in tqdm(range(len(clouds)), desc=scan_set.name, unit="scan"))
    result = score(predict, scans, scan_set, corruptions, intensity_max)
    result["mapping"] = {c.name: list(c.predicted) for c in scan_set.classes}
    return result

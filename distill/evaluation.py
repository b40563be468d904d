"""The runs of `python -m distill.evaluate`: a student or a bundle under a protocol, on a dataset or a folder of scans."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill import evaluation_options
from distill.checkpoint import StudentCheckpoint, load_student
from distill.cloud_structure import measure_cloud_structure
from distill.config import TrainConfig
from distill.fine_tuning import fine_tuned, fresh
from distill.k_shot import halves, k_shot
from distill.labelled_clouds import FolderClouds, KeyframeClouds, LabelledClouds, spread
from distill.scan_folder import ScanSet
from distill.student_structure import measure_structure
from distill.tune_config import SHOTS
from distill.zero_shot import scan_folder, zero_shot
from relidar import config_file
from relidar.errors import ConfigError
from relidar.label_map import LabelMap, load_label_map
from relidar.robustness import expand

LABEL_MAPS = {
    "nuscenes": Path("configs/label_maps/nuscenes32.yaml"),
    "semantic_kitti": Path("configs/label_maps/semantickitti19.yaml"),
}
"""Of students with the benchmark's own words; others need --label-map."""
Run = dict[str, Any]


def bundle_run(arguments: argparse.Namespace) -> Run:
    """`scans`."""
    scan_set, corruptions = config_file.load(arguments.scan_set, ScanSet), expand(arguments.corrupt)
    facts = {"protocol": "zero_shot", "set": scan_set.name, "bundle": str(arguments.bundle)}
    return facts | scan_folder(arguments.folder, arguments.bundle, scan_set, arguments.backend, corruptions)


def student_runs(arguments: argparse.Namespace, config: TrainConfig | None) -> list[Run]:
    """The runs of a checkpoint under the protocol `arguments.command`, one a seed and number of labelled scans."""
    seeds = getattr(arguments, "seeds", [0])
    # Mistakes in these are told before anything is read or run.
    corruptions = expand(getattr(arguments, "corrupt", []))
    tunings = {} if arguments.command == "zero-shot" else {s: evaluation_options.tune_config(arguments, s) for s in seeds}
    checkpoint = load_student(arguments.checkpoint)
    name, label_map, labelled, test = _sets(arguments, config, checkpoint.preprocessing.intensity_max)
    test = spread(test, arguments.test_scans)
    start = checkpoint
    # Of the student as it came, before it learns a label; a random start is another student for each seed.
    structure = {} if arguments.random_start else _structure(start, config, test, label_map)
    runs = []
    for seed in seeds:
        if arguments.random_start:
            start = replace(checkpoint, student=fresh(checkpoint.student, seed))
            structure = _structure(start, config, test, label_map)
        facts: Run = {"protocol": arguments.command.replace("-", "_"), "set": name, "seed": seed}
        facts |= {"checkpoint": str(arguments.checkpoint), "random_start": arguments.random_start}
        if arguments.command == "zero-shot":
            results = [zero_shot(start, test, label_map, corruptions)]
        else:
            tuning = tunings[seed]
            facts["tuning"] = tuning.model_dump(mode="json")
            if arguments.command == "k-shot":
                results = k_shot(start, labelled, test, label_map, arguments.k, tuning)
            else:
                facts["percent"] = arguments.percent
                results = [fine_tuned(start, labelled, test, label_map, tuning)]
        runs += [facts | result | {"structure": structure} for result in results]
    return runs


def _sets(
    arguments: argparse.Namespace, config: TrainConfig | None, intensity_max: float
) -> tuple[str, LabelMap, LabelledClouds, LabelledClouds]:
    """Name, classes, the scans whose labels may be learned, and those that are tested on.

    Raises:
        ConfigError: a keyframe is in both splits.
    """
    if config is None:
        scan_set = config_file.load(arguments.scan_set, ScanSet)
        clouds = FolderClouds.of_folder(arguments.scans, scan_set, intensity_max)
        if arguments.command == "zero-shot":
            return scan_set.name, scan_set, clouds.only([]), clouds
        return scan_set.name, scan_set, *halves(clouds, max(*SHOTS, *arguments.k))
    test = KeyframeClouds.of_split(config.data, config.data.val_split, intensity_max)
    labelled = test.only([])
    if arguments.command != "zero-shot":
        split = arguments.split or "train"
        labelled = KeyframeClouds.of_split(config.data, split, intensity_max, getattr(arguments, "percent", 100))
        both = {frame.token for frame in labelled.frames} & {frame.token for frame in test.frames}
        if both:
            raise ConfigError(
                f"--split {split}: {len(both)} of its {len(labelled)} keyframes are in data.val_split "
                f"({config.data.val_split}), too, which the test is on; learn the labels of another split."
            )
    return config.data.root, load_label_map(arguments.label_map or LABEL_MAPS[config.data.kind]), labelled, test


def _structure(
    checkpoint: StudentCheckpoint, config: TrainConfig | None, test: LabelledClouds, label_map: LabelMap
) -> dict[str, float]:
    """Against the teacher where there are images."""
    if config is not None and isinstance(test, KeyframeClouds):
        return measure_structure(checkpoint, config, test.frames, label_map)
    return measure_cloud_structure(checkpoint, test, label_map)

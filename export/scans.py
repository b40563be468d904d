"""Scans that an export needs: one for the golden answer, more for the engine's capacities."""

from pathlib import Path
from typing import TypeVar

import numpy as np

from distill.config import TrainConfig
from distill.datasets import read_cloud, read_keyframes
from distill.scan_folder import read_scan
from export.assemble import RawScan
from relidar import config_file
from relidar.errors import ConfigError, DatasetError

T = TypeVar("T")

SCANS = 64
"""Taken evenly from all there are; enough for a percentile, few enough for seconds."""


def scans_of_run(checkpoint: Path) -> list[RawScan]:
    """Validation scans of the dataset that the run beside `checkpoint` was trained on.

    Raises:
        ConfigError: no config.yaml beside the checkpoint.
        DatasetError: the dataset is not there any more, or damaged.
    """
    path = checkpoint.parent / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"{path}: not there, so the run's dataset is not known; give a folder of scans with --scans.")
    config = config_file.load(path, TrainConfig)
    frames = read_keyframes(config.data, config.data.val_split)
    return [_read(frame.cloud) for frame in _evenly(frames)]


def scans_of_folder(folder: Path) -> list[RawScan]:
    """Scans of a folder of nuScenes .pcd.bin files or labelled .npz scans, as deep as they lie; raises DatasetError."""
    paths = sorted(folder.rglob("*.pcd.bin")) or sorted(folder.rglob("*.npz"))
    if not paths:
        raise DatasetError(f"{folder}: no .pcd.bin or .npz scans there; give a folder such as DATASET/samples/LIDAR_TOP.")
    return [_read(path) for path in _evenly(paths)]


def _evenly(items: list[T]) -> list[T]:
    return [items[index] for index in np.linspace(0, len(items) - 1, min(SCANS, len(items))).astype(int)]


def _read(path: Path) -> RawScan:
    if path.suffix == ".npz":
        scan = read_scan(path)
        return RawScan(np.ascontiguousarray(scan.xyz_m), np.ascontiguousarray(scan.intensity))
    return RawScan(*read_cloud(path))

"""Scans that an export needs: one for the golden answer, more for the engine's capacities and for int8.

Their intensities come in the unit that the student was trained with.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from distill import nuscenes_frames, semantic_kitti
from distill.config import TrainConfig
from distill.datasets import full_return, read_cloud, read_keyframes
from distill.scan_folder import read_scan
from export.assemble import RawScan
from relidar import config_file
from relidar.bags import CloudBag, RecordedCloud
from relidar.errors import ConfigError, DatasetError
from relidar.pointcloud2 import decode

T = TypeVar("T")
Points = tuple[NDArray[np.float32], NDArray[np.float32]]
"""xyz_m (N, 3) and intensity (N,)."""

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
    gain = config.preprocessing.intensity_max / full_return(config.data)
    return [_scaled(*read_cloud(frame.cloud), gain) for frame in _evenly(frames, SCANS)]


def scans_of_source(
    source: Path, intensity_max: float, most: int = SCANS, topics: Sequence[str] = (), full_return: float | None = None
) -> Iterator[RawScan]:
    """Up to `most` scans, taken evenly, of a bag, a dataset or a folder; each is read when it is asked for.

    Args:
        source: a bag as `relidar.bags.CloudBag` opens it, or a folder with nuScenes' .pcd.bin, SemanticKITTI's velodyne/*.bin or
            labelled .npz, as deep as they lie.
        intensity_max: the student's value of a full return.
        most: at least 1.
        topics: of a bag; none takes its only PointCloud2 topic.
        full_return: the source's value of a full return; without it that of nuScenes in .pcd.bin, of SemanticKITTI in .bin, and
            the student's own in bags and .npz, which do not say.

    Raises:
        BagError, DatasetError: there is none, or it is damaged. MalformedCloudError: a cloud of the bag cannot be read.
    """
    if source.is_dir() and not (source / "metadata.yaml").is_file():
        for path in _evenly(_files(source), most):
            yield _scaled(*_read(path), intensity_max / (full_return or _known_return(path) or intensity_max))
        return
    with CloudBag(source, topics) as bag:
        wanted = set(_evenly(range(len(bag)), most))
        for index, cloud in enumerate(bag):
            if index in wanted:
                yield _scaled(*_decoded(cloud), intensity_max / (full_return or intensity_max))


def _files(folder: Path) -> list[Path]:
    kinds = ("*.pcd.bin", "*.bin" if folder.name == "velodyne" else "velodyne/*.bin", "*.npz")
    paths = next((found for kind in kinds if (found := sorted(folder.rglob(kind)))), [])
    if not paths:
        raise DatasetError(
            f"{folder}: no .pcd.bin or .npz scans there, nor a folder velodyne of .bin; give a dataset, a folder of scans or "
            "a bag (its .mcap or .db3 file, where metadata.yaml is missing)."
        )
    return paths


def _evenly(items: Sequence[T], most: int) -> list[T]:
    return [items[index] for index in np.linspace(0, len(items) - 1, min(most, len(items))).astype(int)]


def _decoded(cloud: RecordedCloud) -> Points:
    decoded = decode(cloud.layout, cloud.data)
    return decoded.xyz_m, np.zeros(len(decoded.xyz_m), np.float32) if decoded.intensity is None else decoded.intensity


def _read(path: Path) -> Points:
    if path.suffix == ".npz":
        scan = read_scan(path)
        return np.ascontiguousarray(scan.xyz_m), np.ascontiguousarray(scan.intensity)
    return read_cloud(path)


def _known_return(path: Path) -> float | None:
    if path.suffix == ".npz":
        return None
    return nuscenes_frames.INTENSITY_MAX if path.name.endswith(".pcd.bin") else semantic_kitti.INTENSITY_MAX


def _scaled(xyz_m: NDArray[np.float32], intensity: NDArray[np.float32], gain: float) -> RawScan:
    return RawScan(xyz_m, intensity * np.float32(gain))

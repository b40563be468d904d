"""Labelled datasets as drives, one scan after the other: nuScenes scenes, a SemanticKITTI sequence, a folder of .npz scans.

Every scan brings the numbers of its dataset as truth, and intensities of which `intensity_max` is a full return.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyquaternion import Quaternion

from distill import semantic_kitti
from distill.nuscenes_frames import CLOUD_COLUMNS, read_cloud, read_lidarseg
from distill.scan_folder import ScanSet, list_scans, read_scan
from relidar.cloud_writer import Pose
from relidar.errors import DatasetError

MAP, BASE, LIDAR = "map", "base_link", "lidar"
START_NS = 1_600_000_000_000_000_000
"""First stamp of datasets that only know the time since their start; 0 would mean "no time" to ROS."""


@dataclass(frozen=True)
class DriveScan:
    """One labelled scan."""

    stamp_ns: int
    xyz_m: NDArray[np.float32]
    """(N, 3) in the sensor frame."""
    intensity: NDArray[np.float32]
    """(N,)"""
    ring: NDArray[np.uint16] | None
    """(N,) beam of each point, where the dataset says."""
    category: NDArray[np.uint8] | NDArray[np.uint16]
    """(N,) numbers of the dataset."""
    poses: tuple[Pose, ...] = ()
    """Where the vehicle was."""


@dataclass(frozen=True)
class Drive:
    """Scans in the order of time; `scans` reads them as they are asked for."""

    scans: Iterator[DriveScan]
    count: int
    fixed_poses: tuple[Pose, ...] = ()
    """Where the LiDAR sits."""


def nuscenes_drive(root: Path, version: str, scenes: Sequence[str], intensity_max: float) -> Drive:
    """The keyframes of scenes (all, if none is named), with ring, ego poses and lidarseg categories.

    Raises:
        DatasetError: no tables, no such scene, no lidarseg labels, or a LiDAR that sits elsewhere in another scene.
    """
    if not (root / version / "sample_data.json").is_file():
        raise DatasetError(
            f"{root}: no tables in {version}/ (looked for sample_data.json); give the folder that holds {version}."
        )
    try:
        from nuscenes import NuScenes  # here, since it takes seconds

        dataset = NuScenes(version, str(root), verbose=False)
        if "lidarseg" not in dataset.table_names:
            raise DatasetError(f"{root}: no lidarseg table in {version}/; unpack nuScenes-lidarseg into the dataset.")
        known = {scene["name"]: scene["token"] for scene in dataset.scene}
        unknown = sorted(set(scenes) - set(known))
        if unknown:
            raise DatasetError(f"{root}: no scene {', '.join(unknown)}; there are {', '.join(sorted(known)[:20])}.")
        chosen = {known[name] for name in scenes or known}
        samples = [sample for sample in dataset.sample if sample["scene_token"] in chosen]
        records = sorted((dataset.get("sample_data", s["data"]["LIDAR_TOP"]) for s in samples), key=lambda r: r["timestamp"])
        mounts = {r["calibrated_sensor_token"]: dataset.get("calibrated_sensor", r["calibrated_sensor_token"]) for r in records}
        places = {(*mount["translation"], *mount["rotation"]): mount for mount in mounts.values()}
        segments = {record["token"]: root / dataset.get("lidarseg", record["token"])["filename"] for record in records}
        poses = {record["token"]: dataset.get("ego_pose", record["ego_pose_token"]) for record in records}
    except (AssertionError, OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{root}: nuscenes-devkit cannot read {version}: {error!r}; restore the tables.") from error
    if len(places) != 1:
        raise DatasetError(
            f"{root}: {len(places)} mountings of the LiDAR in these scenes; convert scenes of one vehicle at a time."
        )
    fixed = tuple(Pose(BASE, LIDAR, mount["translation"], mount["rotation"]) for mount in places.values())
    gain = np.float32(intensity_max / 255.0)
    scans = (_nuscenes_scan(root, record, segments[record["token"]], poses[record["token"]], gain) for record in records)
    return Drive(scans, len(records), fixed)


def semantic_kitti_drive(folder: Path, intensity_max: float) -> Drive:
    """A sequence with its raw labels, and its poses where poses.txt and calib.txt are; the LiDAR frame is the vehicle's."""
    sequence = semantic_kitti.Sequence.open(folder)
    poses = sequence.world_from_lidar if sequence.has_poses else None
    gain = np.float32(intensity_max / semantic_kitti.INTENSITY_MAX)
    stamps_ns = START_NS + np.round(sequence.times_s * 1e9).astype(np.int64)

    def scans() -> Iterator[DriveScan]:
        for number, stamp_ns in enumerate(stamps_ns):
            xyz_m, intensity = sequence.read_cloud(number)
            label = sequence.read_labels(number, len(xyz_m))
            where = () if poses is None else (_pose(poses[number]),)
            yield DriveScan(int(stamp_ns), xyz_m, intensity * gain, None, label, where)

    return Drive(scans(), len(sequence.clouds))


def scan_folder_drive(folder: Path, scan_set: ScanSet, rate_hz: float, intensity_max: float) -> Drive:
    """The .npz scans of a folder, `rate_hz` a second, since they carry no time."""
    paths = list_scans(folder)
    gain = np.float32(intensity_max / scan_set.intensity_max)

    def scans() -> Iterator[DriveScan]:
        for number, path in enumerate(paths):
            scan = read_scan(path)
            ring = None if scan.ring is None else scan.ring.astype(np.uint16)
            stamp_ns = START_NS + round(number * 1e9 / rate_hz)
            yield DriveScan(stamp_ns, scan.xyz_m, scan.intensity * gain, ring, scan.label.astype(np.uint16))

    return Drive(scans(), len(paths))


def _nuscenes_scan(root: Path, record: dict[str, Any], lidarseg: Path, ego: dict[str, Any], gain: np.float32) -> DriveScan:
    path = root / record["filename"]
    xyz_m, intensity = read_cloud(path)
    ring = np.fromfile(path, np.float32).reshape(-1, CLOUD_COLUMNS)[:, 4].astype(np.uint16)
    pose = Pose(MAP, BASE, ego["translation"], ego["rotation"])
    return DriveScan(record["timestamp"] * 1000, xyz_m, intensity * gain, ring, read_lidarseg(lidarseg, len(xyz_m)), (pose,))


def _pose(map_from_lidar: NDArray[np.float64]) -> Pose:
    # Poses written with six digits are not quite orthogonal.
    turn = Quaternion(matrix=map_from_lidar, rtol=1e-3, atol=1e-3)
    return Pose(MAP, LIDAR, map_from_lidar[:3, 3], tuple(turn.elements))

"""Keyframes of a nuScenes dataset: the cloud, the six images, and where each camera stood, seen from the LiDAR.

The LiDAR and the cameras fire at different moments of a moving vehicle, so the way from LiDAR to camera leads through the world:
lidar -> ego at the LiDAR's time -> global -> ego at the camera's time -> camera.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pyquaternion import Quaternion

from distill.keyframe import CameraView, Keyframe
from distill.splits import Percent, choose, nuscenes_scenes, share
from relidar.config_file import Model
from relidar.errors import DatasetError

CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")
CLOUD_COLUMNS = 5
INTENSITY_MAX = 255.0


class NuScenesConfig(Model):
    """Where a dataset in nuScenes format lies, and how its scenes are split."""

    kind: Literal["nuscenes"] = "nuscenes"
    root: str
    version: str = "v1.0-trainval"
    splits: Literal["official", "file"] = "official"
    """official: the devkit's scene names and SLidR's (distill.splits). file: `splits.json` in the root, {"train": [scene names],
    "val": [...]}."""
    train_split: str = "train"
    """`slidr_train` is what SLidR pretrains on: 600 of the 700 training scenes."""
    val_split: str = "val"
    cameras: tuple[str, ...] = CAMERAS


def nuscenes_keyframes(config: NuScenesConfig, split: str, percent: Percent = 100) -> list[Keyframe]:
    """All keyframes of a split, or of a share of its scenes, in the order of the dataset.

    Raises:
        DatasetError: missing folder or tables, unknown split, or a split without a keyframe.
    """
    root = Path(config.root)
    if not (root / config.version / "sample_data.json").is_file():
        raise DatasetError(
            f"{root}: no tables in {config.version}/ (looked for sample_data.json); give the folder that holds {config.version}, "
            "samples and lidarseg, or make one with `python -m distill.street`."
        )
    names = set(_scenes_of_split(root, config, split))
    try:
        from nuscenes import NuScenes  # here, since it takes seconds

        dataset = NuScenes(config.version, str(root), verbose=False)
        scenes = share([scene["name"] for scene in dataset.scene if scene["name"] in names], percent) if percent < 100 else names
        samples = [sample for sample in dataset.sample if _scene_name(dataset, sample) in scenes]
        frames = [_keyframe(dataset, sample, config.cameras) for sample in samples]
    except (AssertionError, OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{root}: nuscenes-devkit cannot read {config.version}: {error!r}; restore the tables.") from error
    if not frames:
        raise DatasetError(f"{root}: no keyframe in split {split!r} ({len(names)} scene names, none in the tables).")
    return frames


def read_cloud(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A `.pcd.bin` -> xyz_m (N, 3) in the LiDAR frame and intensity (N,) in 0..255; raises DatasetError if cut short."""
    try:
        values = np.fromfile(path, np.float32)
    except OSError as error:
        raise DatasetError(f"{path}: cloud cannot be read ({error.strerror}); restore the file.") from None
    if not len(values) or len(values) % CLOUD_COLUMNS or path.stat().st_size % 4:
        raise DatasetError(
            f"{path}: {path.stat().st_size} bytes, expected a multiple of {4 * CLOUD_COLUMNS} (x, y, z, intensity, ring as "
            "float32); the file is empty or cut short: copy it again."
        )
    cloud = values.reshape(-1, CLOUD_COLUMNS)
    return np.ascontiguousarray(cloud[:, :3]), np.ascontiguousarray(cloud[:, 3])


def read_lidarseg(path: Path, points: int) -> NDArray[np.uint8]:
    """(N,) category indices; raises DatasetError unless there is one a point."""
    try:
        labels = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DatasetError(f"{path}: labels cannot be read ({error.strerror}); restore the file.") from None
    if len(labels) != points:
        raise DatasetError(f"{path}: {len(labels)} labels for {points} points; the label or the cloud file is cut short.")
    return labels


def _scenes_of_split(root: Path, config: NuScenesConfig, split: str) -> list[str]:
    if config.splits == "official":
        return choose(nuscenes_scenes(), split, "the official splits")
    path = root / "splits.json"
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); expected {{split: [scene names]}}.") from error
    if not isinstance(splits, dict) or not all(isinstance(names, list) for names in splits.values()):
        raise DatasetError(f"{path}: expected {{split: [scene names]}}; write it again.")
    return choose(splits, split, str(path))


def _scene_name(dataset: Any, sample: dict[str, Any]) -> str:
    return dataset.get("scene", sample["scene_token"])["name"]


def _keyframe(dataset: Any, sample: dict[str, Any], cameras: Sequence[str]) -> Keyframe:
    root = Path(dataset.dataroot)
    token = sample["data"]["LIDAR_TOP"]
    lidar = dataset.get("sample_data", token)
    global_from_lidar = _global_from_sensor(dataset, lidar)
    views = []
    for channel in cameras:
        if channel not in sample["data"]:
            raise DatasetError(f"{root}: sample {sample['token']} has no {channel}; name only cameras that the dataset has.")
        camera = dataset.get("sample_data", sample["data"][channel])
        calibration = dataset.get("calibrated_sensor", camera["calibrated_sensor_token"])
        camera_from_lidar = np.linalg.inv(_global_from_sensor(dataset, camera)) @ global_from_lidar
        intrinsics = np.array(calibration["camera_intrinsic"], np.float64)
        views.append(CameraView(channel, root / camera["filename"], camera_from_lidar, intrinsics))
    lidarseg = None
    if "lidarseg" in dataset.table_names:
        lidarseg = root / dataset.get("lidarseg", token)["filename"]
    return Keyframe(token, _scene_name(dataset, sample), root / lidar["filename"], tuple(views), lidarseg)


def _global_from_sensor(dataset: Any, record: dict[str, Any]) -> NDArray[np.float64]:
    from nuscenes.utils.geometry_utils import transform_matrix

    sensor = dataset.get("calibrated_sensor", record["calibrated_sensor_token"])
    ego = dataset.get("ego_pose", record["ego_pose_token"])
    global_from_ego = transform_matrix(ego["translation"], Quaternion(ego["rotation"]))
    return global_from_ego @ transform_matrix(sensor["translation"], Quaternion(sensor["rotation"]))

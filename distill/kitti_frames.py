"""SemanticKITTI as training data: each cloud with the image of the left colour camera, which looks ahead.

Layout, as semantic-kitti.org and the KITTI odometry benchmark unpack: ROOT/sequences/08/{velodyne/000000.bin, calib.txt,
image_2/000000.png, labels/000000.label}. Cloud and image of one number are of one moment and the clouds are corrected for the
vehicle's motion, so the way from LiDAR to camera is the calibration alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from distill import semantic_kitti
from distill.keyframe import CameraView, Keyframe
from distill.splits import Percent, choose
from relidar.config_file import Model
from relidar.errors import DatasetError

SPLITS: dict[str, tuple[str, ...]] = {
    "train": ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10"),
    "val": ("08",),
}
"""Of the benchmark (Behley et al., ICCV 2019); the labels of its test sequences 11 to 21 are not public."""


class SemanticKittiConfig(Model):
    """Where SemanticKITTI lies.

    Its full return is 1. Another preprocessing.intensity_max scales its clouds in training and evaluation, and then the trained
    student expects that scale of the clouds it is given.
    """

    kind: Literal["semantic_kitti"]
    root: str
    """The folder that holds sequences/."""
    train_split: str = "train"
    val_split: str = "val"
    cameras: tuple[Literal["image_2"]] = ("image_2",)


def kitti_keyframes(config: SemanticKittiConfig, split: str, percent: Percent = 100) -> list[Keyframe]:
    """The clouds of a split's sequences that are there, or every (100 / percent)-th of them from the first on, as SLidR counts.

    Raises:
        DatasetError: unknown split, none of its sequences there, or one without calibration or images.
    """
    names = choose(SPLITS, split, "SemanticKITTI's splits")
    folders = [Path(config.root) / "sequences" / name for name in names]
    there = [folder for folder in folders if folder.is_dir()]
    if not there:
        raise DatasetError(f"{config.root}: none of the sequences {', '.join(names)} in sequences/; give the folder above it.")
    frames = [frame for folder in there for frame in _frames(semantic_kitti.Sequence.open(folder), config.cameras)]
    return frames[:: 100 // percent]


def _frames(sequence: semantic_kitti.Sequence, cameras: Sequence[str]) -> list[Keyframe]:
    frames = []
    geometry = {channel: camera_geometry(sequence, channel) for channel in cameras}
    for number, cloud in enumerate(sequence.clouds):
        views = tuple(CameraView(channel, sequence.image(number, int(channel[-1])), *geometry[channel]) for channel in cameras)
        labels = sequence.folder / "labels" / f"{cloud.stem}.label"
        token = f"{sequence.folder.name}_{cloud.stem}"
        frames.append(Keyframe(token, sequence.folder.name, cloud, views, labels if labels.is_file() else None))
    return frames


def camera_geometry(sequence: semantic_kitti.Sequence, channel: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """camera_from_lidar (4, 4) and the intrinsics (3, 3) of `image_2`.

    calib.txt gives P2 = K [I | t] of the rectified camera and Tr, which leads from the LiDAR to camera 0: so t is K^-1 times the
    last column of P2, and camera_from_lidar = [I | t] Tr.
    """
    name = f"P{channel[-1]}"
    if name not in sequence.calibration:
        raise DatasetError(f"{sequence.folder / 'calib.txt'}: no line `{name}:`, the projection of {channel}; restore the file.")
    projection = sequence.calibration[name]
    intrinsics = projection[:, :3]
    camera_from_lidar = np.eye(4)
    camera_from_lidar[:3] = sequence.calibration["Tr"]
    try:
        camera_from_lidar[:3, 3] += np.linalg.solve(intrinsics, projection[:, 3])
    except np.linalg.LinAlgError:
        raise DatasetError(f"{sequence.folder / 'calib.txt'}: {name} is singular; restore the file.") from None
    return camera_from_lidar, intrinsics

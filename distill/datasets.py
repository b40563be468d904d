"""Datasets of images and clouds, whatever their format: keyframes of a split, clouds, labels.

The name of a file tells its format: `.pcd.bin` and `_lidarseg.bin` are nuScenes', `.bin` and `.label` SemanticKITTI's.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Tag

from distill import nuscenes_frames, semantic_kitti
from distill.keyframe import Keyframe
from distill.kitti_frames import SemanticKittiConfig, kitti_keyframes
from distill.nuscenes_frames import NuScenesConfig, nuscenes_keyframes
from distill.splits import Percent
from relidar.errors import DatasetError


def _kind(value: Any) -> str:
    """`kind` of a configuration; the files that name none are of nuScenes."""
    return str(value.get("kind", "nuscenes") if isinstance(value, dict) else getattr(value, "kind", "nuscenes"))


DataConfig = Annotated[
    Annotated[NuScenesConfig, Tag("nuscenes")] | Annotated[SemanticKittiConfig, Tag("semantic_kitti")], Discriminator(_kind)
]


def read_keyframes(config: NuScenesConfig | SemanticKittiConfig, split: str, percent: Percent = 100) -> list[Keyframe]:
    """All keyframes of a split in the order of the dataset, or of a share of it: nuScenes by scene, SemanticKITTI by frame.

    Raises:
        DatasetError: missing files, unknown split, or a split without a keyframe.
    """
    if isinstance(config, SemanticKittiConfig):
        return kitti_keyframes(config, split, percent)
    return nuscenes_keyframes(config, split, percent)


def read_cloud(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """xyz_m (N, 3) in the LiDAR frame and intensity (N,) in the dataset's unit; raises DatasetError if cut short."""
    if path.name.endswith(".pcd.bin"):
        return nuscenes_frames.read_cloud(path)
    return semantic_kitti.read_cloud(path)


def read_labels(frame: Keyframe, points: int) -> NDArray[np.integer]:
    """(N,) numbers of the dataset; raises DatasetError unless there is one a point."""
    if frame.lidarseg is None:
        raise DatasetError(f"{frame.cloud}: the dataset has no labels of it, so there is nothing to compare answers with.")
    if frame.lidarseg.suffix == ".label":
        return semantic_kitti.read_labels(frame.lidarseg, points)
    return nuscenes_frames.read_lidarseg(frame.lidarseg, points)


def full_return(config: NuScenesConfig | SemanticKittiConfig) -> float:
    """The intensity of a full return in the dataset's clouds."""
    return semantic_kitti.INTENSITY_MAX if isinstance(config, SemanticKittiConfig) else nuscenes_frames.INTENSITY_MAX

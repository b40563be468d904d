"""What training knows of one moment: a cloud, the images taken with it, and where each camera stood, seen from the LiDAR.

Every dataset is read into these records; nothing after that knows which one it was.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.occlusion import OcclusionConfig, visible


@dataclass(frozen=True)
class CameraView:
    """One image and its pinhole camera."""

    channel: str
    image: Path
    camera_from_lidar: NDArray[np.float64]
    """(4, 4), ego motion between the two sensors' times included."""
    intrinsics: NDArray[np.float64]
    """(3, 3), pixels."""


@dataclass(frozen=True)
class Keyframe:
    """One LiDAR sweep with its images."""

    token: str
    """Unique in the dataset, and fit for a file name."""
    scene: str
    cloud: Path
    views: tuple[CameraView, ...]
    lidarseg: Path | None
    """Labels for evaluation; nothing in distillation opens them."""


def project(
    xyz_m: NDArray[np.float32], view: CameraView, height: int, width: int, min_depth_m: float = 1.0
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which points fall on which pixel.

    Args:
        xyz_m: (N, 3) in the LiDAR frame.
        view: the camera.
        height: H of the image, pixels.
        width: W of the image, pixels.
        min_depth_m: nearer points are dropped. What hides a point from the camera is not asked here but in `image_pairs`.

    Returns:
        The index of each point that lands inside the image (P,), and its pixel as row * W + column (P,).
    """
    camera = xyz_m.astype(np.float64) @ view.camera_from_lidar[:3, :3].T + view.camera_from_lidar[:3, 3]
    index = np.flatnonzero(camera[:, 2] > min_depth_m)
    pixels = camera[index] @ view.intrinsics.T
    column, row = np.floor(pixels[:, :2] / pixels[:, 2:]).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return index[inside], (row[inside] * width + column[inside]).astype(np.intp)


def image_pairs(
    xyz_m: NDArray[np.float32], view: CameraView, height: int, width: int, occlusion: OcclusionConfig | None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """`project`, and with `occlusion` without the points that something nearer hides from the camera.

    These are the pairs of training, in the order in which the teacher's view keeps them.
    """
    point, pixel = project(xyz_m, view, height, width)
    if occlusion is None:
        return point, pixel
    eye_m = np.linalg.inv(view.camera_from_lidar)[:3, 3]
    seen = visible(np.linalg.norm(xyz_m[point] - eye_m, axis=1), pixel, height, width, occlusion)
    return point[seen], pixel[seen]

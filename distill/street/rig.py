"""The sensor rig: one LiDAR and the cameras, as typed YAML. Frames follow nuScenes.

ego: rear axle on the ground, x forward, y left, z up. LIDAR_TOP: x right, y forward, z up. Camera: x right, y down,
z forward; pixel (row i, column j) is the ray through image point (j + 0.5, i + 0.5), so floor(u), floor(v) name a pixel.
"""

from pathlib import Path

import numpy as np
from pydantic import Field

from distill.street import poses
from relidar.config_file import Model, load

# A camera that looks along ego x: its x is ego -y, its y is ego -z, its z is ego x.
_EGO_FROM_FORWARD_CAMERA = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


class Camera(Model):
    """A pinhole camera without distortion."""

    name: str = Field(pattern="^[A-Z_]+$")
    translation_m: tuple[float, float, float]
    yaw_deg: float
    pitch_deg: float = 0.0  # positive looks down
    fov_deg: float = Field(gt=5, lt=150)  # horizontal
    delay_ms: float = Field(default=0.0, ge=-50, le=50)  # its stamp less the LiDAR's

    def ego_from_camera(self) -> np.ndarray:
        """The mounting pose, 4x4."""
        pitch = np.radians(self.pitch_deg)
        down = np.array([[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]])
        result = poses.pose(*self.translation_m, np.radians(self.yaw_deg))
        result[:3, :3] = result[:3, :3] @ down @ _EGO_FROM_FORWARD_CAMERA
        return result

    def intrinsic(self, width: int, height: int) -> np.ndarray:
        """(3, 3) camera matrix for an image of that size."""
        focal = width / 2 / np.tan(np.radians(self.fov_deg) / 2)
        return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])


class Lidar(Model):
    """A spinning LiDAR; beams spread evenly in elevation."""

    translation_m: tuple[float, float, float]
    yaw_deg: float = -90.0  # nuScenes: the sensor's y axis points forward
    beams: int = Field(default=32, ge=1, le=256)
    elevation_min_deg: float = Field(default=-30.67, gt=-90, lt=90)
    elevation_max_deg: float = Field(default=10.67, gt=-90, lt=90)
    azimuth_steps: int = Field(default=1090, ge=8, le=8192)
    max_range_m: float = Field(default=100.0, gt=1)
    range_noise_m: float = Field(default=0.015, ge=0)
    dropped: float = Field(default=0.03, ge=0, lt=1)  # share of returns lost at random, whatever the surface

    def ego_from_lidar(self) -> np.ndarray:
        """The mounting pose, 4x4."""
        return poses.pose(*self.translation_m, np.radians(self.yaw_deg))


class Rig(Model):
    """A LiDAR and cameras on one vehicle."""

    image_width: int = Field(default=480, ge=16, le=4096)
    image_height: int = Field(default=270, ge=16, le=4096)
    jpeg_quality: int = Field(default=90, ge=1, le=100)
    lidar: Lidar
    cameras: tuple[Camera, ...] = Field(min_length=1)


def read_rig(path: Path) -> Rig:
    """Reads a rig from YAML; raises ConfigError naming the key that does not fit."""
    return load(path, Rig)

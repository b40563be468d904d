"""Points to voxels: the grid, the input features of the student, and which voxel answers for which point."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from relidar.config_file import Model
from relidar.rulebook import MAX_CELL, row_of_key, voxel_keys

Positive = Annotated[float, Field(gt=0)]
Feature = Literal["one", "intensity", "height", "range"]


class CartesianGrid(Model):
    """Cubic cells in the sensor frame."""

    coordinates: Literal["cartesian"] = "cartesian"
    voxel_size_m: Positive = 0.1


class CylindricalGrid(Model):
    """Cells in distance rho, azimuth phi and height z, as in SLidR; the seam at phi = +-180 degrees is not joined."""

    coordinates: Literal["cylindrical"] = "cylindrical"
    rho_m: Positive = 0.1
    phi_deg: Positive = 1.0
    z_m: Positive = 0.1


class Preprocessing(Model):
    """All that turns a cloud into the student's input; it travels in the bundle, since a student only fits its own."""

    grid: Annotated[CartesianGrid | CylindricalGrid, Field(discriminator="coordinates")] = CylindricalGrid()
    features: Annotated[tuple[Feature, ...], Field(min_length=1)] = ("intensity",)
    """Input channels, each averaged over the points of a voxel."""
    intensity_max: Positive = 255.0
    """Value of a full return: 255 for nuScenes, 1 for KITTI. Intensity is clipped to it and divided by it."""
    min_range_m: Annotated[float, Field(ge=0)] = 1.0
    """Nearer points (the vehicle itself) are left unlabelled. Ranges are distances to the sensor's axis."""
    max_range_m: Positive = 70.0
    min_height_m: float = -5.0
    max_height_m: float = 12.0

    @model_validator(mode="after")
    def _possible(self) -> "Preprocessing":
        for low, high in (("min_range_m", "max_range_m"), ("min_height_m", "max_height_m")):
            if getattr(self, low) >= getattr(self, high):
                raise ValueError(f"{low} {getattr(self, low)} is not below {high} {getattr(self, high)}")
        grid = self.grid
        height_m = max(-self.min_height_m, self.max_height_m)
        if isinstance(grid, CartesianGrid):
            farthest = max(self.max_range_m, height_m) / grid.voxel_size_m
        else:
            farthest = max(self.max_range_m / grid.rho_m, 180 / grid.phi_deg, height_m / grid.z_m)
        if farthest > MAX_CELL - 1:
            raise ValueError(f"the grid would have cells up to {farthest:.0f}, at most {MAX_CELL - 1}; use larger voxels")
        return self


@dataclass(frozen=True)
class Voxels:
    """The occupied voxels of one scan, in the order in which its points first reach them."""

    coordinates: NDArray[np.int32]
    """(V, 3) integer cell of each voxel."""
    features: NDArray[np.float32]
    """(V, C_in) mean input features."""
    voxel_of_point: NDArray[np.int32]
    """(N,) row of each point's voxel, -1 for points that are not finite or out of range."""


def voxelise(xyz_m: NDArray[np.float32], intensity: NDArray[np.float32] | None, spec: Preprocessing) -> Voxels:
    """Groups the points of one scan into voxels.

    Args:
        xyz_m: (N, 3) points in the sensor frame, metres; NaN and infinities allowed.
        intensity: (N,) in [0, spec.intensity_max]; None counts as 0, as does a value that is not finite.
        spec: grid, features and range.
    """
    # What overflows becomes infinite and so lies out of range, as does a NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        points = np.ascontiguousarray(xyz_m, dtype=np.float32)
        rho = np.hypot(points[:, 0], points[:, 1])
        inside = (
            (rho >= spec.min_range_m)
            & (rho <= spec.max_range_m)
            & (points[:, 2] >= spec.min_height_m)
            & (points[:, 2] <= spec.max_height_m)
        )
    kept = np.flatnonzero(inside)
    cells = _cells(points[kept], rho[kept], spec.grid)
    keys = voxel_keys(cells, np.zeros(len(cells), np.int32))
    voxel_of_kept, first = row_of_key(keys)
    channels = _channels(points[kept], rho[kept], None if intensity is None else intensity[kept], spec)
    voxel_of_point = np.full(len(points), -1, np.int32)
    voxel_of_point[kept] = voxel_of_kept
    return Voxels(cells[first], _mean_by_voxel(channels, voxel_of_kept, len(first)), voxel_of_point)


def _cells(points: NDArray[np.float32], rho: NDArray[np.float32], grid: CartesianGrid | CylindricalGrid) -> NDArray[np.int32]:
    if isinstance(grid, CartesianGrid):
        scaled = points / np.float32(grid.voxel_size_m)
    else:
        phi_deg = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
        scaled = np.stack([rho / grid.rho_m, phi_deg / grid.phi_deg, points[:, 2] / grid.z_m], axis=1)
    return np.floor(np.clip(scaled, -MAX_CELL, MAX_CELL)).astype(np.int32)


def _channels(
    points: NDArray[np.float32], rho: NDArray[np.float32], intensity: NDArray[np.float32] | None, spec: Preprocessing
) -> NDArray[np.float32]:
    columns = np.empty((len(points), len(spec.features)), np.float32)
    for column, name in enumerate(spec.features):
        if name == "one":
            columns[:, column] = 1.0
        elif name == "height":
            columns[:, column] = points[:, 2] / 4.0  # metres to about unit scale
        elif name == "range":
            columns[:, column] = rho / spec.max_range_m
        elif intensity is None:
            columns[:, column] = 0.0
        else:
            finite = np.nan_to_num(intensity, nan=0.0, posinf=spec.intensity_max, neginf=0.0)
            columns[:, column] = np.clip(finite, 0.0, spec.intensity_max) / spec.intensity_max
    return columns


@numba.njit(cache=True, nogil=True)
def _mean_by_voxel(channels, voxel_of_point, voxels):  # type: ignore[no-untyped-def]
    total = np.zeros((voxels, channels.shape[1]), np.float32)
    count = np.zeros(voxels, np.float32)
    for point in range(len(voxel_of_point)):
        row = voxel_of_point[point]
        count[row] += 1
        for column in range(channels.shape[1]):
            total[row, column] += channels[point, column]
    for row in range(voxels):
        for column in range(channels.shape[1]):
            total[row, column] /= count[row]
    return total

"""Points to voxels: the grid, the input features of the student, and which voxel answers for which point."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from relidar.cached_kernel import cached_kernel
from relidar.cell_keys import MAX_CELL, cells_of_keys, key_of_cell
from relidar.config_file import Model
from relidar.errors import CloudError
from relidar.key_numbers import number_keys, slots_needed
from relidar.reused_memory import ReusedMemory
from relidar.row_parts import parts_of, run_parts, share
from relidar.voxel_features import Feature, columns_of, distance, mean_features

Positive = Annotated[float, Field(gt=0)]


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


def voxelise(xyz_m: NDArray[np.float32], intensity: NDArray[np.float32] | None, spec: Preprocessing, threads: int = 0) -> Voxels:
    """Groups the points of one scan into voxels.

    Args:
        xyz_m: (N, 3) points in the sensor frame, metres; NaN and infinities allowed.
        intensity: (N,), clipped to [0, spec.intensity_max]; None and NaN count as 0.
        spec: grid, features and range.
        threads: at most so many; 0 = one a core. The voxels do not depend on it.

    Raises:
        CloudError: points or intensity of another shape.
    """
    if np.ndim(xyz_m) != 2 or np.shape(xyz_m)[1] != 3 or (intensity is not None and np.shape(intensity) != (len(xyz_m),)):
        found = "none" if intensity is None else str(np.shape(intensity))
        raise CloudError(
            f"voxelise: points {np.shape(xyz_m)}, intensity {found}; expected points (N, 3), intensity (N,) or none."
        )
    with np.errstate(over="ignore", invalid="ignore"):  # a float64 that float32 cannot hold becomes infinite: out of range
        points = np.ascontiguousarray(xyz_m, dtype=np.float32)
        returned = np.zeros(0, np.float32) if intensity is None else np.ascontiguousarray(intensity, dtype=np.float32)
    grid = spec.grid
    cylindrical = isinstance(grid, CylindricalGrid)
    sizes = (grid.rho_m, grid.phi_deg, grid.z_m) if isinstance(grid, CylindricalGrid) else (grid.voxel_size_m,) * 3
    limits = (spec.min_range_m, spec.max_range_m, spec.min_height_m, spec.max_height_m)
    parts = parts_of(len(points), threads)
    voxel_of_point = np.empty(len(points), np.int32)
    slots, keys, distinct = _scratch.arrays(
        [(slots_needed(len(points)),), (len(points),), (len(points),)], [np.int32, np.int64, np.int64]
    )
    run_parts(_keys_of_points, parts, points, np.array(limits, np.float32), np.array(sizes, np.float32), cylindrical, keys)
    distinct = distinct[: number_keys(keys, slots, voxel_of_point, distinct)]
    columns = columns_of(spec.features, intensity is not None)
    scales = (np.float32(spec.intensity_max), np.float32(spec.max_range_m))
    features = np.empty((len(distinct), len(columns)), np.float32)
    run_parts(mean_features, parts, points, returned, columns, scales, voxel_of_point, features)
    return Voxels(cells_of_keys(distinct), features, voxel_of_point)


_scratch = ReusedMemory()

_DEGREES = np.float32(180) / np.float32(math.pi)


@cached_kernel(error_model="numpy")
def _keys_of_points(part, parts, points, limits, sizes, cylindrical, keys):  # type: ignore[no-untyped-def]
    """The key of each point's cell, -1 where it is not finite or out of range. All in float32, as the student was trained."""
    start, end = share(part, parts, len(points))
    for index in range(start, end):
        x, y, z = points[index, 0], points[index, 1], points[index, 2]
        rho = distance(x, y)
        # What overflowed is infinite and so lies out of range, as does a NaN.
        if rho >= limits[0] and rho <= limits[1] and z >= limits[2] and z <= limits[3]:
            if cylindrical:
                x, y = rho, math.atan2(y, x) * _DEGREES
            keys[index] = key_of_cell(0, _cell(x / sizes[0]), _cell(y / sizes[1]), _cell(z / sizes[2]))
        else:
            keys[index] = -1


@numba.njit(nogil=True, inline="always")
def _cell(scaled):  # type: ignore[no-untyped-def]
    # NumPy's floor stays in float32, and the machine has no fast way from there to int64.
    return np.int32(np.floor(min(max(scaled, np.float32(-MAX_CELL)), np.float32(MAX_CELL))))

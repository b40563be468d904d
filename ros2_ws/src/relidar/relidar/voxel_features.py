"""The input features of voxels: means over the points that lie in each."""

import math
from collections.abc import Sequence
from typing import Literal

import numba
import numpy as np
from numpy.typing import NDArray

from relidar.cached_kernel import cached_kernel
from relidar.row_parts import share

Feature = Literal["one", "intensity", "height", "range"]

_ONE, _INTENSITY, _HEIGHT, _RANGE, _NOTHING = range(5)
_NUMBER_OF: dict[Feature, int] = {"one": _ONE, "intensity": _INTENSITY, "height": _HEIGHT, "range": _RANGE}
_CHUNK = 1024
"""Points whose features wait in the nearest cache to be added up."""


def columns_of(features: Sequence[Feature], with_intensity: bool) -> NDArray[np.int64]:
    """The features as `mean_features` takes them; a cloud without intensity has zeros for it."""
    numbers = [_NUMBER_OF[name] for name in features]
    return np.array([_NOTHING if number == _INTENSITY and not with_intensity else number for number in numbers], np.int64)


@numba.njit(nogil=True, inline="always")
def distance(x, y):  # type: ignore[no-untyped-def]
    """For kernels: float32, from the sensor's axis."""
    return np.float32(math.sqrt(np.float64(x) * np.float64(x) + np.float64(y) * np.float64(y)))  # hypotf, which costs a call


@cached_kernel(error_model="numpy")
def mean_features(part, parts, points, intensity, columns, scales, voxel_of_point, features):  # type: ignore[no-untyped-def]
    """Each part sums and divides voxels of its own, in the order of the points.

    Args:
        part, parts: of the voxels.
        points: (N, 3) float32.
        intensity: (N,) float32, or empty if no column needs it.
        columns: (C_in,) of columns_of.
        scales: greatest intensity and range, float32.
        voxel_of_point: (N,) int32.
        features: (V, C_in) float32, written.
    """
    start, end = share(part, parts, len(features))
    features[start:end] = 0
    count = np.zeros(end - start, np.float32)
    values = np.empty(_CHUNK, np.float32)
    for begin in range(0, len(points), _CHUNK):
        rows = voxel_of_point[begin : begin + _CHUNK]
        for row in rows:
            if start <= row < end:
                count[row - start] += 1
        for column in range(len(columns)):
            _features(columns[column], points[begin : begin + _CHUNK], intensity[begin : begin + _CHUNK], scales, values)
            for index in range(len(rows)):
                if start <= rows[index] < end:
                    features[rows[index], column] += values[index]
    for row in range(start, end):
        for column in range(len(columns)):
            features[row, column] /= count[row - start]


@cached_kernel(error_model="numpy")
def _features(column, points, intensity, scales, values):  # type: ignore[no-untyped-def]
    """Writes one input feature of each point."""
    most_intensity, most_range = scales
    if column in (_ONE, _NOTHING):
        values[:] = np.float32(column == _ONE)
    elif column == _HEIGHT:
        for index in range(len(points)):
            values[index] = points[index, 2] / np.float32(4)  # metres to about unit scale
    elif column == _RANGE:
        for index in range(len(points)):
            values[index] = distance(points[index, 0], points[index, 1]) / most_range
    else:
        for index in range(len(points)):
            value = intensity[index]
            value = min(max(value, np.float32(0)), most_intensity) / most_intensity
            values[index] = np.float32(0) if math.isnan(intensity[index]) else value

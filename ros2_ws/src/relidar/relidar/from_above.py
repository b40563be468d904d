"""A scan as a picture from above: x to the right, y up, in the sensor frame; what stands higher hides what is below."""

import numpy as np
from numpy.typing import NDArray

REACH_M = 45.0
"""The picture goes this far to each side."""
SIZE = 440
"""Width and height in pixels."""
GROUND_RGB = (0x14, 0x16, 0x1A)
# Viridis of matplotlib at five equal steps.
SCALE_RGB = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], np.float64)


def draw(xyz_m: NDArray[np.float32], rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, 3) points in the sensor frame and their colours (N, 3) -> picture (SIZE, SIZE, 3), a point 2 x 2 pixels large."""
    picture = np.full((SIZE, SIZE, 3), GROUND_RGB, np.uint8)
    with np.errstate(invalid="ignore"):
        shown = np.flatnonzero(np.isfinite(xyz_m).all(axis=1) & (np.abs(xyz_m[:, :2]) < REACH_M).all(axis=1))
    shown = shown[np.argsort(xyz_m[shown, 2], kind="stable")]
    scale = (SIZE - 1) / (2 * REACH_M)
    column = ((REACH_M + xyz_m[shown, 0]) * scale).astype(np.intp)
    row = ((REACH_M - xyz_m[shown, 1]) * scale).astype(np.intp)
    for down in (0, 1):
        for right in (0, 1):
            picture[np.minimum(row + down, SIZE - 1), np.minimum(column + right, SIZE - 1)] = rgb[shown]
    return picture


def colours_of_score(score: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(N,) scores -> (N, 3): dark violet at 0 and below, yellow at 1."""
    position = np.clip(np.nan_to_num(score.astype(np.float64)), 0.0, 1.0) * (len(SCALE_RGB) - 1)
    columns = [np.interp(position, np.arange(len(SCALE_RGB)), SCALE_RGB[:, channel]) for channel in range(3)]
    return np.stack(columns, axis=1).round().astype(np.uint8)

"""Value noise for textures and clouds, compiled: a lattice of hashed values, smoothly joined."""

import numpy as np
from numba import njit

from relidar.cached_kernel import cached_kernel


@njit(inline="always")
def hashed(x: int, y: int) -> float:
    """A number in [0, 1) for a lattice point; any change of x or y changes it wholly."""
    h = (np.int64(x) * 374761393 + np.int64(y) * 668265263) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = (h ^ (h >> 16)) & 0xFFFFFF
    return float(h) / 16777216.0


@cached_kernel()
def noise(x: float, y: float) -> float:
    """Smooth noise in [0, 1) with features of size 1."""
    fx, fy = np.floor(x), np.floor(y)
    ix, iy = int(fx), int(fy)
    a, b = x - fx, y - fy
    a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)
    low = hashed(ix, iy) * (1 - a) + hashed(ix + 1, iy) * a
    high = hashed(ix, iy + 1) * (1 - a) + hashed(ix + 1, iy + 1) * a
    return low * (1 - b) + high * b


@cached_kernel()
def clouds(x: float, y: float) -> float:
    """Four octaves of noise, in [0, 1)."""
    return (
        0.5 * noise(x, y)
        + 0.27 * noise(2.1 * x + 7, 2.1 * y)
        + 0.15 * noise(4.3 * x, 4.3 * y + 3)
        + 0.08 * noise(8.7 * x, 8.7 * y)
    )

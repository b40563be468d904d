"""A cell and the scan of a batch it lies in as one integer, so that cells are found by hashing or by adding constants."""

import numba
import numpy as np
from numpy.typing import NDArray

from relidar.cached_kernel import cached_kernel
from relidar.errors import CloudError
from relidar.row_parts import parts_of, run_parts, share

MAX_CELL = 2**17 - 2
"""Cells reach from -MAX_CELL to MAX_CELL on each axis, so that a key of 3 x 18 bits and its neighbours never overflow."""
MAX_SCANS = 512

_BIAS = 2**17
_FIELD = 2**18 - 1
# Of a key shifted right by one: the bits that stay in their field, and what brings halved biased cells back to the full bias.
_HALVED = (2**17 - 1) * (2**36 + 2**18 + 1)
_HALF_BIAS = 2**16 * (2**36 + 2**18 + 1)
_SCAN = (MAX_SCANS - 1) << 54


def voxel_keys(cells: NDArray[np.int32], scans: NDArray[np.int32], keys: NDArray[np.int64], threads: int = 0) -> None:
    """Writes one integer per cell and scan, not negative; neighbouring cells differ by constant amounts.

    Raises:
        CloudError: cells or scans out of bounds.
    """
    parts = parts_of(len(cells), threads)
    within = np.ones(parts, np.bool_)
    run_parts(_keys_of_cells, parts, cells, np.ascontiguousarray(scans, np.int32), keys, within)
    if not within.all():
        raise CloudError(
            f"rulebook: cells from {cells.min()} to {cells.max()} and scans from {scans.min()} to {scans.max()}, expected "
            f"+-{MAX_CELL} at most and 0 to {MAX_SCANS - 1}; use larger voxels, a smaller range or a smaller batch."
        )


@cached_kernel()
def _keys_of_cells(part, parts, cells, scans, keys, within):  # type: ignore[no-untyped-def]
    start, end = share(part, parts, len(cells))
    inside = True
    for row in range(start, end):
        x, y, z, scan = cells[row, 0], cells[row, 1], cells[row, 2], scans[row]
        inside &= min(x, y, z) >= -MAX_CELL and max(x, y, z) <= MAX_CELL and scan >= 0 and scan < MAX_SCANS
        keys[row] = key_of_cell(scan, x, y, z)
    within[part] = inside


@numba.njit(nogil=True, inline="always")
def key_of_cell(scan, x, y, z):  # type: ignore[no-untyped-def]
    """For kernels: the key of one cell within bounds."""
    return ((((np.int64(scan) << 18) | (np.int64(x) + _BIAS)) << 18 | (np.int64(y) + _BIAS)) << 18) | (np.int64(z) + _BIAS)


@cached_kernel()
def cells_of_keys(keys):  # type: ignore[no-untyped-def]
    """(V, 3) int32 cells that voxel_keys made the keys of."""
    cells = np.empty((len(keys), 3), np.int32)
    for row in range(len(keys)):
        for axis in range(3):
            cells[row, axis] = ((keys[row] >> (36 - 18 * axis)) & _FIELD) - _BIAS
    return cells


@numba.njit(nogil=True, inline="always")
def parent_key(key):  # type: ignore[no-untyped-def]
    """For kernels: the key of the cell that holds a cell in the next coarser level."""
    return (key & _SCAN) | (((key >> 1) & _HALVED) + _HALF_BIAS)


@numba.njit(nogil=True, inline="always")
def child_slot(key):  # type: ignore[no-untyped-def]
    """For kernels: which of its parent's eight children a cell is."""
    return (key >> 34 & 4) | (key >> 17 & 2) | (key & 1)


def _neighbour_steps() -> NDArray[np.int64]:
    step = np.array([-1, 0, 1], np.int64)
    x, y, z = np.meshgrid(step, step, step, indexing="ij")
    steps: NDArray[np.int64] = ((x << 36) + (y << 18) + z).ravel()
    return steps


NEIGHBOUR_STEPS = _neighbour_steps()
"""(27,) what is added to a key for that of each neighbour of a submanifold convolution."""

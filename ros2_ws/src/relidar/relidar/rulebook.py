"""The rulebook: which voxel feeds which, for every convolution of a sparse U-Net.

It is the contract between all executors. A convolution over occupied voxels is fully described by a table (V_out, K): for each
output voxel and each kernel offset the input row, or -1 where that neighbour is empty. Three kinds make a U-Net:

- submanifold 3x3x3 within a level (K = 27): offset k is (k // 9 - 1, k // 3 % 3 - 1, k % 3 - 1), its mirror is 26 - k;
- strided 2x2x2 to the next level (K = 8): offset 4 (x & 1) + 2 (y & 1) + (z & 1), the next level's cell being the cell >> 1;
- its transpose back (K = 8): each fine voxel has one parent, in the slot by which it fed that parent.
"""

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from numpy.typing import NDArray

from relidar.errors import CloudError

MAX_CELL = 2**17 - 2
"""Cells reach from -MAX_CELL to MAX_CELL on each axis, so that a key of 3 x 18 bits and its neighbours never overflow."""
MAX_SCANS = 512
SUBMANIFOLD_OFFSETS = 27
STRIDED_OFFSETS = 8


@dataclass(frozen=True)
class Pairs:
    """A table's occupied slots only, sorted by kernel offset, then output row."""

    source: NDArray[np.int32]
    """(P,) input rows."""
    target: NDArray[np.int32]
    """(P,) output rows, unique within one offset."""
    splits: NDArray[np.int64]
    """(K + 1,) pairs of offset k are splits[k]:splits[k + 1]."""


@dataclass(frozen=True)
class Rulebook:
    """The tables of a U-Net pyramid of L levels; level 0 is the finest."""

    coordinates: tuple[NDArray[np.int32], ...]
    """L arrays (V_l, 3): cells of each level."""
    submanifold: tuple[NDArray[np.int32], ...]
    """L tables (V_l, 27) of rows of the same level."""
    down: tuple[NDArray[np.int32], ...]
    """L - 1 tables (V_{l+1}, 8) of rows of level l."""
    up: tuple[NDArray[np.int32], ...]
    """L - 1 tables (V_l, 8) of rows of level l + 1; one slot of each row is occupied."""

    @property
    def levels(self) -> int:
        """L."""
        return len(self.submanifold)

    @property
    def voxels(self) -> tuple[int, ...]:
        """V_l of each level."""
        return tuple(len(table) for table in self.submanifold)

    def tables(self) -> dict[str, NDArray[np.int32]]:
        """The tables by the names that exported graphs use for their inputs: submanifold_0, down_0, up_0, ..."""
        kinds = (("submanifold", self.submanifold), ("down", self.down), ("up", self.up))
        return {f"{kind}_{level}": table for kind, tables in kinds for level, table in enumerate(tables)}

    @cached_property
    def pairs(self) -> dict[str, Pairs]:
        """The occupied slots of each table, by the same names."""
        return {name: table_pairs(table) for name, table in self.tables().items()}


def build_rulebook(coordinates: NDArray[np.int32], levels: int, scan_of_voxel: NDArray[np.int32] | None = None) -> Rulebook:
    """Builds all tables of a pyramid.

    Args:
        coordinates: (V, 3) distinct cells, each within +-MAX_CELL.
        levels: number of levels L >= 1.
        scan_of_voxel: (V,) index in [0, 512) of the scan of a batch that each voxel belongs to; None for a single scan.

    Raises:
        CloudError: cells out of bounds or repeated.
    """
    scans = np.zeros(len(coordinates), np.int32) if scan_of_voxel is None else scan_of_voxel
    cells = np.ascontiguousarray(coordinates, dtype=np.int32)
    all_cells, submanifold, down, up = [], [], [], []
    for level in range(levels):
        keys = voxel_keys(cells, scans)
        table, distinct = _submanifold_table(keys, _key_offsets())
        if not distinct:
            raise CloudError("rulebook: a cell occurs twice, expected distinct cells; voxelise the cloud first.")
        all_cells.append(cells)
        submanifold.append(table)
        if level + 1 < levels:
            parents = cells >> 1
            parent_row, first = row_of_key(voxel_keys(parents, scans))
            slot = ((cells[:, 0] & 1) * 4 + (cells[:, 1] & 1) * 2 + (cells[:, 2] & 1)).astype(np.int32)
            strided, transposed = _strided_tables(parent_row, slot, len(first))
            down.append(strided)
            up.append(transposed)
            cells, scans = parents[first], scans[first]
    return Rulebook(tuple(all_cells), tuple(submanifold), tuple(down), tuple(up))


def voxel_keys(cells: NDArray[np.int32], scans: NDArray[np.int32]) -> NDArray[np.int64]:
    """(V,) one integer per cell and scan; neighbouring cells differ by constant amounts."""
    if len(cells) and (cells.max() > MAX_CELL or cells.min() < -MAX_CELL or scans.min() < 0 or scans.max() >= MAX_SCANS):
        raise CloudError(
            f"rulebook: cells from {cells.min()} to {cells.max()} and scans from {scans.min()} to {scans.max()}, expected "
            f"+-{MAX_CELL} at most and 0 to {MAX_SCANS - 1}; use larger voxels, a smaller range or a smaller batch."
        )
    x, y, z = (cells[:, axis].astype(np.int64) + 2**17 for axis in range(3))
    keys: NDArray[np.int64] = (((scans.astype(np.int64) << 18 | x) << 18 | y) << 18) | z
    return keys


def _key_offsets() -> NDArray[np.int64]:
    step = np.array([-1, 0, 1], np.int64)
    x, y, z = np.meshgrid(step, step, step, indexing="ij")
    offsets: NDArray[np.int64] = ((x << 36) + (y << 18) + z).ravel()
    return offsets


@numba.njit(cache=True, nogil=True, inline="always")
def _slot(key, shift):  # type: ignore[no-untyped-def]
    # Fibonacci hashing: only the product's top bits depend on all bits of the key.
    return (np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> shift


@numba.njit(cache=True, nogil=True)
def _empty_map(entries):  # type: ignore[no-untyped-def]
    bits = 4
    while (1 << bits) < 2 * entries:
        bits += 1
    size = 1 << bits
    return np.full(size, -1, np.int64), np.empty(size, np.int32), np.uint64(size - 1), np.uint64(64 - bits)


@numba.njit(cache=True, nogil=True)
def row_of_key(keys):  # type: ignore[no-untyped-def]
    """Numbers the distinct keys in order of first occurrence: (row int32 (N,), index of first occurrence int64 (V,))."""
    map_keys, map_rows, mask, shift = _empty_map(len(keys))
    row = np.empty(len(keys), np.int32)
    first = np.empty(len(keys), np.int64)
    count = 0
    for index in range(len(keys)):
        key = keys[index]
        slot = _slot(key, shift)
        while map_keys[slot] != -1 and map_keys[slot] != key:
            slot = (slot + np.uint64(1)) & mask
        if map_keys[slot] == -1:
            map_keys[slot] = key
            map_rows[slot] = count
            first[count] = index
            count += 1
        row[index] = map_rows[slot]
    return row, first[:count].copy()


@numba.njit(cache=True, nogil=True)
def _submanifold_table(keys, key_offsets):  # type: ignore[no-untyped-def]
    map_keys, map_rows, mask, shift = _empty_map(len(keys))
    table = np.full((len(keys), 27), -1, np.int32)
    for row in range(len(keys)):
        slot = _slot(keys[row], shift)
        while map_keys[slot] != -1:
            if map_keys[slot] == keys[row]:
                return table, False
            slot = (slot + np.uint64(1)) & mask
        map_keys[slot] = keys[row]
        map_rows[slot] = row
    for row in range(len(keys)):
        table[row, 13] = row
        # If b is a's neighbour at offset k, a is b's at 26 - k: half the searches are enough.
        for k in range(13):
            key = keys[row] + key_offsets[k]
            slot = _slot(key, shift)
            while map_keys[slot] != -1 and map_keys[slot] != key:
                slot = (slot + np.uint64(1)) & mask
            if map_keys[slot] == key:
                neighbour = map_rows[slot]
                table[row, k] = neighbour
                table[neighbour, 26 - k] = row
    return table, True


@numba.njit(cache=True, nogil=True)
def _strided_tables(parent_row, slot, parents):  # type: ignore[no-untyped-def]
    down = np.full((parents, 8), -1, np.int32)
    up = np.full((len(parent_row), 8), -1, np.int32)
    for row in range(len(parent_row)):
        down[parent_row[row], slot[row]] = row
        up[row, slot[row]] = parent_row[row]
    return down, up


@numba.njit(cache=True, nogil=True)
def _count_by_offset(table):  # type: ignore[no-untyped-def]
    count = np.zeros(table.shape[1], np.int64)
    for row in range(table.shape[0]):
        for k in range(table.shape[1]):
            count[k] += table[row, k] >= 0
    return count


@numba.njit(cache=True, nogil=True)
def _fill_pairs(table, splits):  # type: ignore[no-untyped-def]
    source = np.empty(splits[-1], np.int32)
    target = np.empty(splits[-1], np.int32)
    position = splits[:-1].copy()
    for row in range(table.shape[0]):
        for k in range(table.shape[1]):
            if table[row, k] >= 0:
                source[position[k]] = table[row, k]
                target[position[k]] = row
                position[k] += 1
    return source, target


def table_pairs(table: NDArray[np.int32]) -> Pairs:
    """The occupied slots of a table (V_out, K)."""
    splits = np.zeros(table.shape[1] + 1, np.int64)
    np.cumsum(_count_by_offset(table), out=splits[1:])
    source, target = _fill_pairs(table, splits)
    return Pairs(source, target, splits)

"""The rulebook: which voxel feeds which, for every convolution of a sparse U-Net.

It is the contract between all executors. A convolution over occupied voxels is fully described by a table (V_out, K): for each
output voxel and each kernel offset the input row, or -1 where that neighbour is empty. Three kinds make a U-Net:

- submanifold 3x3x3 within a level (K = 27): offset k is (k // 9 - 1, k // 3 % 3 - 1, k % 3 - 1), its mirror is 26 - k;
- strided 2x2x2 to the next level (K = 8): offset 4 (x & 1) + 2 (y & 1) + (z & 1), the next level's cell being the cell >> 1;
- its transpose back (K = 8): each fine voxel has one parent, in the slot by which it fed that parent.

Only the coarsest level is searched with a hash map: a neighbour of a cell is a child of a neighbour of its parent, so each finer
submanifold table is read off the next coarser one and the table of children, row by row and on every core.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from numpy.typing import NDArray

from relidar.errors import CloudError
from relidar.reused_memory import ReusedMemory
from relidar.row_parts import parts_of, run_parts, share

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
    threads: int = 0
    """Threads that list the pairs; 0 = one a core."""

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
        tables = self.tables()
        return dict(zip(tables, table_pairs(list(tables.values()), self.threads), strict=True))


def build_rulebook(
    coordinates: NDArray[np.int32], levels: int, scan_of_voxel: NDArray[np.int32] | None = None, threads: int = 0
) -> Rulebook:
    """Builds all tables of a pyramid.

    Args:
        coordinates: (V, 3) distinct cells, each within +-MAX_CELL.
        levels: number of levels L >= 1.
        scan_of_voxel: (V,) index in [0, 512) of the scan of a batch that each voxel belongs to; None for a single scan.
        threads: at most so many; 0 = one a core. The tables do not depend on it.

    Raises:
        CloudError: cells out of bounds or repeated.
    """
    scans = np.zeros(len(coordinates), np.int32) if scan_of_voxel is None else scan_of_voxel
    cells = np.ascontiguousarray(coordinates, dtype=np.int32)
    keys = [voxel_keys(cells, scans, threads)]
    parent_of = []
    for _ in range(levels - 1):
        parents, slot = np.empty(len(keys[-1]), np.int64), np.empty(len(keys[-1]), np.uint8)
        run_parts(_parent_keys, parts_of(len(slot), threads), keys[-1], parents, slot)
        parent_row, first = row_of_key(parents, threads)
        keys.append(parents[first])
        parent_of.append((parent_row, slot))
    down, up, submanifold = _empty_tables([len(level_keys) for level_keys in keys])
    for table in down:
        table.fill(-1)
    strided = [(*of_level, *tables) for of_level, *tables in zip(parent_of, down, up, strict=True)]
    run_parts(_each_table, parts_of(len(cells), threads), _strided_tables, strided)
    distinct = bool(_submanifold_table(keys[-1], _KEY_OFFSETS, submanifold[-1]))
    for level in reversed(range(levels - 1)):
        parts = parts_of(len(up[level]), threads)
        whole = np.ones(parts, np.bool_)
        tables = (submanifold[level + 1], down[level], submanifold[level])
        run_parts(_finer_table, parts, *parent_of[level], *tables, whole)
        distinct &= bool(whole.all())
    if not distinct:
        raise CloudError("rulebook: a cell occurs twice, expected distinct cells; voxelise the cloud first.")
    coarser = (cells_of_keys(level_keys) for level_keys in keys[1:])
    return Rulebook((cells, *coarser), tuple(submanifold), tuple(down), tuple(up), threads)


_memory = ReusedMemory()


def _empty_tables(voxels: Sequence[int]) -> tuple[list[NDArray[np.int32]], ...]:
    """The down, up and submanifold tables of levels of so many voxels."""
    shapes = [(coarse, STRIDED_OFFSETS) for coarse in voxels[1:]] + [(fine, STRIDED_OFFSETS) for fine in voxels[:-1]]
    tables = _memory.arrays(shapes + [(rows, SUBMANIFOLD_OFFSETS) for rows in voxels])
    steps = len(voxels) - 1
    return tables[:steps], tables[steps : 2 * steps], tables[2 * steps :]


def voxel_keys(cells: NDArray[np.int32], scans: NDArray[np.int32], threads: int = 0) -> NDArray[np.int64]:
    """(V,) one integer per cell and scan, not negative; neighbouring cells differ by constant amounts."""
    keys = np.empty(len(cells), np.int64)
    run_parts(_keys_of_cells, parts_of(len(cells), threads), cells, np.ascontiguousarray(scans, np.int32), keys)
    if len(cells) and keys.min() < 0:
        raise CloudError(
            f"rulebook: cells from {cells.min()} to {cells.max()} and scans from {scans.min()} to {scans.max()}, expected "
            f"+-{MAX_CELL} at most and 0 to {MAX_SCANS - 1}; use larger voxels, a smaller range or a smaller batch."
        )
    return keys


def row_of_key(keys: NDArray[np.int64], threads: int = 0) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Numbers the distinct keys in order of first occurrence; a negative key is none.

    Returns:
        (N,) row of each key, -1 for none, and (V,) index at which each row's key occurs first.
    """
    earliest = np.empty(len(keys), np.int32)
    run_parts(_earliest_of_key, parts_of(len(keys), threads), keys, earliest)
    return _number_rows(earliest)  # type: ignore[no-any-return]


@numba.njit(cache=True, nogil=True)
def cells_of_keys(keys):  # type: ignore[no-untyped-def]
    """(V, 3) int32 cells that voxel_keys made the keys of."""
    cells = np.empty((len(keys), 3), np.int32)
    for row in range(len(keys)):
        for axis in range(3):
            cells[row, axis] = ((keys[row] >> (36 - 18 * axis)) & _FIELD) - _BIAS
    return cells


@numba.njit(cache=True, nogil=True, inline="always")
def key_of_cell(scan, x, y, z):  # type: ignore[no-untyped-def]
    """The key of one cell within bounds."""
    return ((((np.int64(scan) << 18) | (np.int64(x) + _BIAS)) << 18 | (np.int64(y) + _BIAS)) << 18) | (np.int64(z) + _BIAS)


_BIAS = 2**17
_FIELD = 2**18 - 1
# Of a key shifted right by one: the bits that stay in their field, and what brings halved biased cells back to the full bias.
_HALVED = (2**17 - 1) * (2**36 + 2**18 + 1)
_HALF_BIAS = 2**16 * (2**36 + 2**18 + 1)
_SCAN = (MAX_SCANS - 1) << 54


def _key_offsets() -> NDArray[np.int64]:
    step = np.array([-1, 0, 1], np.int64)
    x, y, z = np.meshgrid(step, step, step, indexing="ij")
    offsets: NDArray[np.int64] = ((x << 36) + (y << 18) + z).ravel()
    return offsets


def _neighbours_of_children() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(8, 27) each: the neighbour k of a child in slot s is child `slot[s, k]` of its parent's neighbour `offset[s, k]`."""
    s, k = np.meshgrid(np.arange(STRIDED_OFFSETS), np.arange(SUBMANIFOLD_OFFSETS), indexing="ij")
    offset, slot = np.zeros_like(s), np.zeros_like(s)
    for axis in range(3):
        cell = (s >> (2 - axis) & 1) + k // 3 ** (2 - axis) % 3 - 1  # -1 to 2, seen from the parent's corner
        offset = 3 * offset + (cell >> 1) + 1
        slot = 2 * slot + (cell & 1)
    return offset, slot


_KEY_OFFSETS = _key_offsets()
_PARENT_OFFSET, _CHILD_SLOT = _neighbours_of_children()


@numba.njit(cache=True, nogil=True)
def _keys_of_cells(part, parts, cells, scans, keys):  # type: ignore[no-untyped-def]
    start, end = share(part, parts, len(cells))
    for row in range(start, end):
        x, y, z, scan = cells[row, 0], cells[row, 1], cells[row, 2], scans[row]
        low, high = min(x, y, z), max(x, y, z)
        if low < -MAX_CELL or high > MAX_CELL or scan < 0 or scan >= MAX_SCANS:
            keys[row] = -1
        else:
            keys[row] = key_of_cell(scan, x, y, z)


@numba.njit(cache=True, nogil=True)
def _parent_keys(part, parts, keys, parents, slot):  # type: ignore[no-untyped-def]
    start, end = share(part, parts, len(keys))
    for row in range(start, end):
        key = keys[row]
        parents[row] = (key & _SCAN) | (((key >> 1) & _HALVED) + _HALF_BIAS)
        slot[row] = (key >> 34 & 4) | (key >> 17 & 2) | (key & 1)


@numba.njit(cache=True, nogil=True, inline="always")
def _hash(key):  # type: ignore[no-untyped-def]
    # Fibonacci hashing: only the product's top bits depend on all bits of the key.
    return np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)


@numba.njit(cache=True, nogil=True, inline="always")
def _owner(key, parts):  # type: ignore[no-untyped-def]
    # Of a second product, so that the keys of one part spread over all of its map.
    return ((np.uint64(key) * np.uint64(0xD6E8FEB86659FD93)) >> np.uint64(32)) * np.uint64(parts) >> np.uint64(32)


@numba.njit(cache=True, nogil=True)
def _empty_map(entries):  # type: ignore[no-untyped-def]
    """(slots that hold an index into the keys or -1, mask of a slot, shift that makes a hash a slot); at most half full."""
    bits = 4
    while (1 << bits) < 2 * entries:
        bits += 1
    return np.full(1 << bits, -1, np.int32), np.uint64((1 << bits) - 1), np.uint64(64 - bits)


@numba.njit(cache=True, nogil=True)
def _earliest_of_key(part, parts, keys, earliest):  # type: ignore[no-untyped-def]
    """Each part looks after the keys that it owns: no two parts write to one place."""
    mine = np.uint64(part)
    entries = 0
    for index in range(len(keys)):
        entries += keys[index] >= 0 and (parts == 1 or _owner(keys[index], parts) == mine)
    slots, mask, shift = _empty_map(entries)
    for index in range(len(keys)):
        key = keys[index]
        if key < 0:
            earliest[index] = -1
        elif parts == 1 or _owner(key, parts) == mine:
            slot = _hash(key) >> shift
            while slots[slot] >= 0 and keys[slots[slot]] != key:
                slot = (slot + np.uint64(1)) & mask
            if slots[slot] < 0:
                slots[slot] = index
            earliest[index] = slots[slot]


@numba.njit(cache=True, nogil=True)
def _number_rows(earliest):  # type: ignore[no-untyped-def]
    row = np.empty(len(earliest), np.int32)
    first = np.empty(len(earliest), np.int64)
    count = 0
    for index in range(len(earliest)):
        if earliest[index] == index:
            first[count] = index
            row[index] = count
            count += 1
        else:
            row[index] = -1 if earliest[index] < 0 else row[earliest[index]]
    return row, first[:count].copy()


@numba.njit(cache=True, nogil=True)
def _strided_tables(part, parts, parent_row, slot, down, up):  # type: ignore[no-untyped-def]
    start, end = share(part, parts, len(parent_row))
    for row in range(start, end):
        down[parent_row[row], slot[row]] = row
        for k in range(8):
            up[row, k] = parent_row[row] if k == slot[row] else -1


@numba.njit(cache=True, nogil=True)
def _submanifold_table(keys, key_offsets, table):  # type: ignore[no-untyped-def]
    """Fills the table of a level by search; returns whether all cells are distinct."""
    slots, mask, shift = _empty_map(len(keys))
    table[:] = -1
    for row in range(len(keys)):
        slot = _hash(keys[row]) >> shift
        while slots[slot] >= 0:
            if keys[slots[slot]] == keys[row]:
                return False
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = row
    for row in range(len(keys)):
        table[row, 13] = row
        # If b is a's neighbour at offset k, a is b's at 26 - k: half the searches are enough.
        for k in range(13):
            key = keys[row] + key_offsets[k]
            slot = _hash(key) >> shift
            while slots[slot] >= 0 and keys[slots[slot]] != key:
                slot = (slot + np.uint64(1)) & mask
            if slots[slot] >= 0:
                neighbour = slots[slot]
                table[row, k] = neighbour
                table[neighbour, 26 - k] = row
    return True


@numba.njit(cache=True, nogil=True)
def _finer_table(part, parts, parent_row, slot, coarse, children, table, whole):  # type: ignore[no-untyped-def]
    """Reads each row's neighbours among the children of its parent's neighbours; of two equal cells one does not find itself."""
    start, end = share(part, parts, len(parent_row))
    for row in range(start, end):
        parent, s = parent_row[row], slot[row]
        for k in range(27):
            neighbour = coarse[parent, _PARENT_OFFSET[s, k]]
            table[row, k] = children[neighbour, _CHILD_SLOT[s, k]] if neighbour >= 0 else -1
        whole[part] &= table[row, 13] == row


def table_pairs(tables: Sequence[NDArray[np.int32]], threads: int = 0) -> list[Pairs]:
    """The occupied slots of tables (V_out, K)."""
    parts = parts_of(max(map(len, tables)), threads)
    counts = [np.empty((parts, table.shape[1]), np.int64) for table in tables]
    run_parts(_each_table, parts, _count_by_offset, list(zip(tables, counts, strict=True)))
    firsts, pairs = [], []
    for count in counts:
        splits = np.zeros(count.shape[1] + 1, np.int64)
        np.cumsum(count.sum(axis=0), out=splits[1:])
        firsts.append(splits[:-1] + np.cumsum(count, axis=0) - count)  # where each part writes its first pair of each offset
        pairs.append(Pairs(np.empty(splits[-1], np.int32), np.empty(splits[-1], np.int32), splits))
    places = [(table, first, p.source, p.target) for table, first, p in zip(tables, firsts, pairs, strict=True)]
    run_parts(_each_table, parts, _fill_pairs, places)
    return pairs


def _each_table(part: int, parts: int, kernel: Callable[..., None], arguments: Sequence[tuple[object, ...]]) -> None:
    for of_table in arguments:
        kernel(part, parts, *of_table)


@numba.njit(cache=True, nogil=True)
def _count_by_offset(part, parts, table, count):  # type: ignore[no-untyped-def]
    start, end = share(part, parts, len(table))
    occupied = np.zeros(table.shape[1], np.int32)
    for row in range(start, end):
        for k in range(table.shape[1]):
            occupied[k] += np.int32(table[row, k] >= 0)
    count[part] = occupied


@numba.njit(cache=True, nogil=True)
def _fill_pairs(part, parts, table, first, source, target):  # type: ignore[no-untyped-def]
    start, end = share(part, parts, len(table))
    position = first[part].copy()
    for row in range(start, end):
        for k in range(table.shape[1]):
            if table[row, k] >= 0:
                source[position[k]] = table[row, k]
                target[position[k]] = row
                position[k] += 1

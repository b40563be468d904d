"""The rulebook: which voxel feeds which, for every convolution of a sparse U-Net.

It is the contract between all executors. A convolution over occupied voxels is fully described by a table (V_out, K): for each
output voxel and each kernel offset the input row, or -1 where that neighbour is empty. Three kinds make a U-Net:

- submanifold 3x3x3 within a level (K = 27): offset k is (k // 9 - 1, k // 3 % 3 - 1, k % 3 - 1), its mirror is 26 - k;
- strided 2x2x2 to the next level (K = 8): offset 4 (x & 1) + 2 (y & 1) + (z & 1), the next level's cell being the cell >> 1;
- its transpose back (K = 8): each fine voxel has one parent, in the slot by which it fed that parent.

Cells are halved until few are left or halving no longer helps, further than the network needs if that is not far enough. Only the
neighbours of those few are searched for with a hash map; all finer submanifold tables are read off the next coarser one, on every
core.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from relidar.cell_keys import MAX_CELL, MAX_SCANS, cells_of_keys, voxel_keys
from relidar.errors import CloudError
from relidar.key_numbers import number_parents, slots_needed
from relidar.level_tables import read_neighbours, search_neighbours
from relidar.pairs import Pairs, table_pairs
from relidar.reused_memory import ReusedMemory
from relidar.row_parts import parts_of, run_parts

__all__ = [
    "MAX_CELL",
    "MAX_SCANS",
    "STRIDED_OFFSETS",
    "SUBMANIFOLD_OFFSETS",
    "Pairs",
    "Rulebook",
    "build_rulebook",
    "table_pairs",
]

SUBMANIFOLD_OFFSETS = 27
STRIDED_OFFSETS = 8
FEW = 128
"""Voxels whose neighbours are searched for as quickly as they are halved once more."""


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
        CloudError: cells out of bounds or repeated, arrays of another shape or type, or no level.
    """
    cells = np.ascontiguousarray(coordinates)
    scans = np.zeros(len(cells), np.int32) if scan_of_voxel is None else scan_of_voxel
    if cells.shape != (len(cells), 3) or scans.shape != (len(cells),) or not cells.dtype == scans.dtype == np.int32:
        raise CloudError(
            f"rulebook: cells {cells.dtype} {cells.shape}, scans {scans.dtype} {scans.shape}; expected int32 (V, 3) and (V,)."
        )
    if levels < 1:
        raise CloudError(f"rulebook: {levels} levels, expected at least 1.")
    slots, keys = _scratch.arrays([(slots_needed(len(cells)),), (len(cells),)], [np.int32, np.int64])
    voxel_keys(cells, scans, keys, threads)
    pyramid = [_level(0, keys, slots)]
    while len(pyramid) < levels or FEW < len(pyramid[-1].parents) < len(pyramid[-1].keys) / 2:
        pyramid.append(_level(len(pyramid), pyramid[-1].parents, slots))
    search_neighbours(pyramid[-1].keys, slots[: slots_needed(len(pyramid[-1].keys))], pyramid[-1].submanifold)
    for fine, coarse in zip(pyramid[-2::-1], pyramid[:0:-1], strict=True):
        tables = (coarse.submanifold, fine.down, fine.parent_row, fine.place, fine.submanifold, fine.up)
        run_parts(read_neighbours, parts_of(_WORK * len(fine.keys), threads), *tables)
    asked = pyramid[:levels]
    return Rulebook(
        (cells, *(cells_of_keys(level.keys) for level in asked[1:])),
        tuple(level.submanifold for level in asked),
        tuple(level.down[1:] for level in asked[:-1]),
        tuple(level.up for level in asked[:-1]),
        threads,
    )


_WORK = 4
"""What reading the neighbours of a row costs, in rows of most kernels."""
_scratch = ReusedMemory()
"""For what is needed while a rulebook is built."""
_memory_of_level: dict[int, ReusedMemory] = {}


@dataclass(frozen=True)
class _Level:
    """A level of V voxels and the step to the V' of the next."""

    keys: NDArray[np.int64]
    """(V,)"""
    submanifold: NDArray[np.int32]
    """(V, 27)"""
    parents: NDArray[np.int64]
    """(V',) keys of the next level."""
    parent_row: NDArray[np.int32]
    """(V,)"""
    place: NDArray[np.uint8]
    """(V,) which of its parent's children each voxel is."""
    down: NDArray[np.int32]
    """(1 + V', 8), the first row of -1 only: the children of no voxel."""
    up: NDArray[np.int32]
    """(V, 8)"""


def _level(number: int, keys: NDArray[np.int64], slots: NDArray[np.int32]) -> _Level:
    """A level and the step from it, without the tables that take the next level's: `submanifold` and `up`."""
    memory = _memory_of_level.setdefault(number, ReusedMemory())
    voxels = len(keys)
    shapes = [
        (voxels, SUBMANIFOLD_OFFSETS),
        (voxels, STRIDED_OFFSETS),
        (voxels,),
        (voxels,),
        (voxels,),
        (1 + voxels, STRIDED_OFFSETS),
    ]
    types: list[type[np.generic]] = [np.int32, np.int32, np.int32, np.uint8, np.int64, np.int32]
    submanifold, up, parent_row, place, parents, down = memory.arrays(shapes, types)
    down[0] = -1
    count = number_parents(keys, slots[: slots_needed(voxels)], parents, parent_row, place, down[1:])
    if count < 0:
        raise CloudError("rulebook: a cell occurs twice, expected distinct cells; voxelise the cloud first.")
    return _Level(keys, submanifold, parents[:count], parent_row, place, down[: 1 + count], up)

"""Submanifold tables: of the coarsest level by search, of each finer one read off the next coarser one.

A neighbour of a cell is a child of a neighbour of its parent. Of the three neighbours in a column along z one is a child of one
parent and two, which lie side by side in the table of children, are children of another.
"""

import numpy as np
from numpy.typing import NDArray

from relidar.cached_kernel import cached_kernel
from relidar.cell_keys import NEIGHBOUR_STEPS
from relidar.key_numbers import first_slot, next_slot
from relidar.raw_memory import prefetch
from relidar.row_parts import share


@cached_kernel()
def search_neighbours(keys, slots, table):  # type: ignore[no-untyped-def]
    """Fills a table by hashing.

    Args:
        keys: (V,) of distinct cells.
        slots: (slots_needed(V),) int32, to work with.
        table: (V, 27) int32, written: rows of neighbours, -1 where there is none.
    """
    slots[:] = -1
    table[:] = -1
    for row in range(len(keys)):
        slot = first_slot(keys[row], slots)
        while slots[slot] >= 0:
            slot = next_slot(slot, slots)
        slots[slot] = table[row, 13] = row
    for row in range(len(keys)):
        # If b is a's neighbour at offset k, a is b's at 26 - k: half the searches are enough.
        for k in range(13):
            key = keys[row] + NEIGHBOUR_STEPS[k]
            slot = first_slot(key, slots)
            while slots[slot] >= 0 and keys[slots[slot]] != key:
                slot = next_slot(slot, slots)
            neighbour = slots[slot]
            if neighbour >= 0:
                table[row, k] = neighbour
                table[neighbour, 26 - k] = row


def _columns() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(8, 18) each, of a child in each slot: the parent's neighbour and its child slot for the nine single neighbours, then the
    same for the first of the nine pairs."""
    parent, slot = np.zeros((8, 18), np.int64), np.zeros((8, 18), np.int64)
    child, column = np.meshgrid(np.arange(8), np.arange(18), indexing="ij")
    upper = child & 1  # the pair is in the child's own parent: below a child that is above, above one that is below
    z = np.where(column < 9, 3 * upper - 1, 0)
    for cell in (
        (child >> 2 & 1) + column % 9 // 3 - 1,
        (child >> 1 & 1) + column % 3 - 1,
        z,
    ):  # -1 to 2, from the parent's corner
        parent = 3 * parent + (cell >> 1) + 1
        slot = 2 * slot + (cell & 1)
    return parent, slot


_PARENT, _SLOT = (of_child.astype(np.uint8) for of_child in _columns())
_AHEAD = 6
"""Rows; the children of a coarser cell's neighbours lie anywhere."""


@cached_kernel()
def read_neighbours(part, parts, coarse, down, parent_row, place, table, up):  # type: ignore[no-untyped-def]
    """Fills a level's table from that of the next coarser one, and the table of parents.

    There are no branches: none of them could be predicted.

    Args:
        part, parts: of the level's rows.
        coarse: (V', 27) int32, the coarser level's table.
        down: (1 + V', 8) int32, the children of the coarser level's cells, a row of -1 before all others.
        parent_row: (V,) int32, each cell's parent.
        place: (V,) uint8, which of its parent's children each cell is.
        table: (V, 27) int32, written.
        up: (V, 8) int32, written: `parent_row` in the slot `place`, -1 in all others.
    """
    start, end = share(part, parts, len(table))
    values, children = table.reshape(-1), down.reshape(-1)
    for row in range(start, end):
        later = min(row + _AHEAD, end - 1)
        parent, child = np.uint32(parent_row[later]), place[later]
        for column in (0, 2, 6, 8, 9, 11, 15, 17):  # one of each of the eight parents
            prefetch(down.ctypes.data + 32 * (np.int64(coarse[parent, _PARENT[child, column]]) + 1))
        parent, child = np.uint32(parent_row[row]), place[row]
        for k in range(8):
            up[row, k] = -1
        up[row, child] = parent
        single = np.uint64(27 * row + 2 * (child & 1))
        pair = np.uint64(27 * row + 1 - (child & 1))
        for column in range(9):
            lone = np.uint32((coarse[parent, _PARENT[child, column]] + 1) * 8 + _SLOT[child, column])
            first = np.uint32((coarse[parent, _PARENT[child, 9 + column]] + 1) * 8 + _SLOT[child, 9 + column])
            values[single], one, two = children[lone], children[first], children[first + np.uint32(1)]
            values[pair] = one
            values[pair + np.uint64(1)] = two
            single += np.uint64(3)
            pair += np.uint64(3)

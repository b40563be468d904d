"""The pairs of a table, block by block of its rows: of each block and kernel offset the occupied slots.

The offsets take turns, the one that maps each row of a submanifold table to itself first. Within a turn come first the pairs that
are their row's first ones, which start it, then the others, which add to it; at the end the rows without any pair. So a product
writes each row before it reads it, and nobody needs to clear it before.
"""

import numba
import numpy as np
from numba import carray

from relidar.compiled.steps import FAULTS
from relidar.raw_memory import atomic_add, i32_at, i64_at, u8_at
from relidar.rulebook import SUBMANIFOLD_OFFSETS

_CENTRE = SUBMANIFOLD_OFFSETS // 2
NOT_YET = np.uint8(255)


@numba.njit(nogil=True, inline="always")
def offset_of_turn(turn, offsets):  # type: ignore[no-untyped-def]
    """The kernel offset of a turn."""
    if offsets != SUBMANIFOLD_OFFSETS or turn > _CENTRE:
        return turn
    return turn - 1 if turn else _CENTRE


@numba.njit(nogil=True, inline="always")
def splits_of(offsets):  # type: ignore[no-untyped-def]
    """int64 of a block in `splits`: where both parts of each turn start, where the rows without pairs do, and the end."""
    return 2 * offsets + 2


@numba.njit(nogil=True)
def pairs_of_block(step, block, shared, scratch):  # type: ignore[no-untyped-def]
    """Runs a step of kind PAIRS for one block; scratch: a byte a row."""
    start = block * step.block_rows
    rows = min(step.rows - start, step.block_rows)
    offsets, table_rows = step.offsets, np.uint32(step.table_rows)
    table = carray(i32_at(step.table), (step.rows, offsets))
    # A block has room for all its slots, so no block needs to know how many others have.
    source = carray(i32_at(step.source), step.rows * offsets)
    target = carray(i32_at(step.target), step.rows * offsets)
    splits = carray(i64_at(step.splits), (step.blocks, splits_of(offsets)))
    started_in = carray(u8_at(scratch), rows)  # turn of each row's first pair
    started_in[:] = NOT_YET
    position, left, faults = start * offsets, rows, 0
    for turn in range(offsets):
        offset = offset_of_turn(turn, offsets)
        splits[block, 2 * turn] = position
        adding = 0 if left else rows
        if left:
            for row in range(rows):
                neighbour = table[start + row, offset]
                occupied = np.uint32(neighbour) < table_rows
                starts = occupied and started_in[row] == NOT_YET
                adding += occupied and not starts
                faults += neighbour >= step.table_rows
                # Written always and kept if it starts a row: the slot is free, and nothing needs to be guessed.
                source[position], target[position] = neighbour, start + row
                position += starts
                started_in[row] = turn if starts else started_in[row]
        splits[block, 2 * turn + 1] = position
        for row in range(rows if adding else 0):
            neighbour = table[start + row, offset]
            if neighbour >= step.table_rows:
                faults += left == 0
            elif neighbour >= 0 and started_in[row] != turn:
                source[position], target[position] = neighbour, start + row
                position += 1
        left -= splits[block, 2 * turn + 1] - splits[block, 2 * turn]
    splits[block, 2 * offsets] = position
    for row in range(rows if left else 0):
        if started_in[row] == NOT_YET:
            target[position] = start + row
            position += 1
    splits[block, 2 * offsets + 1] = position
    if faults:
        atomic_add(shared + 8 * FAULTS, faults)

"""Numbers for distinct keys in the order in which they first occur, by hashing.

Whether a key is new is as good as random, and a branch on it would be mispredicted every other time. So the loops have none: each
key is first written down as if it were new, and an empty slot of the map leads there.
"""

import numba
import numpy as np

from relidar.cached_kernel import cached_kernel
from relidar.cell_keys import child_slot, parent_key


def slots_needed(entries: int) -> int:
    """Slots of a map of so many keys: a power of two, at most half full."""
    return max(16, 1 << (2 * entries - 1).bit_length())


@numba.njit(nogil=True, inline="always")
def first_slot(key, slots):  # type: ignore[no-untyped-def]
    """For kernels: where the search for a key begins; the next one is `next_slot`."""
    # Fibonacci hashing: only the product's top bits depend on all bits of the key.
    return ((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) * np.uint64(len(slots)) >> np.uint64(32)


@numba.njit(nogil=True, inline="always")
def next_slot(slot, slots):  # type: ignore[no-untyped-def]
    """For kernels: where the search goes on."""
    return (slot + np.uint64(1)) & np.uint64(len(slots) - 1)


@numba.njit(nogil=True, inline="always")
def find_slot(key, slots, numbered, count):  # type: ignore[no-untyped-def]
    """For kernels: the slot that leads to a key, which is the one at numbered[count] if it has no number yet."""
    slot = first_slot(key, slots)
    while numbered[number_at(slot, slots, count)] != key:
        slot = next_slot(slot, slots)
    return slot


@numba.njit(nogil=True, inline="always")
def number_at(slot, slots, count):  # type: ignore[no-untyped-def]
    """For kernels: the number that a slot leads to, `count` from an empty one."""
    number = slots[slot]
    return np.uint32(count) if number < 0 else np.uint32(number)


@cached_kernel()
def number_keys(keys, slots, numbers, distinct):  # type: ignore[no-untyped-def]
    """Numbers keys; a negative one is none.

    Args:
        keys: (N,) int64.
        slots: (slots_needed(N),) int32, to work with.
        numbers: (N,) int32, written: the number of each key, -1 for none.
        distinct: (N,) int64, written: the key of each number.

    Returns:
        How many there are.
    """
    slots[:] = -1
    count = 0
    for index in range(len(keys)):
        key = keys[index]
        if key < 0:
            numbers[index] = -1
            continue
        distinct[count] = key
        slot = find_slot(key, slots, distinct, count)
        number = number_at(slot, slots, count)
        slots[slot] = number
        numbers[index] = number
        count += number == count
    return count


@cached_kernel()
def number_parents(keys, slots, parents, parent_row, place, down):  # type: ignore[no-untyped-def]
    """Numbers the parents of a level's cells and fills the table of their children.

    Args:
        keys: (V,) of the level's cells.
        slots: (slots_needed(V),) int32, to work with.
        parents: (V,) int64, written: the key of each parent, as far as there are parents.
        parent_row: (V,) int32, written: the number of each cell's parent.
        place: (V,) uint8, written: which of its parent's children each cell is.
        down: (V, 8) int32, written: the children of each parent, -1 where there is none.

    Returns:
        How many there are, -1 if a cell occurs twice.
    """
    slots[:] = -1
    count = 0
    repeated = False
    for row in range(len(keys)):
        parent, child = parent_key(keys[row]), np.uint32(child_slot(keys[row]))
        parents[count] = parent
        for k in range(8):
            down[count, k] = -1
        slot = find_slot(parent, slots, parents, count)
        number = number_at(slot, slots, count)
        slots[slot] = parent_row[row] = number
        place[row] = child
        repeated |= down[number, child] >= 0
        down[number, child] = row
        count += number == count
    return -1 if repeated else count

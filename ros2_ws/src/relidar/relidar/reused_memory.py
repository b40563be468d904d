"""Memory for the arrays of a scan, used again by a later scan: to get fresh pages takes longer than to fill them.

It matters most in the node, where freed memory goes back to the system at once (`relidar.freed_memory`).
"""

import math
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCKS = 2
"""Kept: while a scan's tables live the next one needs others."""
GROWTH = 1.25
"""A new block is larger than its scan needs, since the next scan may need a little more."""
MOST_WASTE = 4.0
"""A block so many times too large is let go of: a single huge scan shall not cost memory for days."""
_ALIGNED = 64
"""Bytes in a line of the cache."""


_lock = threading.Lock()
"""Held for moments, by whoever looks for a block of any memory."""


class ReusedMemory:
    """Arrays that share a block of memory, which serves again once none of them is referred to."""

    def __init__(self) -> None:
        self._blocks: list[NDArray[np.uint8]] = []

    def arrays(
        self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[type[np.generic]] | type[np.generic] = np.int32
    ) -> list[NDArray[Any]]:
        """One array for each shape, of one type or each of its own, contents undefined, whose memory nobody else refers to."""
        each = [np.dtype(dtype) for dtype in dtypes] if isinstance(dtypes, Sequence) else [np.dtype(dtypes)] * len(shapes)
        starts = [0]
        for shape, dtype in zip(shapes, each, strict=True):
            starts.append(starts[-1] + -(-math.prod(shape) * dtype.itemsize // _ALIGNED) * _ALIGNED)
        with _lock:
            block = self._free_block(starts[-1] + _ALIGNED)
            first = -block.ctypes.data % _ALIGNED
            places = [first + start for start in starts[:-1]]
            return [np.ndarray(shape, dtype, block, at) for shape, dtype, at in zip(shapes, each, places, strict=True)]

    def _free_block(self, size: int) -> NDArray[np.uint8]:
        # Every view refers to its block, so one that has two references, the list and this question, has no view.
        free = [index for index in range(len(self._blocks)) if sys.getrefcount(self._blocks[index]) == 2]
        for index in free:
            if size <= len(self._blocks[index]) <= MOST_WASTE * GROWTH * max(size, 1):
                return self._blocks[index]
        if free or len(self._blocks) == BLOCKS:
            del self._blocks[free[0] if free else 0]  # too small or too large, or taken by whoever keeps its tables
        self._blocks.append(np.empty(int(GROWTH * size), np.uint8))
        return self._blocks[-1]


def _new_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)  # the thread that held it may not be there in the child

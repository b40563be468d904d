"""The pairs of a table: its occupied slots only, offset by offset, as gather-and-scatter convolutions want them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from relidar.cached_kernel import cached_kernel
from relidar.errors import CloudError
from relidar.raw_memory import i32_at
from relidar.reused_memory import ReusedMemory
from relidar.row_parts import parts_of, run_parts, share
from relidar.set_bits import eight_occupied, lowest_bit

LEAST_OFFSETS, MOST_OFFSETS = 8, 31
"""Kernel offsets: eight are looked at together, and those of a row are bits of 32."""


@dataclass(frozen=True)
class Pairs:
    """A table's occupied slots only, sorted by kernel offset, then output row."""

    source: NDArray[np.int32]
    """(P,) input rows."""
    target: NDArray[np.int32]
    """(P,) output rows, unique within one offset."""
    splits: NDArray[np.int64]
    """(K + 1,) pairs of offset k are splits[k]:splits[k + 1]."""


_scratch, _memory = ReusedMemory(), ReusedMemory()


def table_pairs(tables: Sequence[NDArray[np.int32]], threads: int = 0) -> list[Pairs]:
    """The occupied slots of tables.

    Args:
        tables: (V_out, K) each, K from LEAST_OFFSETS to MOST_OFFSETS.
        threads: at most so many; 0 = one a core. The pairs do not depend on it.

    Raises:
        CloudError: a table has another K or other dimensions.
    """
    if not tables:
        return []
    if not all(table.ndim == 2 and LEAST_OFFSETS <= table.shape[1] <= MOST_OFFSETS for table in tables):
        raise CloudError(
            f"pairs: tables {[t.shape for t in tables]}, expected (V_out, K) each, K from {LEAST_OFFSETS} to {MOST_OFFSETS}."
        )
    tables = [np.ascontiguousarray(table, np.int32) for table in tables]
    # One call for all tables, by their addresses, since a call costs about as much as a thousand rows.
    where = np.array([(table.ctypes.data, *table.shape) for table in tables], np.int64)
    parts = parts_of(int(where[:, 1].sum()), threads)
    count = np.empty((len(tables), MOST_OFFSETS + 1, parts), np.int64)
    (occupied,) = _scratch.arrays([(int(where[:, 1].sum()),)], np.uint32)
    run_parts(_count_by_offset, parts, where, occupied, count)
    # All pairs lie one behind the other: table by table, in it offset by offset, of an offset part by part.
    ends = count.cumsum()
    first = ends.reshape(count.shape) - count
    source, target = _memory.arrays([(int(ends[-1]),)] * 2)
    run_parts(_fill_pairs, parts, where, occupied, first, source, target)
    splits = [starts[: table.shape[1] + 1] for starts, table in zip(first[:, :, 0], tables, strict=True)]
    return [Pairs(source[s[0] : s[-1]], target[s[0] : s[-1]], s - s[0]) for s in splits]


_CHUNK = 255
"""Rows whose bits are added up in bytes."""
_BYTES = np.array([sum((bits >> k & 1) << 8 * k for k in range(8)) for bits in range(256)], np.uint64)
"""Eight bits as eight bytes."""


@cached_kernel()
def _count_by_offset(part, parts, where, occupied, count):  # type: ignore[no-untyped-def]
    total = np.empty(count.shape[1], np.int64)
    before = 0
    for table in range(len(where)):
        address, rows, offsets = where[table]
        start, end = share(part, parts, rows)
        total[:] = 0
        for begin in range(start, end, _CHUNK):
            chunk = occupied[before + begin : before + min(begin + _CHUNK, end)]
            for index in range(len(chunk)):
                row = address + 4 * offsets * (begin + index)
                bits = eight_occupied(row)
                for first in range(8, offsets - 7, 8):
                    bits |= eight_occupied(row + 4 * first) << np.uint32(first)
                chunk[index] = bits | eight_occupied(row + 4 * (offsets - 8)) << np.uint32(offsets - 8)
            for first in range(0, offsets, 8):
                sums = np.uint64(0)
                for bits in chunk:
                    sums += _BYTES[bits >> np.uint32(first) & np.uint32(255)]
                for k in range(8):
                    total[first + k] += sums >> np.uint64(8 * k) & np.uint64(255)
        count[table, :, part] = total
        before += rows


@cached_kernel()
def _fill_pairs(part, parts, where, occupied, first, source, target):  # type: ignore[no-untyped-def]
    position = np.empty(first.shape[1], np.int64)
    before = 0
    for number in range(len(where)):
        address, rows, offsets = where[number]
        start, end = share(part, parts, rows)
        table = numba.carray(i32_at(address), (rows, offsets))
        position[:] = first[number, :, part]
        for row in range(start, end):
            slots = occupied[before + row]
            while slots:
                k = lowest_bit(slots)
                slots &= slots - np.uint32(1)
                at = np.uint64(position[k])
                source[at] = table[row, k]
                target[at] = row
                position[k] += 1
        before += rows

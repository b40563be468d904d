"""Which pairs a block lists, and that each row has one that starts it."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relidar.compiled.block_pairs import offset_of_turn, pairs_of_block, splits_of
from relidar.compiled.steps import COUNTERS, FAULTS, STEP


@numba.njit
def list_blocks(steps, shared, scratch):  # type: ignore[no-untyped-def]
    for block in range(steps[0].blocks):
        pairs_of_block(steps[0], block, shared, scratch)


def listed(table: np.ndarray, table_rows: int, block_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """source, target and splits of all blocks, and the number of faults."""
    rows, offsets = table.shape
    blocks = -(-rows // block_rows)
    source, target = np.full(table.size, -9, np.int32), np.full(table.size, -9, np.int32)
    splits = np.full((blocks, splits_of(offsets)), -9, np.int64)
    steps, shared, scratch = np.zeros(1, STEP), np.zeros(COUNTERS, np.int64), np.full(block_rows, 7, np.uint8)
    sizes = {"rows": rows, "block_rows": block_rows, "blocks": blocks, "offsets": offsets, "table_rows": table_rows}
    memory = {"table": table, "source": source, "target": target, "splits": splits}
    for name, value in (sizes | {name: array.ctypes.data for name, array in memory.items()}).items():
        steps[name] = value
    list_blocks(steps, shared.ctypes.data, scratch.ctypes.data)
    return source, target, splits, int(shared[FAULTS])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.sampled_from([8, 27]), st.integers(1, 20), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_each_block_lists_its_occupied_slots_once(rows: int, offsets: int, block_rows: int, occupied: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    table = random.integers(0, 99, (rows, offsets)).astype(np.int32)
    table[random.uniform(size=table.shape) >= occupied] = -1
    source, target, splits, faults = listed(table, 99, block_rows)
    assert faults == 0
    turns = [offset_of_turn(turn, offsets) for turn in range(offsets)]
    assert sorted(turns) == list(range(offsets))
    for block, ends in enumerate(splits):
        first, last = block * block_rows, min(rows, (block + 1) * block_rows)
        begun: set[int] = set()
        for turn, offset in enumerate(turns):
            of_offset = [row for row in range(first, last) if table[row, offset] >= 0]
            starting, adding = slice(*ends[2 * turn : 2 * turn + 2]), slice(*ends[2 * turn + 1 : 2 * turn + 3])
            assert target[starting].tolist() == [row for row in of_offset if row not in begun]
            assert target[adding].tolist() == [row for row in of_offset if row in begun]
            for part in (starting, adding):
                np.testing.assert_array_equal(source[part], table[target[part], offset])
            begun.update(of_offset)
        alone = target[slice(*ends[-2:])].tolist()
        assert alone == [row for row in range(first, last) if row not in begun]


@pytest.mark.parametrize("offsets", [8, 27])
def test_rows_that_do_not_exist_are_counted_and_not_listed(offsets: int) -> None:
    table = np.full((40, offsets), 5, np.int32)
    table[3], table[7, 2], table[39, :3] = 2**31 - 1, 6, 6
    source, _, splits, faults = listed(table, 6, 16)
    assert faults == offsets + 4
    assert splits[:, -2].tolist() == [table[:16].size - offsets - 1, table[:32].size, table.size - 3]
    for block, ends in enumerate(splits):
        assert (source[block * 16 * offsets : ends[-2]] == 5).all()


def test_a_submanifold_row_starts_with_itself() -> None:
    table = np.tile(np.arange(20, dtype=np.int32)[:, None], 27)
    _, target, splits, _ = listed(table, 20, 20)
    assert target[: splits[0, 1]].tolist() == list(range(20))
    assert offset_of_turn(0, 27) == 13
    starts, adds = splits[0, 2:54:2], splits[0, 3:54:2]
    assert (starts == adds).all()

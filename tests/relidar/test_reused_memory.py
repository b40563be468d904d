"""Memory that scans share one after the other, never at once."""

import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from relidar.reused_memory import BLOCKS, ReusedMemory
from relidar.rulebook import build_rulebook

SHAPES = [(100, 27), (0, 8), (40, 3), (40,)]
TYPES = [np.int32, np.int32, np.uint8, np.int64]

FORK_WHILE_ANOTHER_THREAD_LOOKS_FOR_A_BLOCK = """
import os, signal, sys
from relidar import reused_memory
memory = reused_memory.ReusedMemory()
with reused_memory._lock:
    child = os.fork()
    if not child:
        signal.alarm(20)  # ends a child that waits for ever
        os._exit(0 if memory.arrays([(3, 8)])[0].shape == (3, 8) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def address(arrays: list[np.ndarray]) -> int:
    return arrays[0].ctypes.data


def test_arrays_have_their_shapes_types_and_lines_of_their_own() -> None:
    arrays = ReusedMemory().arrays(SHAPES, TYPES)
    assert [array.shape for array in arrays] == SHAPES
    assert [array.dtype for array in arrays] == TYPES
    assert [array.dtype for array in ReusedMemory().arrays(SHAPES)] == [np.int32] * 4
    assert all(array.flags.c_contiguous and array.flags.writeable for array in arrays)
    assert not any(np.shares_memory(one, other) for one, other in itertools.combinations(arrays, 2))
    assert all(array.ctypes.data % 64 == 0 for array in arrays)


def test_memory_serves_again_once_nothing_refers_to_it() -> None:
    memory = ReusedMemory()
    first = memory.arrays(SHAPES, TYPES)
    there = address(first)
    kept = first[2]  # a single table is enough to keep the block
    del first
    second = memory.arrays(SHAPES, TYPES)
    assert address(second) != there
    assert not np.shares_memory(kept, second[0])
    del kept
    assert address(memory.arrays(SHAPES, TYPES)) == there


def test_live_arrays_never_meet() -> None:
    memory, chance = ReusedMemory(), np.random.default_rng(0)
    live: list[tuple[int, np.ndarray]] = []
    for number in range(300):
        arrays = memory.arrays([(int(chance.integers(50)), 8) for _ in range(3)])
        for array in arrays:
            array[:] = number
        live += [(number, array[::2]) for array in arrays if chance.random() < 0.5]
        del arrays, array
        live = [entry for entry in live if chance.random() < 0.8]
        assert all((array == expected).all() for expected, array in live)


def test_a_huge_scan_does_not_keep_its_memory() -> None:
    memory = ReusedMemory()
    for _ in range(BLOCKS + 1):
        memory.arrays([(10**6, 8)])
    for _ in range(BLOCKS + 1):
        kept = [memory.arrays(SHAPES, TYPES) for _ in range(BLOCKS)]
    assert len(kept) == BLOCKS
    assert sum(block.nbytes for block in memory._blocks) < 10**6


def test_a_rulebook_outlives_those_built_after_it() -> None:
    cells = [np.unique(np.random.default_rng(seed).integers(-9, 9, (400, 3)), axis=0).astype(np.int32) for seed in range(6)]
    kept = build_rulebook(cells[0], 3)
    before = {name: table.copy() for name, table in kept.tables().items()}
    for other in cells[1:]:
        build_rulebook(other, 3)
    for name, table in kept.tables().items():
        assert np.array_equal(table, before[name])


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_get_different_memory(threads: int) -> None:
    memory = ReusedMemory()

    def work(number: int) -> bool:
        arrays = memory.arrays([(2000, 8)])
        arrays[0][:] = number
        return bool((arrays[0] == number).all() and arrays[0].copy().max() == number)

    with ThreadPoolExecutor(threads) as pool:
        assert all(pool.map(work, range(500)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_waits_for_no_thread_of_its_parent() -> None:
    subprocess.run([sys.executable, "-c", FORK_WHILE_ANOTHER_THREAD_LOOKS_FOR_A_BLOCK], check=True, timeout=120)

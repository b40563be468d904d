"""A program on the CPU: tiles of vector code over the occupied pairs of the rulebook, many steps while a block is in the cache.

Threads: a scan is run by the caller and by threads of its own, which end with the scan; numba's number of threads is neither used
nor changed. Several callers of one program wait for each other; programs of their own run side by side, best with threads=1.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from relidar.bundle import Precision
from relidar.compiled.block_pairs import splits_of
from relidar.compiled.places import offsets_of, padded
from relidar.compiled.plan import Plan
from relidar.compiled.run import run
from relidar.compiled.steps import COUNTERS, FAULTS
from relidar.compiled.weights import ALIGNMENT
from relidar.compiled.words import FoldedWords, empty_scores, fold
from relidar.errors import BackendError
from relidar.executor import FEATURES
from relidar.program import Program, output_level
from relidar.program_file import check_program
from relidar.reused_memory import GROWTH, ReusedMemory
from relidar.row_parts import cores
from relidar.rulebook import Rulebook
from relidar.words import VoxelScores, Words

MOST_BLOCK_ROWS = 512
"""Of 96 channels 192 KB. Fewer would leave the fine levels, where a tenth of the slots is occupied, with few rows a tile."""
BLOCKS_A_THREAD = 6
"""Small levels are cut finer than MOST_BLOCK_ROWS, so that every thread has work up to the end of a step."""
SCORED_ROWS = 60
"""Of a block: with 1,000 prompts 240 KB, which the second-level cache holds."""
LOOK_AHEAD = 16
"""Entries that may be read behind a list of rows: a tile asks for the rows of up to six pairs ahead."""


class _Scan(NamedTuple):
    """What a scan's threads share."""

    steps: NDArray[np.void]
    scratch: Sequence[int]
    """Address of each thread's own memory."""
    memory: Sequence[NDArray[np.uint8]]
    """What most addresses point to; it is not used again while this is held. Tables and answer are the caller's."""


class CompiledProgram:
    """Runs a program. A scan's memory serves the next one, an answer's once nobody holds it."""

    def __init__(self, program: Program, threads: int = 0, precision: Precision = "fp32") -> None:
        """Packs the weights.

        Args:
            program: the student's steps.
            threads: that run one scan; 0 = one a core that this process may use.
            precision: "fp32" or "int8".

        Raises:
            BundleError: the steps do not fit together.
            BackendError: the network is of a form that this executor cannot run, or for int8 not calibrated.
        """
        self.name = "compiled-cpu" if precision == "fp32" else f"compiled-cpu-{precision}"
        self.precision = precision
        check_program(program, self.name)
        self._plan = Plan(program, precision == "int8")
        self._threads = threads or cores()
        self._memory = ReusedMemory()
        self._every_row = np.empty(0, np.int32)
        self._answers = ReusedMemory()
        self._lock = threading.Lock()
        self._folded: FoldedWords | None = None

    def __call__(self, features: NDArray[np.float32], rulebook: Rulebook) -> NDArray[np.float32]:
        """(V, C_in) -> (V, D) unit rows. Raises BackendError for features and tables that do not fit the network."""
        self._check(features, rulebook)
        columns = self._plan.answer_columns
        answer = self._answers.arrays([(len(features), columns)], np.float32)[0]
        with self._lock:
            self._run(self._scan(features, rulebook, answer.ctypes.data, 0))
        width = self._plan.answer.weight.shape[2]
        return answer if width == columns else np.ascontiguousarray(answer[:, :width])

    def scores(self, features: NDArray[np.float32], rulebook: Rulebook, words: Words) -> VoxelScores:
        """The answer for V voxels, without their features. Raises BackendError as above, and for words of another width."""
        self._check(features, rulebook)
        head = self._plan.answer
        if words.text.shape[1] != head.weight.shape[2]:
            raise BackendError(
                f"{self.name}: words {words.text.shape[1]} wide, features {head.weight.shape[2]}; use the text encoder that the "
                "student was trained for."
            )
        answer = empty_scores(words, len(features))
        with self._lock:
            folded = self._folded
            if folded is None or folded.words is not words:
                folded = self._folded = fold(words, head, self._plan.places[head.input])
            scan = self._scan(features, rulebook, 0, 4 * SCORED_ROWS * len(folded.bias))
            last = folded.step(len(features), SCORED_ROWS, answer)
            for name in ("x", "x_stride"):
                last[name] = scan.steps[-1:][name]
            self._run(scan._replace(steps=np.concatenate([scan.steps[:-1], last])))
        return answer

    def _check(self, features: NDArray[np.float32], rulebook: Rulebook) -> None:
        plan = self._plan
        if rulebook.levels != plan.levels:
            raise BackendError(f"{self.name}: a rulebook of {rulebook.levels} levels, the network has {plan.levels}.")
        voxels, tables = rulebook.voxels, rulebook.tables()
        shapes = {table: (voxels[output_level(table)], offsets_of(table)) for table in plan.tables}
        wrong = [
            f"{name} {table.shape} {table.dtype}"
            for name, table in tables.items()
            if name in shapes and not (table.shape == shapes[name] and table.dtype == np.int32 and table.flags.c_contiguous)
        ]
        if features.shape != (voxels[0], plan.in_channels) or not len(features):
            wrong.append(f"features {features.shape}, expected ({voxels[0]}, {plan.in_channels}) and a voxel at least")
        if not all(1 <= rows <= voxels[0] for rows in voxels):
            wrong.append(f"levels of {voxels} voxels, expected at least one each and the most on the first")
        if wrong:
            raise BackendError(f"{self.name}: the scan does not fit the network: {'; '.join(wrong)}.")

    def _scan(self, features: NDArray[np.float32], rulebook: Rulebook, answer: int, scratch_size: int) -> _Scan:
        """Memory and steps of a scan, its features in their place."""
        plan, voxels, tables = self._plan, rulebook.voxels, rulebook.tables()
        block_rows = [_block_rows(rows, self._threads) for rows in voxels]
        blocks = [(each, -(-rows // each)) for rows, each in zip(voxels, block_rows, strict=True)]
        sizes: dict[str | int, int] = {index: slot.stride * voxels[slot.level] for index, slot in enumerate(plan.slots)}
        most_scratch = padded(max(scratch_size, plan.scratch_size([rows for rows, _ in blocks])), ALIGNMENT)
        sizes["scratch"] = self._threads * most_scratch
        for table in plan.tables:
            sizes[f"{table} source"] = sizes[f"{table} target"] = 4 * tables[table].size
            sizes[f"{table} splits"] = 8 * blocks[output_level(table)][1] * splits_of(offsets_of(table))
        memory = self._memory.arrays([(size,) for size in (*sizes.values(), 4 * LOOK_AHEAD)], np.uint8)
        addresses = {name: array.ctypes.data for name, array in zip(sizes, memory[:-1], strict=True)}
        pairs: dict[str, Mapping[str, int]] = {}
        for table in plan.tables:
            parts = {part: addresses[f"{table} {part}"] for part in ("source", "target", "splits")}
            pairs[table] = {"table": tables[table].ctypes.data} | parts
        steps = plan.steps(voxels, blocks, [addresses[index] for index in range(len(plan.slots))], answer, pairs)
        place = plan.places[FEATURES]
        columns = plan.slots[place.slot].columns
        rows = memory[place.slot].view(np.float32).reshape(len(features), columns)
        rows[:, : place.depth] = 0
        rows[:, : plan.in_channels] = features
        if len(self._every_row) < max(voxels) + LOOK_AHEAD:  # tiles look ahead here too
            self._every_row = np.arange(int(GROWTH * max(voxels)) + LOOK_AHEAD, dtype=np.int32)
        return _Scan(steps, [addresses["scratch"] + thread * most_scratch for thread in range(self._threads)], memory)

    def _run(self, scan: _Scan) -> None:
        shared = np.zeros(COUNTERS + len(scan.steps), np.int64)
        go = threading.Event()
        others: list[threading.Thread] = []

        def share(thread: int) -> None:
            go.wait()
            run(scan.steps, shared.ctypes.data, len(others) + 1, self._every_row.ctypes.data, scan.scratch[thread])

        for thread in range(1, self._threads):
            other = threading.Thread(target=share, args=(thread,), name=f"{self.name}-{thread}", daemon=True)
            try:
                other.start()
            except RuntimeError:  # the system gives no more threads: those that there are do the work
                break
            others.append(other)
        go.set()
        share(0)
        for other in others:
            other.join()
        if shared[FAULTS]:
            raise BackendError(f"{self.name}: {shared[FAULTS]} entries of the rulebook name rows that do not exist.")


def _block_rows(rows: int, threads: int) -> int:
    return min(MOST_BLOCK_ROWS, -(-rows // (threads * BLOCKS_A_THREAD)))

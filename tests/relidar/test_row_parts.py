"""Shares of work on several threads."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from relidar import row_parts
from relidar.rulebook import build_rulebook

AFTER_A_FORK = """
import os, sys
import numpy as np
from relidar import row_parts
from relidar.pairs import table_pairs
row_parts.SMALLEST_PART = 1000
table = np.arange(8 * 5_000, dtype=np.int32).reshape(-1, 8)
expected = table_pairs([table], 1)[0].source
assert np.array_equal(table_pairs([table], 2)[0].source, expected)  # the parent's threads are there now
child = os.fork()
if not child:
    os._exit(0 if np.array_equal(table_pairs([table], 2)[0].source, expected) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize(("rows", "threads", "parts"), [(0, 8, 1), (32767, 8, 1), (32768, 8, 2), (10**6, 8, 8), (10**6, 1, 1)])
def test_small_work_is_not_shared(rows: int, threads: int, parts: int) -> None:
    assert row_parts.parts_of(rows, threads) == parts


def test_zero_threads_are_one_a_core() -> None:
    assert row_parts.parts_of(10**9, 0) == row_parts.cores() >= 1


def test_every_part_runs_once_and_on_more_than_one_thread() -> None:
    seen: list[tuple[int, int, str]] = []

    begun = threading.Event()

    def kernel(part: int, parts: int, who: str) -> None:
        if part == 0:
            assert begun.wait(60)  # or the caller might be done before any thread has begun, and run part 1 itself
        elif part == 1:
            begun.set()
        seen.append((part, parts, who + str(threading.get_ident() != threading.main_thread().ident)))

    row_parts.run_parts(kernel, 3, "other: ")
    assert sorted(entry[:2] for entry in seen) == [(0, 3), (1, 3), (2, 3)]
    assert {(0, 3, "other: False"), (1, 3, "other: True")} < set(seen)


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_comes_out_after_all_parts_have_ended(failing: int) -> None:
    ended = []
    begun = threading.Event()

    def kernel(part: int, parts: int) -> None:
        if part == 0:
            assert begun.wait(60)
        begun.set()
        if part == failing:
            raise ArithmeticError(f"part {part}")
        time.sleep(0.05)
        ended.append(part)

    with pytest.raises(ArithmeticError, match=f"part {failing}"):
        row_parts.run_parts(kernel, 2)
    assert ended == [1 - failing]


def test_where_no_thread_can_be_started_the_caller_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    row_parts._forget_pool()
    ran: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        row_parts.run_parts(lambda part, parts: ran.append(part), 3)
    assert ran == [0, 1, 2]
    row_parts.run_parts(lambda part, parts: ran.append(10 + part), 2)  # the pool still has the others in its queue
    assert sorted(ran) == [0, 1, 2, 10, 11]


def test_several_threads_may_build_rulebooks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_parts, "SMALLEST_PART", 1000)
    cells = np.unique(np.random.default_rng(0).integers(-40, 40, (30_000, 3)), axis=0).astype(np.int32)
    alone = build_rulebook(cells, 3, threads=1)
    with ThreadPoolExecutor(4) as pool:
        for rulebook in pool.map(lambda _: build_rulebook(cells, 3, threads=2), range(8)):
            for name, table in alone.tables().items():
                assert np.array_equal(table, rulebook.tables()[name])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_threads_of_its_own() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", AFTER_A_FORK], check=True, timeout=120)

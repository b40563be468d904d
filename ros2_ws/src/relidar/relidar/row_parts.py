"""Compiled kernels over many rows on several cores.

A kernel takes (part, parts, ...) and does its share; Python threads run the shares, since kernels release the GIL. Numba's own
threads would not do: its OpenMP layer ends a child that was forked, its workqueue layer ends a process in which two threads call
at once, and which of them is there depends on the machine.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress

import numba

SMALLEST_PART = 16384
"""Rows; waking a thread costs as much as most kernels take for some thousands."""

_pool: ThreadPoolExecutor | None = None


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parts_of(rows: int, threads: int) -> int:
    """How many shares `rows` are worth on so many threads (0 = one a core)."""
    return max(1, min(threads or cores(), rows // SMALLEST_PART))


def run_parts(kernel: Callable[..., None], parts: int, *arguments: object) -> None:
    """Runs kernel(part, parts, *arguments) for every part, the first one in the calling thread; returns when all are done.

    The caller also runs what no thread has begun by then, so that it all gets done where the system gives no threads. The shares
    write to places of their own, so the results depend neither on the number of parts nor on their order.
    """
    if parts == 1:
        kernel(0, 1, *arguments)
        return
    others: list[Future[None]] = [Future() for _ in range(1, parts)]

    def run(other: Future[None], part: int) -> None:
        if other.set_running_or_notify_cancel():
            try:
                kernel(part, parts, *arguments)
            except BaseException as error:  # noqa: BLE001  # told to the caller
                other.set_exception(error)
            else:
                other.set_result(None)

    try:
        for part, other in enumerate(others, 1):
            with suppress(RuntimeError):  # no thread can be started; the pool may run it even so, and then finds it cancelled
                _threads().submit(run, other, part)
        kernel(0, parts, *arguments)
        for part, other in enumerate(others, 1):
            if other.cancel():
                kernel(part, parts, *arguments)
    finally:
        begun = [other for other in others if not other.cancel()]
        wait(begun)  # they write to the caller's arrays
    for other in begun:
        other.result()


@numba.njit(nogil=True, inline="always")
def share(part, parts, rows):  # type: ignore[no-untyped-def]
    """For kernels: (first row, end) of a part's share of the rows."""
    return part * rows // parts, (part + 1) * rows // parts


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(max(1, cores() - 1), thread_name_prefix="relidar-rows")
    return _pool


def _forget_pool() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)  # a forked child has the pool, but none of its threads

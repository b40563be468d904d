"""The node's counters add up, also while several threads count."""

import itertools
import threading

from relidar.scan_counts import ScanCounts

FINISHED = ("answered", "dropped", "malformed", "failed")


def test_counters_add_up_and_name_causes() -> None:
    counts = ScanCounts()
    for _ in range(7):
        counts.receive()
    counts.answer(points=100, processing_ms=2.0, latency_ms=5.0)
    counts.answer(points=0, processing_ms=0.1, latency_ms=0.2)
    counts.drop()
    counts.malform("data_length")
    counts.malform("row_step")
    counts.fail("BackendError")
    values = counts.snapshot()
    assert values["received"] == 7
    assert [values[part] for part in FINISHED] == [2, 1, 2, 1]
    assert values["pending"] == 1
    assert (values["empty"], values["malformed.row_step"], values["failed.BackendError"]) == (1, 1, 1)
    # An empty scan takes no time worth telling.
    assert (values["processing_ms.p50"], values["latency_ms.p99"]) == (2.0, 5.0)
    assert counts.errors == 3


def test_a_snapshot_adds_up_while_others_count() -> None:
    counts = ScanCounts()
    stop = threading.Event()

    ways = (lambda: counts.answer(1, 1.0, 1.0), counts.drop, lambda: counts.malform("x"), lambda: counts.fail("y"))

    def work() -> None:
        for finish in itertools.cycle(ways):
            if stop.is_set():
                break
            counts.receive()
            finish()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(200):
            values = counts.snapshot()
            assert values["pending"] == values["received"] - sum(values[part] for part in FINISHED)
            assert values["pending"] in (0, 1, 2)
    finally:
        stop.set()
        for worker in workers:
            worker.join()

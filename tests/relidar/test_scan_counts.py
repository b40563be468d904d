"""The node's counters add up, also while several threads count."""

import itertools
import threading

import pytest

from relidar.scan_counts import FINISHED, RECENT, ScanCounts


def test_counters_add_up_and_name_causes() -> None:
    counts = ScanCounts()
    for _ in range(8):
        counts.receive()
    counts.answer(points=100, processing_ms=2.0, latency_ms=5.0)
    counts.answer(points=0, processing_ms=0.1, latency_ms=0.2)
    counts.drop()
    counts.skip()
    counts.malform("data_length")
    counts.malform("row_step")
    counts.fail("BackendError")
    values = counts.snapshot()
    assert values["received"] == 8
    assert [values[way] for way in FINISHED] == [2, 1, 1, 2, 1]
    assert values["pending"] == 1
    assert (values["empty"], values["malformed.row_step"], values["failed.BackendError"]) == (1, 1, 1)
    assert values["over_capacity"] == 0
    # An empty scan takes no time worth telling.
    assert (values["processing_ms.p50"], values["latency_ms.p99"]) == (2.0, 5.0)


def test_scans_over_capacity_are_answered_ones() -> None:
    counts = ScanCounts()
    for over_capacity in (True, False, True):
        counts.receive()
        counts.answer(points=1, processing_ms=1.0, latency_ms=1.0, over_capacity=over_capacity)
    values = counts.snapshot()
    assert (values["answered"], values["over_capacity"], values["pending"]) == (3, 2, 0)


def test_a_new_counter_tells_zeros_and_no_latency() -> None:
    values = ScanCounts().snapshot()
    assert {values[name] for name in ("received", *FINISHED, "pending", "empty", "over_capacity", "latency_unusable")} == {0}
    assert {value for name, value in values.items() if "_ms." in name} == {None}


@pytest.mark.parametrize("latency_ms", [-0.001, -1e12, 60_000.001, 1.7e15, float("nan"), float("inf")])
def test_a_latency_of_another_clock_is_counted_and_spoils_no_percentile(latency_ms: float) -> None:
    counts = ScanCounts()
    for latency in (30.0, latency_ms):
        counts.receive()
        counts.answer(points=1, processing_ms=20.0, latency_ms=latency)
    values = counts.snapshot()
    assert (values["latency_ms.p50"], values["latency_ms.p99"], values["latency_unusable"]) == (30.0, 30.0, 1)
    assert (values["answered"], values["processing_ms.p50"]) == (2, 20.0)
    assert 20.0 <= values["recent_ms.p95"] <= 30.0  # type: ignore[operator]


def test_the_limits_see_the_newest_answers_only() -> None:
    counts = ScanCounts()
    for latency in [900.0] * 100 + [10.0] * RECENT:
        counts.receive()
        counts.answer(points=1, processing_ms=1.0, latency_ms=latency)
    values = counts.snapshot()
    assert (values["recent_ms.p95"], values["latency_ms.p95"]) == (10.0, 900.0)
    # Where nobody listens any more, there is no latency to complain about.
    counts.receive()
    counts.skip()
    assert counts.snapshot()["recent_ms.p95"] is None


def test_a_snapshot_adds_up_while_others_count() -> None:
    counts = ScanCounts()
    stop = threading.Event()

    ways = (lambda: counts.answer(1, 1.0, 1.0), counts.drop, counts.skip, lambda: counts.malform("x"), lambda: counts.fail("y"))

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
            assert values["pending"] == values["received"] - sum(values[way] for way in FINISHED)  # type: ignore[operator,misc]
            assert values["pending"] in (0, 1, 2)
    finally:
        stop.set()
        for worker in workers:
            worker.join()

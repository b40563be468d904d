"""The worker: newest wins, every scan ends in one way, and stopping leaves none behind."""

import threading

from relidar.scan_counts import ScanCounts
from relidar.scan_worker import ScanWorker


def test_every_scan_is_answered_in_order_or_dropped_and_stop_waits_for_the_one_in_work() -> None:
    counts = ScanCounts()
    begun, go_on = threading.Event(), threading.Event()
    answered: list[int] = []

    def answer(scan: int) -> None:
        begun.set()
        go_on.wait()
        answered.append(scan)
        counts.answer(1, 1.0, 1.0)

    worker = ScanWorker(answer, counts)
    worker.receive(1)
    begun.wait()
    for scan in (2, 3, 4):
        worker.receive(scan)
    assert counts.snapshot()["pending"] == 2
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    while counts.snapshot()["dropped"] != 3:
        pass
    assert stopping.is_alive()
    go_on.set()
    stopping.join(5)
    assert not stopping.is_alive()
    worker.receive(5)
    values = counts.snapshot()
    assert answered == [1]
    assert [values[name] for name in ("received", "answered", "dropped", "pending")] == [5, 1, 4, 0]


def test_nothing_is_lost_between_a_fast_sender_a_fast_worker_and_a_stop() -> None:
    for _ in range(30):
        counts = ScanCounts()
        worker: ScanWorker[int] = ScanWorker(lambda scan, counts=counts: counts.answer(1, 1.0, 1.0), counts)  # type: ignore[misc]
        sender = threading.Thread(target=lambda worker=worker: [worker.receive(scan) for scan in range(200)])
        sender.start()
        worker.stop()
        sender.join()
        values = counts.snapshot()
        assert values["received"] == 200
        assert values["answered"] + values["dropped"] == 200  # type: ignore[operator]
        assert values["pending"] == 0

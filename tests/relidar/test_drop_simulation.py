"""The simulated mailbox against an event loop in steps of a millisecond, and against cases worked out by hand."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from relidar.drop_simulation import report, simulate


def naive(arrival_ms: Sequence[int], service_ms: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Lets time pass millisecond by millisecond: the worker finishes, takes what waits, then the next scans come in."""
    answered, latency, dropped = [], [], []
    busy, busy_until, waiting = -1, 0, -1
    for now in range(max(arrival_ms) + sum(service_ms) + 1):
        while True:
            if busy >= 0 and busy_until == now:
                latency.append(now - arrival_ms[busy])
                busy = -1
            if busy < 0 and waiting >= 0:
                busy, busy_until, waiting = waiting, now + service_ms[waiting], -1
                answered.append(busy)
                if busy_until == now:
                    continue
            break
        for scan, arrival in enumerate(arrival_ms):
            if arrival == now:
                if busy < 0:
                    busy, busy_until = scan, now + service_ms[scan]
                    answered.append(scan)
                else:
                    if waiting >= 0:
                        dropped.append(waiting)
                    waiting = scan
    return answered, latency, dropped


scans = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 40)), min_size=1, max_size=20)


@given(scans)
def test_it_does_what_an_event_loop_does(gaps_and_services: list[tuple[int, int]]) -> None:
    arrival_ms = [sum(gap for gap, _ in gaps_and_services[: index + 1]) for index in range(len(gaps_and_services))]
    service_ms = [service for _, service in gaps_and_services]
    result = simulate(arrival_ms, service_ms)
    answered, latency, dropped = naive(arrival_ms, service_ms)
    assert list(result.answered) == answered
    assert list(result.latency_ms) == latency
    assert list(result.dropped) == dropped
    assert sorted(result.answered + result.dropped) == list(range(len(arrival_ms)))


def test_a_slow_worker_answers_the_newest() -> None:
    # 260 ms a scan at 10 Hz: 0 runs until 260, 1 gives way to 2, which runs until 520; 3 and 4 give way to 5.
    result = simulate([100.0 * scan for scan in range(6)], [260.0] * 6)
    assert result.answered == (0, 2, 5)
    assert result.dropped == (1, 3, 4)
    assert result.latency_ms == (260.0, 320.0, 280.0)


def test_the_report_tells_the_recorded_rate_and_twice_it() -> None:
    rows = report([10**18 + index * 10**8 for index in (0, 2, 1, 3, 4)], [60.0] * 5)
    assert [(row["times_recorded_rate"], row["rate_hz"], row["answered"], row["dropped"]) for row in rows] == [
        (1.0, 10.0, 5, 0),
        (2.0, 20.0, 5, 0),
    ]
    assert rows[0]["latency_ms"]["p50"] == 60.0
    assert rows[1]["latency_ms"]["p50"] == 80.0  # 60, 70, 80, 90, 100


def test_a_recording_of_one_scan_or_none_has_no_rate() -> None:
    assert report([5], [60.0])[0] | {"latency_ms": 0} == {
        "times_recorded_rate": 1.0, "rate_hz": None, "scans": 1, "answered": 1, "dropped": 0, "latency_ms": 0,
    }  # fmt: skip
    assert report([], [])[0]["answered"] == 0

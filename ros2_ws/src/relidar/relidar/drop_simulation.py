"""What a live node would have answered: one worker, one scan in flight, and of the scans that wait only the newest is kept.

A scan arrives when it was recorded and takes as long as it took in the replay. Transport is not simulated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relidar.latency import percentiles_ms

RATES = (1.0, 2.0)
"""Multiples of the recorded rate that a report tells."""


@dataclass(frozen=True)
class Simulated:
    """What became of each scan."""

    answered: tuple[int, ...]
    """Numbers of the scans that were labelled, in order."""
    latency_ms: tuple[float, ...]
    """From the arrival of each answered scan to its answer, waiting included."""
    dropped: tuple[int, ...]
    """Numbers of the scans that a newer one replaced while they waited."""


def simulate(arrival_ms: Sequence[float], service_ms: Sequence[float]) -> Simulated:
    """Runs the node's mailbox over a recording.

    Args:
        arrival_ms: (n,) not falling.
        service_ms: (n,) time to label each scan.
    """
    answered: list[int] = []
    latency_ms: list[float] = []
    dropped: list[int] = []
    free_ms = float("-inf")
    waiting: int | None = None

    def start(scan: int, now_ms: float) -> float:
        answered.append(scan)
        latency_ms.append(now_ms + service_ms[scan] - arrival_ms[scan])
        return now_ms + service_ms[scan]

    for scan, now_ms in enumerate(arrival_ms):
        if waiting is not None and free_ms <= now_ms:
            free_ms, waiting = start(waiting, free_ms), None
        if free_ms <= now_ms:
            free_ms = start(scan, now_ms)
            continue
        if waiting is not None:
            dropped.append(waiting)
        waiting = scan
    if waiting is not None:
        start(waiting, free_ms)
    return Simulated(tuple(answered), tuple(latency_ms), tuple(dropped))


def report(arrival_ns: Sequence[int], service_ms: Sequence[float]) -> list[dict[str, Any]]:
    """One row for each of RATES: the rate in Hz, scans answered and dropped, and latency percentiles.

    Args:
        arrival_ns: (n,) when each scan was recorded, in any order (a recording may jump back).
        service_ms: (n,) time to label each scan.
    """
    order = sorted(range(len(arrival_ns)), key=arrival_ns.__getitem__)
    offset_ms = [(arrival_ns[scan] - arrival_ns[order[0]]) / 1e6 for scan in order]
    rows = []
    for rate in RATES:
        result = simulate([time_ms / rate for time_ms in offset_ms], [service_ms[scan] for scan in order])
        hertz = 1e3 * (len(order) - 1) * rate / offset_ms[-1] if offset_ms and offset_ms[-1] > 0 else None
        rows.append(
            {
                "times_recorded_rate": rate,
                "rate_hz": None if hertz is None else round(hertz, 2),
                "scans": len(order),
                "answered": len(result.answered),
                "dropped": len(result.dropped),
                "latency_ms": percentiles_ms(result.latency_ms),
            }
        )
    return rows

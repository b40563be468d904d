"""What became of every scan that a node received; the counters add up at any moment."""

import threading
from collections import Counter, deque

from relidar.latency import is_usable_ms, percentiles_ms

WINDOW = 1000
"""Answers over which percentiles are reported."""
RECENT = 50
"""Answers whose 95th percentile is held against the configured limits: few enough to notice, and to forget, within seconds."""
FINISHED = ("answered", "dropped", "skipped", "malformed", "failed")
"""The ways in which a scan ends."""


class ScanCounts:
    """received = answered + dropped + skipped + malformed + failed + pending, read as one. Safe to use from several threads.

    Pending are the scan in work and the one that waits; they are counted up and down, not worked out from the rest.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: Counter[str] = Counter()
        self._causes: Counter[str] = Counter()
        self._processing_ms: deque[float] = deque(maxlen=WINDOW)
        self._latency_ms: deque[float] = deque(maxlen=WINDOW)
        self._recent_ms: deque[float] = deque(maxlen=RECENT)

    def receive(self) -> None:
        """A scan came in."""
        with self._lock:
            self._counted.update(("received", "pending"))

    def drop(self) -> None:
        """A waiting scan gave way to a newer one, or the node stopped answering."""
        self._finish("dropped")

    def skip(self) -> None:
        """Nobody listens, so that a scan was not worked on; the limits no longer see the latency of answers before."""
        with self._lock:
            self._recent_ms.clear()
        self._finish("skipped")

    def malform(self, cause: str) -> None:
        """A scan could not be decoded."""
        self._finish("malformed", cause)

    def fail(self, cause: str) -> None:
        """A well-formed scan could not be answered."""
        self._finish("failed", cause)

    def answer(self, points: int, processing_ms: float, latency_ms: float, over_capacity: bool = False) -> None:
        """A scan was answered: time since work on it began, and since its stamp; on the CPU if it was over the engine's capacity.

        A latency that no clock in order can give (see `is_usable_ms`: simulated time jumped, the stamp is of another clock) is
        counted as `latency_unusable` and kept out of all percentiles; the limits then see the processing time.
        """
        with self._lock:
            self._counted["answered"] += 1
            self._counted["pending"] -= 1
            self._counted["empty"] += points == 0
            self._counted["over_capacity"] += over_capacity
            if points:
                usable = is_usable_ms(latency_ms)
                self._processing_ms.append(processing_ms)
                self._recent_ms.append(latency_ms if usable else processing_ms)
                if usable:
                    self._latency_ms.append(latency_ms)
                else:
                    self._counted["latency_unusable"] += 1

    def snapshot(self) -> dict[str, int | float | None]:
        """All counters and percentiles by name; `empty` and `over_capacity` are of `answered`, `malformed.X` of `malformed`."""
        with self._lock:
            names = ("received", *FINISHED, "pending", "empty", "over_capacity", "latency_unusable")
            values: dict[str, int | float | None] = {name: self._counted[name] for name in names}
            values |= dict(sorted(self._causes.items()))
            for name, window in (("processing_ms", self._processing_ms), ("latency_ms", self._latency_ms)):
                values |= {f"{name}.{key}": value for key, value in percentiles_ms(list(window)).items()}
            values["recent_ms.p95"] = percentiles_ms(list(self._recent_ms))["p95"]
            return values

    def _finish(self, way: str, cause: str | None = None) -> None:
        with self._lock:
            self._counted[way] += 1
            self._counted["pending"] -= 1
            if cause is not None:
                self._causes[f"{way}.{cause}"] += 1

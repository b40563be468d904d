"""What became of every scan that a node received; the counters add up at any moment."""

import threading
from collections import Counter, deque

from relidar.latency import percentiles_ms

WINDOW = 1000
"""Scans over which percentiles are taken."""


class ScanCounts:
    """received = answered + dropped + malformed + failed + pending, read as one. Safe to use from several threads.

    Pending are the scan in work and the one that waits; they are counted up and down, not worked out from the rest.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = self._answered = self._empty = self._dropped = self._pending = 0
        self._malformed: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._processing_ms: deque[float] = deque(maxlen=WINDOW)
        self._latency_ms: deque[float] = deque(maxlen=WINDOW)

    def receive(self) -> None:
        """A scan came in."""
        with self._lock:
            self._received += 1
            self._pending += 1

    def drop(self) -> None:
        """A waiting scan gave way to a newer one."""
        with self._lock:
            self._dropped += 1
            self._pending -= 1

    def malform(self, cause: str) -> None:
        """A scan could not be decoded."""
        with self._lock:
            self._malformed[cause] += 1
            self._pending -= 1

    def fail(self, cause: str) -> None:
        """A well-formed scan could not be answered."""
        with self._lock:
            self._failed[cause] += 1
            self._pending -= 1

    def answer(self, points: int, processing_ms: float, latency_ms: float) -> None:
        """A scan was answered: time since work on it began, and since its stamp."""
        with self._lock:
            self._answered += 1
            self._pending -= 1
            self._empty += points == 0
            if points:
                self._processing_ms.append(processing_ms)
                self._latency_ms.append(latency_ms)

    @property
    def errors(self) -> int:
        """Scans malformed or failed so far."""
        with self._lock:
            return self._malformed.total() + self._failed.total()

    def snapshot(self) -> dict[str, int | float | None]:
        """All counters and percentiles by name; `empty` is part of `answered`, `malformed.CAUSE` of `malformed`."""
        with self._lock:
            values: dict[str, int | float | None] = {
                "received": self._received,
                "answered": self._answered,
                "dropped": self._dropped,
                "malformed": self._malformed.total(),
                "failed": self._failed.total(),
                "pending": self._pending,
                "empty": self._empty,
            }
            for name, causes in (("malformed", self._malformed), ("failed", self._failed)):
                values |= {f"{name}.{cause}": count for cause, count in sorted(causes.items())}
            for name, window in (("processing_ms", self._processing_ms), ("latency_ms", self._latency_ms)):
                values |= {f"{name}.{key}": value for key, value in percentiles_ms(list(window)).items()}
            return values

"""Checks the answers of a live node against what was sent to it: each at most once, in order, for every point."""

import threading
from typing import Any

from relidar.latency import percentiles_ms


class AnswerCheck:
    """Sent scans and their answers, told apart by stamp. Safe to use from a sending and a receiving thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[int, tuple[float, int, str]] = {}
        self._latency_ms: dict[int, float] = {}
        self._newest_ns = 0
        self._wrong = {"repeated": 0, "out_of_order": 0, "wrong_size": 0, "wrong_header": 0}

    def sent(self, stamp_ns: int, points: int, frame_id: str, time_s: float) -> None:
        """A scan is about to be published."""
        with self._lock:
            self._sent[stamp_ns] = (time_s, points, frame_id)

    def received(self, stamp_ns: int, points: int, frame_id: str, time_s: float) -> None:
        """An answer arrived; `points` is 0 if it has no labels."""
        with self._lock:
            sent_s, expected_points, expected_frame = self._sent.get(stamp_ns, (0.0, -1, ""))
            if expected_points < 0 or frame_id != expected_frame:
                self._wrong["wrong_header"] += 1
            elif stamp_ns in self._latency_ms:
                self._wrong["repeated"] += 1
            else:
                self._wrong["out_of_order"] += stamp_ns < self._newest_ns
                self._wrong["wrong_size"] += points != expected_points
                self._newest_ns = max(self._newest_ns, stamp_ns)
                self._latency_ms[stamp_ns] = 1e3 * (time_s - sent_s)

    @property
    def answered(self) -> int:
        """Scans answered so far."""
        with self._lock:
            return len(self._latency_ms)

    @property
    def wrong(self) -> int:
        """Answers that should not be as they are."""
        with self._lock:
            return sum(self._wrong.values())

    def report(self) -> dict[str, Any]:
        """sent, answered, the kinds of wrong answers, and latency_ms from publishing to the answer's arrival."""
        with self._lock:
            latency_ms = percentiles_ms(list(self._latency_ms.values()))
            return {"sent": len(self._sent), "answered": len(self._latency_ms), **self._wrong, "latency_ms": latency_ms}

"""Which model and vocabulary the node had when: it may take a change at any time between asking for it and being told."""

import threading
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelState:
    """All that the labels depend on."""

    bundle: Path
    prompts: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    filtered: tuple[str, ...] = ()


@dataclass
class _Period:
    state: ModelState
    asked_s: float
    confirmed_s: float | None = None


class ModelHistory:
    """Written by who changes the node, read by who checks its answers. Times are of the monotonic clock."""

    def __init__(self, first: ModelState) -> None:
        self._lock = threading.Lock()
        self._periods = [_Period(first, float("-inf"), float("-inf"))]

    @property
    def now(self) -> ModelState:
        """The newest state."""
        with self._lock:
            return self._periods[-1].state

    def ask(self, state: ModelState, time_s: float) -> None:
        """The node is about to be asked for a change."""
        with self._lock:
            self._periods.append(_Period(state, time_s))

    def confirm(self, time_s: float) -> None:
        """The node said that it made the newest change."""
        with self._lock:
            self._periods[-1].confirmed_s = time_s

    def between(self, sent_s: float, answered_s: float) -> list[ModelState]:
        """The states that a scan sent and answered then may have met, the newest first; two where a change was under way."""
        with self._lock:
            ends = [period.confirmed_s for period in self._periods[1:]] + [None]
            return [
                period.state
                for period, end_s in zip(reversed(self._periods), reversed(ends), strict=True)
                if period.asked_s <= answered_s and (end_s is None or end_s >= sent_s)
            ]

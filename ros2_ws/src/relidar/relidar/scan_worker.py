"""The thread that answers scans, so that a slow one never delays receiving. The newest scan wins; every scan is accounted for."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from relidar.mailbox import Mailbox
from relidar.scan_counts import ScanCounts

T = TypeVar("T")


class ScanWorker(Generic[T]):
    """Runs from its making until `stop`: one scan in work, at most one waits."""

    def __init__(self, answer: Callable[[T], None], counts: ScanCounts) -> None:
        """`answer` must count the end of each scan itself and raise nothing."""
        self._answer = answer
        self._counts = counts
        self._mailbox: Mailbox[T] = Mailbox()
        self._thread = threading.Thread(target=self._work, name="segment", daemon=True)
        self._thread.start()

    def receive(self, scan: T) -> None:
        """Takes a scan in; never waits. The one that it replaces, or that comes after `stop`, counts as dropped."""
        self._counts.receive()
        if self._mailbox.put(scan) is not None:
            self._counts.drop()

    def stop(self) -> None:
        """Drops the scan that waits and returns once the one in work is finished."""
        if self._mailbox.close() is not None:
            self._counts.drop()
        self._thread.join()

    def _work(self) -> None:
        while (scan := self._mailbox.take()) is not None:
            self._answer(scan)

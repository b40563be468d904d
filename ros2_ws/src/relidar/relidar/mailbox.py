"""A mailbox with one place: the newest letter wins, and putting one in never waits for the reader."""

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Hands items from receiving threads to one worker."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> T | None:
        """Leaves an item; returns the unread one that it replaces, if any. After close, nothing is taken in."""
        with self._changed:
            if self._closed:
                return item
            replaced, self._item = self._item, item
            self._changed.notify()
            return replaced

    def take(self) -> T | None:
        """Waits for an item; returns None once the mailbox is closed."""
        with self._changed:
            while self._item is None and not self._closed:
                self._changed.wait()
            item, self._item = self._item, None
            return item

    def close(self) -> T | None:
        """Wakes the reader for the last time; returns the unread item, which nobody will read any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            item, self._item = self._item, None
            return item

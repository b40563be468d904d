"""What was sent: a file that the publisher writes before each cloud, so that it holds also after the publisher was killed."""

import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sent:
    """One cloud, as it was about to be published."""

    number: int
    stamp_ns: int
    """Of its header."""
    sent_s: float
    """On the monotonic clock, which all processes of a machine share."""
    kind: str
    cause: str


class JournalWriter:
    """The publisher's side."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, number: int, stamp_ns: int, kind: str, cause: str) -> None:
        """One line in one call, not buffered."""
        os.write(self._file, f"{number} {stamp_ns} {time.monotonic()!r} {kind} {cause or '-'}\n".encode())

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)


class Journal:
    """The checker's side: reads on as the file grows. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        path.touch()
        self._file = path.open("rb")
        self._rest = b""
        self._sent: dict[int, Sent] = {}
        self.kinds: Counter[str] = Counter()
        """Clouds by kind, malformed ones by `malformed.CAUSE` besides."""

    def find(self, number: int) -> Sent | None:
        """The cloud of that number, None if it was never sent."""
        if number not in self._sent:
            self.read_on()
        return self._sent.get(number)

    def read_on(self) -> int:
        """Reads what is new; returns how many clouds were sent so far."""
        with self._lock:
            *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
            for line in lines:
                number, stamp_ns, sent_s, kind, cause = line.decode().split(" ")
                cause = cause.removeprefix("-")
                self._sent[int(number)] = Sent(int(number), int(stamp_ns), float(sent_s), kind, cause)
                self.kinds[kind] += 1
                if cause:
                    self.kinds[f"{kind}.{cause}"] += 1
            return len(self._sent)

    def sent_within(self, periods: Sequence[tuple[float, float]]) -> int:
        """How many clouds were sent in any of the periods, which do not overlap."""
        with self._lock:
            return sum(from_s <= sent.sent_s <= to_s for sent in self._sent.values() for from_s, to_s in periods)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

"""Walks the messages of a bag's file record by record from its start, without an index: MCAP, sqlite3 and the bags of ROS 1.

Whatever ends the walk early, be it the end of the file or bytes that make no sense, is an exception after all that is intact.
Sources: mcap.dev/spec, wiki.ros.org/Bags/Format/2.0 and the schema of rosbag2_storage_sqlite3.
"""

import bz2
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rosbags.rosbag1.reader import lz4_decompress  # type: ignore[attr-defined]  # of lz4, which rosbags brings along
from rosbags.rosbag2.storage_mcap import decompress, zstd  # type: ignore[attr-defined]  # zstd of Python or its backport

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class RawMessage:
    """One message as recorded."""

    topic: str
    msgtype: str
    """With /msg/, also where it comes from ROS 1."""
    bag_time_ns: int
    raw: bytes


class _CutError(ValueError):
    """The bytes end, or stop making sense."""


def _exact(file: BinaryIO, size: int) -> bytes:
    position = file.tell()
    data = file.read(size)
    if len(data) != size:
        raise _cut(position, size, len(data))
    return data


def _cut(position: int, expected: int, found: int) -> _CutError:
    return _CutError(f"cut off: of {expected} bytes from byte {position} on, {found} are there")


class _Fields:
    """Reads little-endian numbers and strings one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        if len(part) != size:
            raise _CutError(f"a record ends after {len(part)} of {size} bytes")
        self.at += size
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def sized(self) -> bytes:
        return self.take(self.number(4))

    @property
    def is_at_end(self) -> bool:
        return self.at >= len(self.data)


def _unpacked(raw: bytes) -> bytes:
    """A message that rosbag2 packed by itself; CDR never begins with these bytes."""
    return zstd.decompress(raw) if raw.startswith(ZSTD_MAGIC) else raw


class _McapState:
    """Schemas and channels seen so far."""

    def __init__(self) -> None:
        self.schemas: dict[int, str] = {}
        self.channels: dict[int, tuple[str, str]] = {}

    def records(self, operation: int, body: bytes) -> Iterator[RawMessage]:
        """The messages in one record."""
        fields = _Fields(body)
        if operation == 0x03:
            number = fields.number(2)
            self.schemas[number] = fields.sized().decode()
        elif operation == 0x04:
            number, schema = fields.number(2), fields.number(2)
            self.channels[number] = (fields.sized().decode(), self.schemas.get(schema, ""))
        elif operation == 0x05:
            topic, kind = self.channels[fields.number(2)]
            fields.take(4)
            bag_time_ns = fields.number(8)
            fields.take(8)
            yield RawMessage(topic, kind, bag_time_ns, _unpacked(body[fields.at :]))
        elif operation == 0x06:
            fields.take(16)
            size, crc, compression = fields.number(8), fields.number(4), fields.sized().decode()
            length = fields.number(8)
            is_cut = len(body) - fields.at < length
            rest = body[fields.at :] if is_cut and not compression else fields.take(length)
            inner = _Fields(rest if is_cut else decompress(rest, compression, size, crc))
            while not inner.is_at_end:
                yield from self.records(inner.number(1), inner.take(inner.number(8)))


def _walk_mcap(path: Path) -> Iterator[RawMessage]:
    state = _McapState()
    with path.open("rb") as file:
        if _exact(file, 8) != b"\x89MCAP0\r\n":
            raise _CutError("does not begin as an MCAP file")
        while True:
            position = file.tell()
            operation = _exact(file, 1)[0]
            if operation in (0x02, 0x0F):
                return
            if operation == 0 or 0x0F < operation < 0x80:
                raise _CutError(f"no record at byte {position}")
            size = int.from_bytes(_exact(file, 8), "little")
            # Of a chunk that is not packed, what is there can be read.
            body = file.read(size) if operation == 0x06 else _exact(file, size)
            try:
                yield from state.records(operation, body)
            except Exception as error:
                raise _CutError(f"damaged record at byte {position}: {error}") from error
            if len(body) < size:
                raise _cut(position, size, len(body))


def _walk_sqlite(path: Path) -> Iterator[RawMessage]:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        # Without this, SQLite refuses a file that is shorter than its header says before it reads a single page.
        database.execute("PRAGMA writable_schema=ON")
        topics = {number: (name, kind) for number, name, kind in database.execute("SELECT id, name, type FROM topics")}
        for topic, bag_time_ns, raw in database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id"):
            yield RawMessage(*topics[topic], bag_time_ns, _unpacked(raw))


_ROS1_UNPACK: dict[bytes, Callable[[bytes], bytes]] = {b"none": bytes, b"bz2": bz2.decompress, b"lz4": lz4_decompress}


def _ros1_header(data: bytes) -> dict[bytes, bytes]:
    fields, header = _Fields(data), {}
    while not fields.is_at_end:
        name, _, value = fields.sized().partition(b"=")
        header[name] = value
    return header


def _ros1_record(
    topics: dict[bytes, tuple[str, str]], header: dict[bytes, bytes], body: bytes, depth: int = 0
) -> Iterator[RawMessage]:
    operation = header[b"op"][0]
    if operation == 7:
        package, _, name = _ros1_header(body)[b"type"].decode().partition("/")
        topics[header[b"conn"]] = (header[b"topic"].decode(), f"{package}/msg/{name}")
    elif operation == 2:
        time = _Fields(header[b"time"])
        yield RawMessage(*topics[header[b"conn"]], time.number(4) * 10**9 + time.number(4), body)
    elif operation == 5 and depth == 0:
        inner = _Fields(_ROS1_UNPACK[header[b"compression"]](body))
        while not inner.is_at_end:
            yield from _ros1_record(topics, _ros1_header(inner.sized()), inner.sized(), depth + 1)


def _walk_ros1(path: Path) -> Iterator[RawMessage]:
    topics: dict[bytes, tuple[str, str]] = {}
    with path.open("rb") as file:
        if not _exact(file, 13).startswith(b"#ROSBAG V2.0\n"):
            raise _CutError("does not begin as a bag of ROS 1")
        while True:
            position = file.tell()
            head = file.read(4)
            if not head:
                raise _CutError(f"ends at byte {position} without an index")
            if len(head) < 4:
                raise _CutError(f"cut off at byte {position}")
            header = _ros1_header(_exact(file, int.from_bytes(head, "little")))
            size = int.from_bytes(_exact(file, 4), "little")
            body = file.read(size) if header.get(b"compression") == b"none" else _exact(file, size)
            if header[b"op"][0] == 6:
                return
            try:
                yield from _ros1_record(topics, header, body)
            except Exception as error:
                raise _CutError(f"damaged record at byte {position}: {error}") from error
            if len(body) < size:
                raise _cut(position, size, len(body))


WALKS: dict[str, Callable[[Path], Iterator[RawMessage]]] = {".mcap": _walk_mcap, ".db3": _walk_sqlite, ".bag": _walk_ros1}
"""How to walk a file, by its suffix."""

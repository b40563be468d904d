"""The clouds of a recording: rosbag2 (MCAP, sqlite3, zstd) and rosbag1, read without ROS.

    with CloudBag(Path("drive.mcap"), topic="/points") as bag:
        for scan in bag:
            cloud = decode(scan.layout, scan.data)

The message definitions that a bag carries are not used: sensor_msgs/PointCloud2 is the same in every ROS 2 release, and what
comes in a file is data, not code.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags import rosbag1, rosbag2
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from relidar.bag_salvage import SalvagedTopic, SalvageReader
from relidar.errors import BagError
from relidar.pointcloud2 import CloudLayout, layout_of

POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
ALL_TOPICS = "all"
"""In place of a topic's name: every PointCloud2 topic of the bag."""


@dataclass(frozen=True)
class RecordedCloud:
    """One PointCloud2 message of a bag."""

    topic: str
    bag_time_ns: int
    """When the recorder received it."""
    stamp_ns: int
    """header.stamp"""
    frame_id: str
    layout: CloudLayout
    data: NDArray[np.uint8]
    is_dense: bool


class CloudBag:
    """An open bag and the PointCloud2 topics chosen from it; iterate to read their clouds in order of bag time."""

    def __init__(
        self, path: Path, topic: str | Sequence[str] | None = None, salvage: bool = False, beside: str | None = None
    ) -> None:
        """Opens a bag.

        Args:
            path: rosbag2 folder, single .mcap or .db3 file, or rosbag1 .bag file.
            topic: the topic or topics to read; None takes the only PointCloud2 topic, `ALL_TOPICS` all there are.
            beside: one more PointCloud2 topic to read, which is not counted among the chosen ones.
            salvage: read a bag that is cut or corrupt up to the damage and tell it in `damage`, rather than raise.

        Raises:
            BagError: the bag is missing, has no such topic, or is cut or corrupt (with `salvage`: nothing in it is intact).
        """
        self.path = path
        self.damage: str | None = None
        """Where and how the bag is damaged, as far as it was read; only with `salvage`."""
        self.read: Counter[str] = Counter()
        """Clouds read so far by topic, in the latest iteration."""
        _check_path(path)
        self._salvage = salvage
        self._reader = _open_reader(path, salvage)
        try:
            if beside is not None:
                _choose(path, self._reader.connections, beside)
            self.topics = _choose(path, [c for c in self._reader.connections if c.topic != beside], topic)
        except BagError:
            self._reader.close()
            raise
        wanted = {*self.topics, beside}
        self._connections = [c for c in self._reader.connections if c.topic in wanted and c.msgtype == POINT_CLOUD]
        self._is_ros1 = path.suffix == ".bag"
        self._typestore = get_typestore(Stores.ROS1_NOETIC if self._is_ros1 else Stores.ROS2_JAZZY)

    @property
    def topic(self) -> str:
        """The topic, where one is read."""
        return self.topics[0]

    def __len__(self) -> int:
        """Number of clouds on the topics, by the bag's own index (of a salvaged bag: the intact ones)."""
        return sum(connection.msgcount for connection in self._connections)

    def intact(self, topic: str) -> int:
        """Number of clouds of one topic, counted as `len` does."""
        counts: list[int] = [connection.msgcount for connection in self._connections if connection.topic == topic]
        return sum(counts)

    def expected(self, topic: str) -> int | None:
        """Number of clouds recorded on a topic; None if a damaged bag does not tell."""
        if isinstance(self._reader, SalvageReader):
            return self._reader.expected.get(topic)
        return self.intact(topic)

    def __iter__(self) -> Iterator[RecordedCloud]:
        """Yields the clouds; raises BagError where the bag is damaged, after all that is intact (with `salvage`: just ends)."""
        try:
            yield from self._clouds()
        except BagError as error:
            if not self._salvage:
                raise
            self.damage = str(error)

    def __enter__(self) -> "CloudBag":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._reader.close()

    def _clouds(self) -> Iterator[RecordedCloud]:
        messages = self._reader.messages(connections=self._connections)
        names = ", ".join(self.topics)
        self.read = Counter()
        while True:
            with _damage_named(self.path, f"damaged after {self.read.total()} of {len(self)} clouds of {names}"):
                item = next(messages, None)
                if item is None:
                    break
                scan = self._cloud(*item)
            self.read[scan.topic] += 1
            yield scan
        if isinstance(self._reader, SalvageReader):
            told = [count for topic in self.topics if (count := self._reader.expected.get(topic)) is not None]
            of = f" of {sum(told)}" if len(told) == len(self.topics) else ""
            end = self._reader.damage or "the rest is intact, but the bag's index or metadata.yaml is not"
            raise BagError(f"{self.path}: damaged; {self.read.total()}{of} clouds of {names} could be read: {end}.")
        if self.read.total() < len(self):
            raise BagError(f"{self.path}: {names} ends after {self.read.total()} of {len(self)} clouds; copy the bag again.")

    def _cloud(self, connection: Connection | SalvagedTopic, bag_time_ns: int, raw: bytes) -> RecordedCloud:
        deserialise = self._typestore.deserialize_ros1 if self._is_ros1 else self._typestore.deserialize_cdr
        message = deserialise(raw, POINT_CLOUD)
        header = message.header  # type: ignore[attr-defined]
        return RecordedCloud(
            topic=connection.topic,
            bag_time_ns=bag_time_ns,
            stamp_ns=header.stamp.sec * 10**9 + header.stamp.nanosec,
            frame_id=header.frame_id,
            layout=layout_of(message),
            data=message.data,  # type: ignore[attr-defined]
            is_dense=bool(message.is_dense),  # type: ignore[attr-defined]
        )


def _check_path(path: Path) -> None:
    if not path.exists():
        raise BagError(f"{path}: no such bag; give a rosbag2 folder, an .mcap or .db3 file, or a rosbag1 .bag file.")
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        raise BagError(f"{path}: a folder without metadata.yaml; give its .mcap or .db3 file, or run `ros2 bag reindex`.")
    if path.is_file() and path.suffix not in (".mcap", ".db3", ".bag"):
        raise BagError(f"{path}: unknown kind of bag {path.suffix!r}, expected .mcap, .db3, .bag or a rosbag2 folder.")


def _open_reader(path: Path, salvage: bool) -> Any:
    """A reader of rosbags, or one of what is intact where rosbags cannot open the bag; both have the same members."""
    try:
        with _damage_named(path, "cannot be opened"):
            reader = rosbag1.Reader(path) if path.suffix == ".bag" else rosbag2.Reader(path)
            reader.open()
            return reader
    except BagError:
        if not salvage:
            raise
    return SalvageReader(path)


def _choose(path: Path, connections: Sequence[Connection | SalvagedTopic], topic: str | Sequence[str] | None) -> tuple[str, ...]:
    kinds = {connection.topic: connection.msgtype for connection in connections}
    clouds = sorted(name for name, kind in kinds.items() if kind == POINT_CLOUD)
    asked = [topic] if isinstance(topic, str) else list(topic or ())
    for name in asked:
        if name not in clouds and name != ALL_TOPICS:
            found = f"is of type {kinds[name]}" if name in kinds else "is not in the bag"
            raise BagError(f"{path}: topic {name} {found}; PointCloud2 topics: {', '.join(clouds) or 'none'}.")
    if not clouds:
        topics = ", ".join(f"{name} ({kind})" for name, kind in sorted(kinds.items())) or "none"
        raise BagError(f"{path}: no PointCloud2 topic; topics: {topics}. Record the LiDAR's PointCloud2 topic.")
    if ALL_TOPICS in asked:
        return tuple(clouds)
    if not asked and len(clouds) > 1:
        raise BagError(f"{path}: {len(clouds)} PointCloud2 topics: {', '.join(clouds)}; name one with --topic.")
    return tuple(dict.fromkeys(asked)) or (clouds[0],)


@contextmanager
def _damage_named(path: Path, what: str) -> Iterator[None]:
    """Turns whatever rosbags raises on damaged bytes (its own errors, struct, zstd, sqlite, assertions) into a BagError."""
    try:
        yield
    except Exception as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise BagError(f"{path}: {what}: {detail}. Copy the bag again, or repair it with `ros2 bag reindex`.") from error

"""The clouds of a recording: rosbag2 (MCAP, sqlite3, zstd) and rosbag1, read without ROS.

    with CloudBag(Path("drive.mcap"), topic="/points") as bag:
        for scan in bag:
            cloud = decode(scan.layout, scan.data)

The message definitions that a bag carries are not used: sensor_msgs/PointCloud2 is the same in every ROS 2 release, and what
comes in a file is data, not code.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from rosbags import rosbag1, rosbag2
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from relidar.errors import BagError
from relidar.pointcloud2 import CloudLayout, layout_of

POINT_CLOUD = "sensor_msgs/msg/PointCloud2"


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
    """An open bag and the one PointCloud2 topic chosen from it; iterate to read its clouds in order of bag time."""

    def __init__(self, path: Path, topic: str | None = None) -> None:
        """Opens a bag.

        Args:
            path: rosbag2 folder, single .mcap or .db3 file, or rosbag1 .bag file.
            topic: the topic to read; None takes the only PointCloud2 topic.

        Raises:
            BagError: the bag is missing, cut or corrupt, or has no such topic.
        """
        self.path = path
        _check_path(path)
        with _damage_named(path, "cannot be opened"):
            self._reader = rosbag1.Reader(path) if path.suffix == ".bag" else rosbag2.Reader(path)
            self._reader.open()
        try:
            self.topic = _choose(path, self._reader.connections, topic)
        except BagError:
            self._reader.close()
            raise
        self._connections = [c for c in self._reader.connections if c.topic == self.topic and c.msgtype == POINT_CLOUD]
        self._typestore = get_typestore(Stores.ROS1_NOETIC if path.suffix == ".bag" else Stores.ROS2_JAZZY)

    def __len__(self) -> int:
        """Number of clouds on the topic, by the bag's own index."""
        return sum(connection.msgcount for connection in self._connections)

    def __iter__(self) -> Iterator[RecordedCloud]:
        """Yields the clouds; raises BagError where the bag is damaged, after all that is intact."""
        messages = self._reader.messages(connections=self._connections)
        count = 0
        while True:
            with _damage_named(self.path, f"damaged after {count} of {len(self)} clouds of {self.topic}"):
                item = next(messages, None)
                if item is None:
                    break
                scan = self._cloud(*item)
            yield scan
            count += 1
        if count < len(self):
            raise BagError(f"{self.path}: {self.topic} ends after {count} of {len(self)} clouds; copy the bag again.")

    def __enter__(self) -> "CloudBag":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._reader.close()

    def _cloud(self, connection: Connection, bag_time_ns: int, raw: bytes) -> RecordedCloud:
        is_ros1 = isinstance(self._reader, rosbag1.Reader)
        deserialise = self._typestore.deserialize_ros1 if is_ros1 else self._typestore.deserialize_cdr
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


def _choose(path: Path, connections: list[Connection], topic: str | None) -> str:
    kinds = {connection.topic: connection.msgtype for connection in connections}
    clouds = sorted(name for name, kind in kinds.items() if kind == POINT_CLOUD)
    if topic is not None and topic not in clouds:
        found = f"is of type {kinds[topic]}" if topic in kinds else "is not in the bag"
        raise BagError(f"{path}: topic {topic} {found}; PointCloud2 topics: {', '.join(clouds) or 'none'}.")
    if not clouds:
        topics = ", ".join(f"{name} ({kind})" for name, kind in sorted(kinds.items())) or "none"
        raise BagError(f"{path}: no PointCloud2 topic; topics: {topics}. Record the LiDAR's PointCloud2 topic.")
    if topic is None and len(clouds) > 1:
        raise BagError(f"{path}: {len(clouds)} PointCloud2 topics: {', '.join(clouds)}; name one with --topic.")
    return topic if topic is not None else clouds[0]


@contextmanager
def _damage_named(path: Path, what: str) -> Iterator[None]:
    """Turns whatever rosbags raises on damaged bytes (its own errors, struct, zstd, sqlite, assertions) into a BagError."""
    try:
        yield
    except Exception as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise BagError(f"{path}: {what}: {detail}. Copy the bag again, or repair it with `ros2 bag reindex`.") from error

"""Writes rosbag2 MCAP recordings without ROS: clouds, transforms and any other message of the standard packages.

    with record(Path("drive")) as writer:
        layout, data = cloud_of({"x": x, "y": y, "z": z, "intensity": intensity})
        writer.cloud("/lidar_points", stamp_ns, "lidar", layout, data)

The bag is written beside its place and renamed when it is whole. Every topic is recorded as reliable, as `ros2 bag play` then
offers it: RViz asks for that by default and would show nothing of a best-effort topic, while nodes that ask for less take it too.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from relidar.atomic import atomic_folder
from relidar.pointcloud2 import Buffer, CloudLayout, append_fields

TRANSFORMS, FIXED_TRANSFORMS = "/tf", "/tf_static"


@dataclass(frozen=True)
class Pose:
    """parent_from_child."""

    parent: str
    child: str
    translation_m: Sequence[float] | NDArray[np.float64]
    quaternion_wxyz: Sequence[float]


class BagWriter:
    """An open bag; topics are added as they come."""

    def __init__(self, writer: Writer) -> None:
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._writer = writer
        self._connections: dict[str, Connection] = {}

    def make(self, kind: str, **values: Any) -> Any:
        """A message of type `kind`, such as "sensor_msgs/msg/PointField"."""
        return self._store.types[kind](**values)

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """std_msgs/Header."""
        stamp = self.make("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        return self.make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def write(self, topic: str, kind: str, bag_time_ns: int, is_latched: bool = False, **values: Any) -> None:
        """Writes one message of type `kind` with these field values; who subscribes to a latched topic late gets the last one."""
        if topic not in self._connections:
            quality = [_quality(100 if topic == TRANSFORMS else 5, is_latched)]
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=self._store, offered_qos_profiles=quality
            )
        self._writer.write(self._connections[topic], bag_time_ns, self._store.serialize_cdr(self.make(kind, **values), kind))

    def cloud(
        self,
        topic: str,
        stamp_ns: int,
        frame_id: str,
        layout: CloudLayout,
        data: Buffer,
        is_dense: bool = False,
        bag_time_ns: int | None = None,
    ) -> None:
        """Writes a sensor_msgs/PointCloud2, at bag time `stamp_ns` unless another is given."""
        fields = [
            self.make("sensor_msgs/msg/PointField", name=f.name, offset=f.offset, datatype=f.datatype, count=f.count)
            for f in layout.fields
        ]
        self.write(
            topic,
            "sensor_msgs/msg/PointCloud2",
            stamp_ns if bag_time_ns is None else bag_time_ns,
            header=self.header(stamp_ns, frame_id),
            height=layout.height,
            width=layout.width,
            fields=fields,
            is_bigendian=layout.is_bigendian,
            point_step=layout.point_step,
            row_step=layout.row_step,
            data=np.frombuffer(data, np.uint8),
            is_dense=is_dense,
        )

    def transforms(self, topic: str, stamp_ns: int, poses: Iterable[Pose]) -> None:
        """Writes a tf2_msgs/TFMessage."""
        stamped = [
            self.make(
                "geometry_msgs/msg/TransformStamped",
                header=self.header(stamp_ns, pose.parent),
                child_frame_id=pose.child,
                transform=self._transform(pose),
            )
            for pose in poses
        ]
        self.write(topic, "tf2_msgs/msg/TFMessage", stamp_ns, topic == FIXED_TRANSFORMS, transforms=stamped)

    def _transform(self, pose: Pose) -> Any:
        x, y, z = map(float, pose.translation_m)
        place = self.make("geometry_msgs/msg/Vector3", x=x, y=y, z=z)
        w, x, y, z = map(float, pose.quaternion_wxyz)
        turn = self.make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
        return self.make("geometry_msgs/msg/Transform", translation=place, rotation=turn)


@contextmanager
def record(path: Path) -> Iterator[BagWriter]:
    """Opens the bag folder `path` (its `<name>.mcap` and metadata.yaml) for writing; an old one is replaced at the end."""
    with atomic_folder(path) as temporary:
        inner = temporary / path.name  # rosbags names the file after its folder
        with Writer(inner, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            yield BagWriter(writer)
        for file in list(inner.iterdir()):
            file.rename(temporary / file.name)
        inner.rmdir()


def cloud_of(columns: Mapping[str, NDArray[Any]]) -> tuple[CloudLayout, bytes]:
    """A cloud of these fields: name -> (N,) values of a PointCloud2 datatype, each aligned to its own size."""
    N = len(next(iter(columns.values())))
    return append_fields(CloudLayout(1, N, (), 0, 0), b"", columns)


def _quality(depth: int, is_latched: bool) -> Qos:
    forever = QosTime(sec=2147483647, nsec=4294967295)
    return Qos(
        QosHistory.KEEP_LAST,
        1 if is_latched else depth,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if is_latched else QosDurability.VOLATILE,
        forever,
        forever,
        QosLiveliness.AUTOMATIC,
        forever,
        False,
    )

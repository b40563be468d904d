"""Records the answers of a replay as a rosbag2 MCAP, for `ros2 bag play` and RViz.

For each replayed topic T: T/segmentation, the cloud that the live node publishes, byte for byte; T/visualization, its points with
rgb; T/label_info, std_msgs/String, JSON that says which label is which class (once, at the start, transient local). Bag times and
headers are those of the recorded clouds.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer

from relidar.bags import POINT_CLOUD, RecordedCloud
from relidar.cloud_outputs import OutputCloud
from relidar.cloud_writer import BagWriter

STRING = "std_msgs/msg/String"


class LabelledBag(BagWriter):
    """An open recording of answers."""

    def __init__(self, writer: Writer, label_info: dict[str, Any]) -> None:
        """`label_info`: what the labels mean, as plain data."""
        super().__init__(writer)
        self._label_info = json.dumps(label_info)
        self._bag_time_ns = 0

    def answer(self, scan: RecordedCloud, segmentation: OutputCloud, visualization: OutputCloud) -> None:
        """Writes the answers to one scan."""
        self._bag_time_ns = scan.bag_time_ns
        if f"{scan.topic}/label_info" not in self._connections:
            self._open(f"{scan.topic}/label_info", STRING, _quality(1, QosDurability.TRANSIENT_LOCAL))
            self.write(f"{scan.topic}/label_info", STRING, scan.bag_time_ns, data=self._label_info)
            for name in ("segmentation", "visualization"):
                self._open(f"{scan.topic}/{name}", POINT_CLOUD, _quality(5, QosDurability.VOLATILE))
        for name, cloud in (("segmentation", segmentation), ("visualization", visualization)):
            topic = f"{scan.topic}/{name}"
            self.cloud(topic, scan.stamp_ns, scan.frame_id, cloud.layout, cloud.data, is_dense=scan.is_dense)

    def write(self, topic: str, kind: str, stamp_ns: int, **values: Any) -> None:
        """Writes at the bag time of the scan in hand; `stamp_ns`, which the header holds, may differ from it."""
        super().write(topic, kind, self._bag_time_ns, **values)

    def _open(self, topic: str, kind: str, quality: Qos) -> None:
        added = self._writer.add_connection(topic, kind, typestore=self._store, offered_qos_profiles=[quality])
        self._connections[topic] = added


@contextmanager
def record_labels(path: Path, label_info: dict[str, Any]) -> Iterator[LabelledBag]:
    """Opens the bag folder `path`, which must not exist, for writing."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        yield LabelledBag(writer, label_info)


def _quality(depth: int, durability: QosDurability) -> Qos:
    """Reliable, as the node publishes: what subscribes as best effort takes it too."""
    forever = QosTime(sec=2147483647, nsec=4294967295)
    return Qos(
        QosHistory.KEEP_LAST,
        depth,
        QosReliability.RELIABLE,
        durability,
        forever,
        forever,
        QosLiveliness.AUTOMATIC,
        forever,
        False,
    )

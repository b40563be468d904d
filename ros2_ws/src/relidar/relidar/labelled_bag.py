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

from relidar.bags import RecordedCloud
from relidar.cloud_outputs import OutputCloud
from relidar.cloud_writer import BagWriter, record


class LabelledBag:
    """An open recording of answers."""

    def __init__(self, writer: BagWriter, label_info: dict[str, Any]) -> None:
        """`label_info`: what the labels mean, as plain data."""
        self._writer = writer
        self._label_info = json.dumps(label_info)
        self._described: set[str] = set()

    def answer(self, scan: RecordedCloud, segmentation: OutputCloud, visualization: OutputCloud) -> None:
        """Writes the answers to one scan."""
        if scan.topic not in self._described:
            self._described.add(scan.topic)
            topic = f"{scan.topic}/label_info"
            self._writer.write(topic, "std_msgs/msg/String", scan.bag_time_ns, is_latched=True, data=self._label_info)
        for name, cloud in (("segmentation", segmentation), ("visualization", visualization)):
            topic, stamp_ns, bag_time_ns = f"{scan.topic}/{name}", scan.stamp_ns, scan.bag_time_ns
            self._writer.cloud(topic, stamp_ns, scan.frame_id, cloud.layout, cloud.data, scan.is_dense, bag_time_ns)


@contextmanager
def record_labels(path: Path, label_info: dict[str, Any]) -> Iterator[LabelledBag]:
    """Opens the bag folder `path` for writing; it is there when the recording is whole."""
    with record(path) as writer:
        yield LabelledBag(writer, label_info)

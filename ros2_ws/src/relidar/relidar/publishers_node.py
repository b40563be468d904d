"""What segment_node publishes while it is configured: clouds, what the labels mean, and timings."""

import json
from collections.abc import Mapping
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float64, String

from relidar.cloud_message_node import cloud_message
from relidar.cloud_outputs import OutputCloud
from relidar.scan_answer import OUTPUTS
from relidar.vocabulary import Vocabulary

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:  # not part of every ROS installation
    LabelInfo = None

TIMINGS = ("decode", "voxelise", "rulebook", "infer", "scores", "encode", "total")


class Publishers:
    """All publishers of a configured node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._clouds = {name: node.create_publisher(PointCloud2, f"~/output/{name}", 5) for name in OUTPUTS}
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._label_info = node.create_publisher(LabelInfo or String, "~/label_info", latched)
        topics = [f"{name}_ms" for name in TIMINGS] + ["pipeline_latency_ms"]
        self._timings = {topic: node.create_publisher(Float64, f"~/debug/{topic}", 10) for topic in topics}

    def wanted(self) -> frozenset[str]:
        """Those of OUTPUTS that somebody subscribes to."""
        return frozenset(name for name, publisher in self._clouds.items() if publisher.get_subscription_count())

    def publish(self, asked: PointCloud2, clouds: Mapping[str, OutputCloud]) -> None:
        """Answers a cloud, its header unchanged."""
        for name, cloud in clouds.items():
            self._clouds[name].publish(cloud_message(asked.header, cloud.layout, cloud.data, asked.is_dense))

    def publish_timings(self, timings_ms: Mapping[str, float]) -> None:
        """Milliseconds by topic, each where somebody subscribes to it."""
        for topic, value_ms in timings_ms.items():
            if self._timings[topic].get_subscription_count():
                self._timings[topic].publish(Float64(data=value_ms))

    def publish_label_info(self, vocabulary: Vocabulary) -> None:
        """What labels mean from now on; kept for those who subscribe later."""
        self._label_info.publish(_label_info(self._node, vocabulary))

    def destroy(self) -> None:
        """Takes all of them down."""
        for publisher in (*self._clouds.values(), self._label_info, *self._timings.values()):
            self._node.destroy_publisher(publisher)


def _label_info(node: Node, vocabulary: Vocabulary) -> Any:
    """vision_msgs/LabelInfo, with the version in header.frame_id since it has no other place; else the same as JSON."""
    info = vocabulary.label_info()
    if LabelInfo is None:
        return String(data=json.dumps(info))
    classes = [VisionClass(class_id=c["class_id"], class_name=c["class_name"]) for c in info["class_map"]]
    message = LabelInfo(class_map=classes, threshold=info["threshold"])
    message.header.stamp = node.get_clock().now().to_msg()
    message.header.frame_id = f"version {vocabulary.version}"
    return message

"""What the ROS 2 node adds to the segmenter's own time; `make bench` writes it to results/bench.json.

ours is the whole answer of the node: from a received message to the published one. peer is what it may take: the segmenter alone
plus 5 ms or 10 %, whichever is more.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relidar.pointcloud2 import decode, layout_of

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed: extra `ros-wheels`, or a sourced ROS 2")

# The message generator that rclpy imports is deprecated.
pytestmark = [pytest.mark.bench, pytest.mark.filterwarnings("ignore:module 'sre_.*' is deprecated:DeprecationWarning")]
RUNS = 25


@pytest.fixture
def node(tiny_bundle: Path, threads: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An active node in this process on the backend that it chooses, whose segmentation a second node subscribes to."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.node import Node
    from sensor_msgs.msg import PointCloud2

    from relidar.segment_node import SegmentNode

    rclpy.init(args=["--ros-args", "-p", f"bundle:={tiny_bundle}", "-p", f"threads:={threads}"])
    node, listener = SegmentNode(), Node("listener")
    answers: list[Any] = []
    listener.create_subscription(PointCloud2, "/segment_node/output/segmentation", answers.append, 5)
    assert node.trigger_configure() == node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    yield node
    node.close()
    node.destroy_node()
    listener.destroy_node()
    rclpy.shutdown()


def scan_message() -> Any:
    """34,720 points as 32 beams see ground and walls, in the layout of a driver with ring and time."""
    from sensor_msgs.msg import PointCloud2, PointField

    azimuth, ring = np.meshgrid(np.linspace(-np.pi, np.pi, 1085), np.radians(np.linspace(-30.67, 10.67, 32)))
    wall_m = 12 + 8 * np.abs(np.sin(3 * azimuth))
    ground_m = np.where(ring < -0.02, 1.84 / np.tan(np.maximum(-ring, 0.02)), np.inf)
    distance_m = np.minimum(wall_m, ground_m)
    fields = [("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("intensity", 12, 7), ("ring", 16, 4), ("time", 18, 7)]
    points = np.zeros((distance_m.size, 22), np.uint8)
    columns = np.stack([distance_m * np.cos(azimuth), distance_m * np.sin(azimuth), distance_m * np.tan(ring)], axis=-1)
    points[:, :12] = columns.reshape(-1, 3).astype("<f4").view(np.uint8)
    return PointCloud2(
        height=1,
        width=len(points),
        fields=[PointField(name=name, offset=offset, datatype=datatype, count=1) for name, offset, datatype in fields],
        point_step=22,
        row_step=22 * len(points),
        data=points.tobytes(),
        is_dense=True,
    )


def test_the_node_adds_at_most_5_ms_or_a_tenth(node: Any, alternate: Callable, record: Callable) -> None:
    message = scan_message()
    configured = node._configured
    end = time.monotonic() + 20
    while not configured.publishers.wanted():
        assert time.monotonic() < end, "the listener was not seen"
        time.sleep(0.05)
    cloud = decode(layout_of(message), message.data)
    whole, alone = alternate(
        lambda: node._answer(message), lambda: configured.model.segmenter(cloud.xyz_m, cloud.intensity), runs=RUNS
    )
    backend = configured.model.executor.name
    detail = f"{message.width} points, one output, {backend}, segmenter alone {alone:.1f} ms; peer adds max(5 ms, 10 %)"
    detail += f"; median of {RUNS}"
    assert record("node_overhead", whole, alone + max(5.0, 0.1 * alone), detail, wanted=1.0) >= 1.0

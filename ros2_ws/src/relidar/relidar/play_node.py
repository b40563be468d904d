"""ROS 2 node: plays the clouds of a bag to a running segment_node and checks its answers.

Every cloud gets a fresh stamp. An answer must carry a stamp that was sent, come once, in order, and label every point. Scans that
the node dropped because a newer one came are no fault; they are counted as the node reports them. Unless the environment says
otherwise, Fast DDS gets enough shared memory for large clouds (fast_dds_large_clouds.xml).

    python -m relidar.play_node runs/demo/street/street.mcap --rate 2 --out runs/demo/live.json
"""

import itertools
import json
import os
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from tqdm import tqdm

from relidar import command_line
from relidar.answer_check import AnswerCheck
from relidar.atomic import write_text
from relidar.bags import CloudBag, RecordedCloud
from relidar.cloud_message_node import cloud_message
from relidar.errors import BagError, RelidarError
from relidar.pointcloud2 import layout_of
from relidar.scan_counts import FINISHED

SETTLE_S = 10.0
"""How long the answers to the last scans may take."""
COUNTERS = ("received", *FINISHED)


class PlayNode(Node):  # type: ignore[misc]  # rclpy has no types
    """Publishes clouds to one segment_node, keeps the books on its answers and remembers its newest diagnostics."""

    def __init__(self, target: str) -> None:
        """`target`: full name of the node, such as /segment_node."""
        super().__init__("play_node")
        self.check = AnswerCheck()
        self.counters: dict[str, int] | None = None
        self.target = target
        self._clouds = self.create_publisher(PointCloud2, f"{target}/input/pointcloud", 5)
        self.create_subscription(PointCloud2, f"{target}/output/segmentation", self._receive, QoSProfile(depth=100))
        self.create_subscription(DiagnosticArray, "/diagnostics", self._note, 10)

    @property
    def is_connected(self) -> bool:
        """Whether the node listens, can be heard, and has told its counters."""
        listens = self._clouds.get_subscription_count() > 0
        return listens and self.counters is not None and self.count_publishers(f"{self.target}/output/segmentation") > 0

    def send(self, scan: RecordedCloud) -> None:
        """Publishes one cloud with the present time as its stamp."""
        stamp = self.get_clock().now()
        header = Header(stamp=stamp.to_msg(), frame_id=scan.frame_id)
        message = cloud_message(header, scan.layout, scan.data.tobytes(), scan.is_dense)
        self.check.sent(stamp.nanoseconds, scan.layout.points, scan.frame_id, time.perf_counter())
        self._clouds.publish(message)

    def _receive(self, message: PointCloud2) -> None:
        arrival_s = time.perf_counter()
        layout = layout_of(message)
        points = layout.points if layout.field("label") and layout.field("score") else 0
        self.check.received(Time.from_msg(message.header.stamp).nanoseconds, points, message.header.frame_id, arrival_s)

    def _note(self, array: DiagnosticArray) -> None:
        for status in array.status:
            if status.name == f"{self.target.lstrip('/')}: segmentation":
                values = {pair.key: pair.value for pair in status.values}
                self.counters = {name: int(values[name]) for name in COUNTERS}


def play(node: PlayNode, bag: CloudBag, count: int, rate_hz: float, discovery_timeout_s: float) -> dict[str, Any]:
    """Sends `count` clouds, from the start again where the bag ends; returns the report. `node` spins elsewhere.

    Raises:
        RelidarError: the node cannot be found in time; BagError: the bag has no cloud or is damaged.
    """
    if not _wait(lambda: node.is_connected, discovery_timeout_s):
        raise RelidarError(
            f"no node answers to {node.target} within {discovery_timeout_s:g} s; start it, name it with --node, and use the "
            "same ROS_DOMAIN_ID."
        )
    before = dict(node.counters or {})
    scans = itertools.islice(_endless(bag), count)
    start_s = time.perf_counter()
    for index, scan in enumerate(tqdm(scans, "playing", count, unit="scan")):
        time.sleep(max(0.0, start_s + index / rate_hz - time.perf_counter()))
        node.send(scan)
    seconds = time.perf_counter() - start_s

    def told() -> dict[str, int]:
        return {name: (node.counters or {})[name] - before[name] for name in COUNTERS}

    def settled() -> bool:
        counted = told()
        return counted["received"] == sum(counted.values()) - counted["received"] and counted["answered"] == node.check.answered

    # Diagnostics come once a second, so the first that could count all scans may still be on its way.
    time.sleep(1.1)
    _wait(settled, SETTLE_S)
    report = node.check.report()
    reported = told()
    report["rate_hz"] = round((count - 1) / seconds, 2) if count > 1 else None
    report["lost_in_transport"] = report["sent"] - reported["received"]
    report["node_counted"] = reported
    return report


def _endless(bag: CloudBag) -> Iterator[RecordedCloud]:
    if len(bag) == 0:
        raise BagError(f"{bag.path}: {bag.topic} has no cloud; record it again.")
    while True:
        yield from bag


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    end_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.05)
    return True


def _spin(node: PlayNode) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        executor.spin()
    except ExternalShutdownException:
        pass
    finally:
        executor.remove_node(node)


def _run(arguments: Namespace) -> None:
    with CloudBag(arguments.bag, arguments.topic) as bag:
        os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(Path(__file__).with_name("fast_dds_large_clouds.xml")))
        rclpy.init(args=[])
        node = PlayNode(arguments.node)
        spinning = threading.Thread(target=_spin, args=(node,), daemon=True)
        spinning.start()
        try:
            report = play(node, bag, arguments.count or len(bag), arguments.rate, arguments.discovery_timeout_s)
        finally:
            rclpy.try_shutdown()
            spinning.join(5)
            node.destroy_node()
    write_text(arguments.out, json.dumps(report, indent=2) + "\n")
    dropped = report["node_counted"]["dropped"]
    command_line.say(
        f"{report['sent']} sent, {report['answered']} answered, {dropped} dropped, {node.check.wrong} wrong: {arguments.out}"
    )
    if node.check.wrong:
        raise RelidarError(f"{node.check.wrong} answers of {arguments.node} are wrong; {arguments.out} counts them by kind.")


def main() -> None:
    """The command."""
    parser: ArgumentParser = command_line.parser(__doc__)
    parser.add_argument("bag", type=Path, help="rosbag2 folder, .mcap, .db3 or rosbag1 .bag")
    parser.add_argument("--topic", help="PointCloud2 topic of the bag, if it has several")
    parser.add_argument("--rate", type=command_line.above_zero, default=2.0, help="clouds a second (default %(default)s)")
    count = "clouds to send; starts again where the bag ends (default: the bag once)"
    parser.add_argument("--count", type=command_line.at_least(1), help=count)
    parser.add_argument("--node", default="/segment_node", help="full name of the node (default %(default)s)")
    discovery = "to find the node (default %(default)s)"
    parser.add_argument("--discovery-timeout-s", type=command_line.above_zero, default=60.0, help=discovery)
    parser.add_argument("--out", type=Path, required=True, help="report to write, JSON")
    arguments = parser.parse_args()
    command_line.run(lambda: _run(arguments))


if __name__ == "__main__":
    main()

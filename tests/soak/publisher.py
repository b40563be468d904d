"""The soak's publisher, a process of its own: sends clouds at a fixed rate until it is ended or killed.

python -m tests.soak.publisher --seed 0 --first 0 --rate 20 --journal journal.txt --topic /segment_node/input/pointcloud
"""

import argparse
import signal
import sys
import time
from pathlib import Path

import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from relidar.cloud_message_node import cloud_message
from tests.soak.clouds import SoakCloud, make_cloud
from tests.soak.journal import JournalWriter


def message_of(cloud: SoakCloud) -> PointCloud2:
    """The cloud as a message; frame_id says its number."""
    header = Header(frame_id=f"soak_{cloud.number}")
    return cloud_message(header, cloud.layout, cloud.data, is_dense=cloud.kind != "not_finite")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--first", type=int, required=True, help="number of the first cloud")
    parser.add_argument("--rate", type=float, required=True, help="clouds a second")
    parser.add_argument("--journal", type=Path, required=True, help="file to note each cloud in")
    parser.add_argument("--topic", required=True)
    arguments = parser.parse_args()
    rclpy.init(args=[])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    node = rclpy.create_node("soak_publisher")
    clouds = node.create_publisher(PointCloud2, arguments.topic, qos_profile_sensor_data)
    journal = JournalWriter(arguments.journal)
    number = arguments.first
    due_s = time.monotonic()
    while True:
        cloud = make_cloud(arguments.seed, number)
        message = message_of(cloud)
        time.sleep(max(0.0, due_s - time.monotonic()))
        # After a stall the rate goes on from now; a burst would only be dropped.
        due_s = max(due_s, time.monotonic() - 1 / arguments.rate) + 1 / arguments.rate
        stamp_ns = time.time_ns()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        journal.write(number, stamp_ns, cloud.kind, cloud.cause)
        clouds.publish(message)
        number += 1


if __name__ == "__main__":
    main()

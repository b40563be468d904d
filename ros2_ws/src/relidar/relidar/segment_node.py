"""ROS 2 node: labels every point of a PointCloud2.

~/input/pointcloud in (sensor data QoS, the newest scan wins), ~/output/segmentation out: the same points in their order, with
label, score and rgb. What became of each scan is counted in /diagnostics once a second.

    python -m relidar.segment_node --ros-args -p bundle:=runs/demo/bundle -r '~/input/pointcloud:=/lidar/points'
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from rclpy.time import Time
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import PointCloud2, PointField

from relidar import command_line
from relidar.backends import BACKENDS, open_executor
from relidar.bundle import open_bundle
from relidar.errors import ConfigError
from relidar.labelled_cloud import colours_of, label_cloud
from relidar.mailbox import Mailbox
from relidar.pointcloud2 import CloudLayout, MalformedCloudError, layout_of
from relidar.scan_counts import ScanCounts
from relidar.segmenter import Segmenter

STOP_TIMEOUT_S = 1.5


class SegmentNode(Node):  # type: ignore[misc]  # rclpy has no types
    """Receives in the executor's thread, labels in a worker thread, so that a slow scan never delays receiving."""

    def __init__(self) -> None:
        """Loads and warms up the bundle, then subscribes; raises RelidarError where that fails."""
        super().__init__("segment_node")
        bundle = open_bundle(self._bundle_path())
        self._executor = open_executor(bundle, self._text_parameter("backend", "auto", f"One of: {', '.join(BACKENDS)}."))
        for name, reason in self._executor.rejected.items():
            self.get_logger().info(f"backend {name} does not run here: {reason}")
        golden = bundle.golden()
        self._segmenter = Segmenter.of_bundle(bundle, self._executor)
        self._segmenter(golden.xyz_m, golden.intensity)
        self._colours = colours_of(bundle.manifest.classes)
        self._counts = ScanCounts()
        self._errors_told = 0
        self._mailbox: Mailbox[PointCloud2] = Mailbox()
        self._worker = threading.Thread(target=self._work, name="segment", daemon=True)
        self._worker.start()
        self._answers = self.create_publisher(PointCloud2, "~/output/segmentation", 5)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # The newest scan wins in the mailbox, where each drop is counted; a queue of one in the middleware would drop in silence.
        self.create_subscription(PointCloud2, "~/input/pointcloud", self._receive, qos_profile_sensor_data)
        # The steady clock ticks also where simulated time stands still.
        self.create_timer(1.0, self._diagnose, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(f"ready: {bundle.path} with {len(bundle.manifest.classes)} classes on {self._executor.name}")

    def stop(self) -> bool:
        """Ends the worker after the scan in hand; False if that takes longer than STOP_TIMEOUT_S."""
        self._mailbox.close()
        self._worker.join(STOP_TIMEOUT_S)
        return not self._worker.is_alive()

    def _bundle_path(self) -> Path:
        text = self._text_parameter("bundle", "", "Folder that `python -m export.trt` wrote.")
        if not text:
            raise ConfigError("parameter bundle is empty; give the bundle's folder: -p bundle:=FOLDER, or in a file.")
        return Path(text)

    def _text_parameter(self, name: str, default: str, description: str) -> str:
        try:
            value = self.declare_parameter(name, default, ParameterDescriptor(description=description, read_only=True)).value
        except InvalidParameterTypeException as error:
            raise ConfigError(f"parameter {name}: {error}; give a text.") from error
        return str(value)

    def _receive(self, message: PointCloud2) -> None:
        self._counts.receive()
        if self._mailbox.put(message) is not None:
            self._counts.drop()

    def _work(self) -> None:
        while (message := self._mailbox.take()) is not None:
            self._answer_or_count(message)

    def _answer_or_count(self, message: PointCloud2) -> None:
        try:
            self._answer(message)
        except MalformedCloudError as error:
            self._counts.malform(error.cause)
            self.get_logger().error(f"cloud of {message.header.frame_id!r} left out: {error}", throttle_duration_sec=5.0)
        except Exception as error:  # noqa: BLE001  # one scan that fails must not take the node with it
            self._counts.fail(type(error).__name__)
            self.get_logger().error(f"scan failed: {type(error).__name__}: {error}", throttle_duration_sec=5.0)

    def _answer(self, message: PointCloud2) -> None:
        start = time.perf_counter()
        labelled = label_cloud(self._segmenter, self._colours, layout_of(message), message.data)
        self._answers.publish(_cloud_message(message, labelled.layout, labelled.data))
        latency_ns = self.get_clock().now().nanoseconds - Time.from_msg(message.header.stamp).nanoseconds
        self._counts.answer(labelled.layout.points, 1e3 * (time.perf_counter() - start), latency_ns / 1e6)

    def _diagnose(self) -> None:
        values = self._counts.snapshot()
        errors = self._counts.errors
        status = DiagnosticStatus(
            level=DiagnosticStatus.WARN if errors > self._errors_told else DiagnosticStatus.OK,
            name=f"{self.get_fully_qualified_name().lstrip('/')}: segmentation",
            message=f"{errors - self._errors_told} scans not usable" if errors > self._errors_told else "labelling",
            hardware_id=self._executor.name,
            values=[
                KeyValue(key="backend", value=self._executor.name),
                KeyValue(key="golden_difference", value=f"{self._executor.golden_difference:.1e}"),
                *[KeyValue(key=key, value="" if value is None else str(value)) for key, value in values.items()],
            ],
        )
        if values["received"] == 0:
            status.message = "no cloud received yet"
        self._errors_told = errors
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def _cloud_message(asked: PointCloud2, layout: CloudLayout, data: bytes) -> PointCloud2:
    """The answer as a message, the header unchanged. `data` must be bytes: rclpy takes an ndarray a thousand times slower."""
    return PointCloud2(
        header=asked.header,
        height=layout.height,
        width=layout.width,
        fields=[PointField(name=f.name, offset=f.offset, datatype=f.datatype, count=f.count) for f in layout.fields],
        is_bigendian=layout.is_bigendian,
        point_step=layout.point_step,
        row_step=layout.row_step,
        data=data,
        is_dense=asked.is_dense,
    )


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _spin() -> None:
    # Python's own handlers: rclpy's would only set in when spinning begins, and loading a bundle takes seconds.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    node: SegmentNode | None = None
    try:
        try:
            rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        except RuntimeError as error:
            raise ConfigError(f"ROS arguments: {error}") from error
        node = SegmentNode()
        while rclpy.ok():
            rclpy.spin_once(node, timeout_sec=0.2)  # the time limit lets signals through
    except KeyboardInterrupt:
        pass
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        stopped = node is None or node.stop()
        if not stopped:
            # A scan still runs inside compiled code, which Python cannot end; it has written nothing.
            os._exit(0)
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


def main() -> None:
    """The command: parses what ROS leaves over, then spins until SIGINT or SIGTERM."""
    parser = command_line.parser(__doc__)
    try:
        own_arguments = remove_ros_args(sys.argv)[1:]
    except RuntimeError as error:
        parser.error(str(error))
    parser.parse_args(own_arguments)
    command_line.run(_spin)


if __name__ == "__main__":
    main()

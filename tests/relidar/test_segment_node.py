"""The real node in its own process, over real ROS 2 middleware: every scan answered or counted, and a clean end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relidar.bundle import open_bundle
from relidar.labelled_cloud import colours_of, label_cloud
from relidar.onnx_executor import PairsExecutor
from relidar.pointcloud2 import CloudField, CloudLayout, decode, layout_of
from relidar.segmenter import Segmenter

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed: extra `ros-wheels`, or a sourced ROS 2")

START_TIMEOUT_S = 60
# Of the message generator that rclpy imports.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_.*' is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def ros_environment() -> Iterator[dict[str, str]]:
    """This machine only, and a domain of its own for each test run."""
    own = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_DOMAIN_ID": str(1 + os.getpid() % 100), "OMP_NUM_THREADS": "1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        yield dict(os.environ)


def start(environment: dict[str, str], bundle: object, *words: str) -> subprocess.Popen[str]:
    arguments = ["--ros-args", "-p", f"bundle:={bundle}", "-p", "backend:=onnxruntime-cpu", *words]
    command = [sys.executable, "-m", "relidar.segment_node", *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait_ready(node: subprocess.Popen[str]) -> None:
    assert node.stderr is not None
    for line in node.stderr:
        if "ready:" in line:
            return
    raise AssertionError(f"the node ended with {node.wait()} before it was ready")


@pytest.fixture(scope="module")
def node(ros_environment: dict[str, str], tiny_bundle: Path) -> Iterator[subprocess.Popen[str]]:
    """A running node, stopped by SIGTERM."""
    process = start(ros_environment, tiny_bundle)
    try:
        wait_ready(process)
        yield process
        process.terminate()
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def bag(
    tmp_path_factory: pytest.TempPathFactory, record: Callable, scan_of: Callable, random_cloud: Callable
) -> Callable[[int], Path]:
    """bag(points): a recording of five scans of so many points."""

    def make(points: int) -> Path:
        clouds = [random_cloud(points, seed) for seed in range(5)]
        scans = [scan_of(cloud.xyz_m, cloud.intensity) for cloud in clouds]
        return record(tmp_path_factory.mktemp("played") / "bag", scans)

    return make


def play(environment: dict[str, str], bag: Path, out: Path, *words: object) -> tuple[subprocess.CompletedProcess[str], Any]:
    command = [sys.executable, "-m", "relidar.play_node", bag, "--out", out, *words]
    done = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, check=False)
    return done, json.loads(out.read_text()) if out.exists() else None


WRONG = ("repeated", "out_of_order", "wrong_size", "wrong_header")


def test_every_scan_at_2_hz_is_answered(
    node: subprocess.Popen[str], ros_environment: dict[str, str], bag: Callable[[int], Path], tmp_path: Path
) -> None:
    done, report = play(ros_environment, bag(1500), tmp_path / "live.json", "--rate", 2, "--count", 8)
    assert done.returncode == 0, done.stderr
    assert (report["sent"], report["answered"]) == (8, 8)
    assert [report[kind] for kind in WRONG] == [0, 0, 0, 0]
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"] < 500


def test_at_20_hz_every_scan_is_answered_once_and_in_order_or_counted_as_dropped(
    node: subprocess.Popen[str], ros_environment: dict[str, str], bag: Callable[[int], Path], tmp_path: Path
) -> None:
    # Large enough that the node cannot keep up: a message of 720 kB, which must get through the middleware all the same.
    done, report = play(ros_environment, bag(30000), tmp_path / "live.json", "--rate", 20, "--count", 60)
    assert done.returncode == 0, done.stderr
    counted = report["node_counted"]
    assert [report[kind] for kind in WRONG] == [0, 0, 0, 0]
    assert counted["received"] == counted["answered"] + counted["dropped"]
    assert counted["answered"] == report["answered"] > 0
    assert counted["dropped"] > 0
    assert report["lost_in_transport"] == report["sent"] - counted["received"] <= 6


class Listener:
    """A publisher and subscriber in this process."""

    def __init__(self) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import PointCloud2

        self.context = Context()
        rclpy.init(context=self.context)
        self.node = Node("listener", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.answers: list[Any] = []
        self.counters: dict[str, str] = {}
        self.clouds = self.node.create_publisher(PointCloud2, "/segment_node/input/pointcloud", qos_profile_sensor_data)
        self.node.create_subscription(PointCloud2, "/segment_node/output/segmentation", self.answers.append, 10)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._note, 10)
        self.wait(lambda: bool(self.counters) and self.clouds.get_subscription_count() > 0)

    def _note(self, array: Any) -> None:
        self.counters = {pair.key: pair.value for pair in array.status[0].values}
        self.level = array.status[0].level

    def wait(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f"not within {timeout_s} s; counters: {self.counters}"
            self.executor.spin_once(timeout_sec=0.05)

    def send(self, layout: CloudLayout, data: bytes, frame_id: str = "lidar", seconds: int = 1) -> Any:
        from sensor_msgs.msg import PointCloud2, PointField

        message = PointCloud2(
            height=layout.height,
            width=layout.width,
            fields=[PointField(name=f.name, offset=f.offset, datatype=f.datatype, count=f.count) for f in layout.fields],
            is_bigendian=layout.is_bigendian,
            point_step=layout.point_step,
            row_step=layout.row_step,
            data=data,
        )
        message.header.frame_id = frame_id
        message.header.stamp.sec = seconds
        message.header.stamp.nanosec = 123456789
        self.clouds.publish(message)
        return message

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def listener(node: subprocess.Popen[str]) -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def test_the_answer_keeps_header_shape_and_points_and_has_the_segmenters_labels(listener: Listener, tiny_bundle: Path) -> None:
    # An odd layout: organised, big-endian, x and y float64, z float32, padding between fields, points and rows, NaN.
    fields = (CloudField("y", 1, 8), CloudField("z", 10, 7), CloudField("x", 15, 8), CloudField("ring", 24, 3))
    layout = CloudLayout(4, 300, fields, 29, 300 * 29 + 5, is_bigendian=True)
    random = np.random.default_rng(0)
    data = np.zeros((4, layout.row_step), np.uint8)
    for field in fields:
        dtype = {8: ">f8", 7: ">f4", 3: ">i2"}[field.datatype]
        view = np.ndarray((4, 300), dtype, data.data, field.offset, (layout.row_step, 29))
        view[...] = random.uniform(-10, 10, (4, 300))
        if dtype == ">f8":
            view[1, ::5] = np.nan

    sent = listener.send(layout, data.tobytes())
    listener.wait(lambda: bool(listener.answers))

    (answer,) = listener.answers
    assert answer.header == sent.header
    assert (answer.height, answer.width, answer.is_bigendian) == (4, 300, True)
    found = decode(layout_of(answer), answer.data)
    given = decode(layout, data.tobytes())
    np.testing.assert_array_equal(found.values("ring"), given.values("ring"))
    np.testing.assert_array_equal(found.values("x"), given.values("x"))
    bundle = open_bundle(tiny_bundle)
    segmenter = Segmenter.of_bundle(bundle, PairsExecutor(bundle))
    expected = label_cloud(segmenter, colours_of(bundle.manifest.classes), layout, data.tobytes())
    np.testing.assert_array_equal(found.values("label"), expected.segmentation.label)
    np.testing.assert_allclose(found.values("score"), expected.segmentation.score, atol=1e-5)
    assert set(found.values("label").reshape(4, 300)[1, ::5]) == {255}


def test_malformed_clouds_are_counted_by_cause_empty_ones_answered_and_the_node_lives_on(
    listener: Listener, scan_of: Callable, random_cloud: Callable
) -> None:
    before = {key: int(value) for key, value in listener.counters.items() if value.isdigit()}
    cloud = random_cloud(500)
    layout, data = scan_of(cloud.xyz_m, cloud.intensity)
    malformed = [
        (layout, data[:-3], "data_length"),
        (replace(layout, fields=layout.fields[1:]), data, "missing_field"),
        (replace(layout, fields=(replace(layout.fields[0], datatype=77), *layout.fields[1:])), data, "datatype"),
    ]
    for number, (bad_layout, bad_data, cause) in enumerate(malformed):
        listener.send(bad_layout, bad_data)
        listener.wait(lambda cause=cause: int(listener.counters.get(f"malformed.{cause}", 0)) == 1)
        assert int(listener.counters["malformed"]) == number + 1
        assert listener.level == b"\x01"
    listener.send(CloudLayout(0, 0, (), 0, 0), b"", seconds=5)
    listener.wait(lambda: len(listener.answers) == 1)
    listener.send(layout, data, seconds=6)
    listener.wait(lambda: len(listener.answers) == 2)
    empty, full = listener.answers
    assert (empty.header.stamp.sec, empty.width * empty.height, len(empty.data)) == (5, 0, 0)
    assert (full.header.stamp.sec, full.width) == (6, 500)

    listener.wait(lambda: int(listener.counters["received"]) == before["received"] + 5)
    listener.wait(lambda: listener.counters["pending"] == "0" and listener.level == b"\x00")
    counters = {key: int(value) for key, value in listener.counters.items() if value.isdigit()}
    assert counters["received"] == sum(counters[part] for part in ("answered", "dropped", "malformed", "failed"))
    assert counters["answered"] == before["answered"] + 2
    assert counters["empty"] == before["empty"] + 1
    assert listener.counters["backend"] == "onnxruntime-cpu"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_busy_node_cleanly_within_two_seconds(
    number: signal.Signals, ros_environment: dict[str, str], tiny_bundle: Path, bag: Callable[[int], Path], tmp_path: Path
) -> None:
    process = start(ros_environment, tiny_bundle, "-r", "__node:=mortal")
    try:
        wait_ready(process)
        command = [sys.executable, "-m", "relidar.play_node", bag(30000), "--out", tmp_path / "live.json"]
        command += ["--node", "/mortal", "--rate", "20", "--count", "1000"]
        player = subprocess.Popen([str(word) for word in command], env=ros_environment, stderr=subprocess.DEVNULL)
        try:
            time.sleep(3)
            process.send_signal(number)
            began = time.monotonic()
            assert process.wait(10) == 0
            assert time.monotonic() - began < 2
        finally:
            player.kill()
            player.wait()
    finally:
        process.kill()
        assert process.communicate()[1] == ""


def test_a_signal_while_loading_ends_the_node_cleanly(ros_environment: dict[str, str], tiny_bundle: Path) -> None:
    code = (
        "import os, signal, relidar.segment_node as node\n"
        "load = node.open_executor\n"
        "def interrupted(*arguments):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return load(*arguments)\n"
        "node.open_executor = interrupted\n"
        "node.main()\n"
    )
    command = [sys.executable, "-c", code, "--ros-args", "-p", f"bundle:={tiny_bundle}"]
    done = subprocess.run(command, env=ros_environment, capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-p", "bundle:=/nowhere"], 1, "/nowhere: no manifest.yaml there"),
        ([], 1, "parameter bundle is empty"),
        (["-p", "bundle:=5"], 1, "parameter bundle"),
        (["-p", "bundle"], 2, "Failed to parse ROS arguments"),
    ],
)
def test_a_node_that_cannot_start_says_why(ros_environment: dict[str, str], arguments: list[str], code: int, words: str) -> None:
    command = [sys.executable, "-m", "relidar.segment_node", "--ros-args", *arguments]
    done = subprocess.run(command, env=ros_environment, capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_playing_to_a_node_that_is_not_there_is_an_error(
    ros_environment: dict[str, str], bag: Callable[[int], Path], tmp_path: Path
) -> None:
    words = ("--node", "/absent", "--discovery-timeout-s", 1)
    done, report = play(ros_environment, bag(10), tmp_path / "live.json", *words)
    assert (done.returncode, report) == (1, None)
    assert "no node answers to /absent within 1 s" in done.stderr

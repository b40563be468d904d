"""The real node in its own process, and a peer in this one that talks to it over real ROS 2 middleware."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from relidar.pointcloud2 import CloudLayout
from relidar.scan_answer import OUTPUTS
from relidar.scan_counts import FINISHED

START_TIMEOUT_S = 120


@pytest.fixture(scope="session")
def ros_environment() -> Iterator[dict[str, str]]:
    """This machine only, and a domain of its own for each test run."""
    pytest.importorskip("rclpy", reason="rclpy is not installed: extra `ros-wheels`, or a sourced ROS 2")
    own = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_DOMAIN_ID": str(1 + os.getpid() % 100), "OMP_NUM_THREADS": "1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        yield dict(os.environ)


class NodeProcess:
    """A running segment_node."""

    def __init__(self, environment: dict[str, str], name: str, words: tuple[str, ...], log: Path) -> None:
        arguments = ["--ros-args", "-r", f"__node:={name}", "-p", "backend:=onnxruntime-cpu", "-p", "threads:=1"]
        arguments += [part for word in words for part in ("-p", word)]
        command = [sys.executable, "-m", "relidar.segment_node", *arguments]
        self.name = name
        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(command, env=environment, stderr=file)

    def wait_ready(self) -> None:
        end = time.monotonic() + START_TIMEOUT_S
        while "ready:" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end
            time.sleep(0.05)


Starter = Callable[..., NodeProcess]


@pytest.fixture(scope="session")
def start(ros_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """start(name, *parameters): a node's process, killed at the end if it still runs."""
    started: list[NodeProcess] = []

    def make(name: str, *words: str) -> NodeProcess:
        log = tmp_path_factory.mktemp("node") / f"{name}.log"
        started.append(NodeProcess(ros_environment, name, words, log))
        return started[-1]

    yield make
    for node in started:
        node.process.kill()
        node.process.wait()


@pytest.fixture(scope="session")
def node(start: Starter, tiny_bundle: Path) -> Iterator[NodeProcess]:
    """A node that most tests share; each leaves it active with the bundle's classes."""
    node = start("segment_node", f"bundle:={tiny_bundle}")
    node.wait_ready()
    yield node
    node.process.terminate()
    assert node.process.wait(5) == 0


class Peer:
    """A publisher, subscriber and service client in this process."""

    def __init__(self, target: str) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import PointCloud2

        self.target = target
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = Node("peer", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.received: dict[str, list[Any]] = {name: [] for name in OUTPUTS}
        self.values: dict[str, str] = {}
        self.level, self.message = b"", ""
        self.clouds = self.node.create_publisher(PointCloud2, f"/{target}/input/pointcloud", qos_profile_sensor_data)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._note, 10)

    def _note(self, array: Any) -> None:
        (status,) = array.status
        if status.name == f"{self.target}: segmentation":
            self.values = {pair.key: pair.value for pair in status.values}
            self.level, self.message = status.level, status.message

    @property
    def counters(self) -> dict[str, int]:
        return {key: int(value) for key, value in self.values.items() if value.isdigit()}

    @property
    def adds_up(self) -> bool:
        return bool(self.counters) and self.counters["received"] == sum(self.counters[way] for way in FINISHED)

    def listen(self, *outputs: str) -> None:
        """Subscribes to clouds and waits until the node has seen it, which a skipped or an answered scan shows."""
        from sensor_msgs.msg import PointCloud2

        for name in outputs:
            self.node.create_subscription(PointCloud2, f"/{self.target}/output/{name}", self.received[name].append, 50)
        empty, frame = CloudLayout(0, 0, (), 0, 0), "connecting"

        def connected() -> bool:
            self.send(empty, b"", frame)
            self.spin(0.1)
            return all(self.received[name] for name in outputs)

        self.wait(connected, 30)
        self.settle()
        self.wait(lambda: self.values.get("pending") == "0" and self.adds_up)
        for clouds in self.received.values():
            clouds.clear()

    def subscribe(self, message_type: Any, topic: str, qos: Any = 10) -> list[Any]:
        """What comes on another of the node's topics."""
        received: list[Any] = []
        self.node.create_subscription(message_type, f"/{self.target}/{topic}", received.append, qos)
        return received

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left)

    def settle(self) -> None:
        """Waits for diagnostics that are newer than everything so far."""
        self.spin(0.1)
        self.values = {}
        self.wait(lambda: bool(self.values))

    def wait(self, condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f"not within {timeout_s} s; {self.message!r}, {self.values}"
            self.executor.spin_once(timeout_sec=0.05)

    def send(self, layout: CloudLayout, data: bytes, frame_id: str = "lidar", stamp_s: float = 1.5) -> Any:
        from builtin_interfaces.msg import Time
        from std_msgs.msg import Header

        from relidar.cloud_message_node import cloud_message

        stamp = Time(sec=int(stamp_s), nanosec=round(1e9 * (stamp_s % 1)))
        message = cloud_message(Header(stamp=stamp, frame_id=frame_id), layout, data, is_dense=False)
        self.clouds.publish(message)
        return message

    def ask(self, layout: CloudLayout, data: bytes, **header: Any) -> dict[str, Any]:
        """Sends a cloud and waits for one answer on every output that is listened to."""
        for clouds in self.received.values():
            clouds.clear()
        outputs = [name for name in OUTPUTS if self.node.count_subscribers(f"/{self.target}/output/{name}")]
        self.send(layout, data, **header)
        self.wait(lambda: all(len(self.received[name]) == 1 for name in outputs))
        return {name: self.received[name][0] for name in outputs}

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        client = self.node.create_client(service_type, f"/{self.target}/{name}")
        assert client.wait_for_service(20)
        future = client.call_async(request)
        self.wait(future.done, 60)
        self.node.destroy_client(client)
        return future.result()

    def transition(self, label: str) -> bool:
        """configure, activate, deactivate, cleanup or shutdown; whether it succeeded."""
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        return bool(self.call(ChangeState, "change_state", ChangeState.Request(transition=Transition(label=label))).success)

    def state(self) -> str:
        from lifecycle_msgs.srv import GetState

        return str(self.call(GetState, "get_state", GetState.Request()).current_state.label)

    def set(self, **values: Any) -> str:
        """Sets parameters, all or none; the reason if they were refused, else an empty text."""
        from rcl_interfaces.srv import SetParametersAtomically
        from rclpy.parameter import Parameter

        kinds = {str: Parameter.Type.STRING, list: Parameter.Type.STRING_ARRAY, float: Parameter.Type.DOUBLE}
        parameters = [Parameter(name, kinds[type(value)], value).to_parameter_msg() for name, value in values.items()]
        request = SetParametersAtomically.Request(parameters=parameters)
        result = self.call(SetParametersAtomically, "set_parameters_atomically", request).result
        assert result.successful == (not result.reason)
        return str(result.reason)

    def set_prompts(self) -> tuple[bool, str]:
        from std_srvs.srv import Trigger

        answer = self.call(Trigger, "set_prompts", Trigger.Request())
        return bool(answer.success), str(answer.message)

    def close(self) -> None:
        import rclpy

        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def peer_of(ros_environment: dict[str, str]) -> Iterator[Callable[[str], Peer]]:
    """peer_of(node name): a peer, whose node has told its diagnostics."""
    peers: list[Peer] = []

    def make(name: str) -> Peer:
        peers.append(Peer(name))
        peers[-1].wait(lambda: bool(peers[-1].values), START_TIMEOUT_S)
        return peers[-1]

    yield make
    for peer in peers:
        peer.close()


@pytest.fixture
def peer(node: NodeProcess, peer_of: Callable[[str], Peer]) -> Peer:
    """A peer of the shared node, seen by it."""
    peer = peer_of(node.name)
    peer.wait(lambda: peer.clouds.get_subscription_count() > 0)
    return peer


@pytest.fixture
def scan(scan_of: Callable, random_cloud: Callable) -> tuple[CloudLayout, bytes]:
    """A well-formed cloud of 800 points."""
    cloud = random_cloud(800)
    layout, data = scan_of(cloud.xyz_m, cloud.intensity)
    return layout, data


@pytest.fixture(scope="session")
def bag(
    tmp_path_factory: pytest.TempPathFactory, record: Callable, scan_of: Callable, random_cloud: Callable
) -> Callable[[int], Path]:
    """bag(points): a recording of five scans of so many points."""

    def make(points: int) -> Path:
        clouds = [random_cloud(points, seed) for seed in range(5)]
        scans = [scan_of(cloud.xyz_m, cloud.intensity) for cloud in clouds]
        path: Path = record(tmp_path_factory.mktemp("played") / "bag", scans)
        return path

    return make


@pytest.fixture(scope="session")
def play(ros_environment: dict[str, str]) -> Callable[..., tuple[subprocess.CompletedProcess[str], Any]]:
    """play(bag, out, *words): runs play_node; its process and its report, if it wrote one."""

    def run(bag: Path, out: Path, *words: object) -> tuple[subprocess.CompletedProcess[str], Any]:
        command = [sys.executable, "-m", "relidar.play_node", bag, "--out", out, *words]
        done = subprocess.run([str(word) for word in command], env=ros_environment, capture_output=True, text=True, check=False)
        return done, json.loads(out.read_text()) if out.exists() else None

    return run

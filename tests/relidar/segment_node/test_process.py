"""The node as a process: how it starts and what it says if it cannot. How signals end it is in test_stopping."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relidar.pointcloud2 import CloudLayout

# Of the message generator that rclpy imports.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_.*' is deprecated:DeprecationWarning")
START_TIMEOUT_S = 120


def run(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relidar.segment_node", "--ros-args", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S)


def test_a_signal_ends_a_node_that_is_loading(ros_environment: dict[str, str], tiny_bundle: Path) -> None:
    # Loading that takes long and sees no signal, as compiled code does; the signal comes in its midst.
    code = (
        "import os, signal, time, relidar.segment_node as node\n"
        "def load(*arguments):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(30)\n"
        "node.load_model = load\n"
        "node.main()\n"
    )
    command = [sys.executable, "-c", code, "--ros-args", "-p", f"bundle:={tiny_bundle}"]
    done = subprocess.run(command, env=ros_environment, capture_output=True, text=True, check=False, timeout=25)
    assert (done.returncode, done.stderr) == (0, "")


def test_build_only_proves_the_bundle_and_ends(ros_environment: dict[str, str], tiny_bundle: Path) -> None:
    done = run(ros_environment, "-p", f"bundle:={tiny_bundle}", "-p", "build_only:=true", "-p", "backend:=onnxruntime-cpu")
    assert (done.returncode, "ready:" in done.stderr, "ignored" in done.stderr) == (0, False, False)


def test_a_parameter_that_the_node_does_not_know_is_warned_of(ros_environment: dict[str, str], tiny_bundle: Path) -> None:
    words = [f"bundle:={tiny_bundle}", "build_only:=true", "backend:=onnxruntime-cpu", "thread:=2", "use_sim_time:=true"]
    done = run(ros_environment, *(part for word in words for part in ("-p", word)))
    assert done.returncode == 0
    assert "[WARN]" in done.stderr
    assert "parameter 'thread' is none of this node's and is ignored; did you mean 'threads'?" in done.stderr
    assert done.stderr.count("is none of this node's") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 1, "configure failed: parameter bundle is empty"),
        (["-p", "bundle:=5"], 1, "parameters: bundle is 5, expected text"),
        (["-p", "threads:=abc"], 1, 'parameters: threads is "abc", expected a whole number'),
        (["-p", "latency_warn_ms:=abc"], 1, 'latency_warn_ms is "abc", expected a number'),
        (["-p", "backend:=abacus", "-p", "bundle:=/nowhere"], 1, "expected one of auto, tensorrt"),
        (["-p", "bundle"], 2, "Failed to parse ROS arguments"),
    ],
)
def test_a_node_that_cannot_start_says_why(ros_environment: dict[str, str], arguments: list[str], code: int, words: str) -> None:
    done = run(ros_environment, *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_playing_to_a_node_that_is_not_there_is_an_error(
    play: Callable[..., Any], bag: Callable[[int], Path], tmp_path: Path
) -> None:
    done, report = play(bag(10), tmp_path / "live.json", "--node", "/absent", "--discovery-timeout-s", 1)
    assert (done.returncode, report) == (1, None)
    assert "no node answers to /absent within 1 s" in done.stderr


def test_simulated_time_that_jumps_back_spoils_no_latency(
    start: Callable, peer_of: Callable, tiny_bundle: Path, scan: tuple[CloudLayout, bytes]
) -> None:
    from rosgraph_msgs.msg import Clock
    from std_msgs.msg import Float64

    start("simulated", f"bundle:={tiny_bundle}", "use_sim_time:=true", "prompts:=[car, bus]", "latency_error_ms:=5000")
    peer = peer_of("simulated")
    clock = peer.node.create_publisher(Clock, "/clock", 10)
    latencies = peer.subscribe(Float64, "debug/pipeline_latency_ms")
    peer.wait(lambda: peer.values.get("state") == "active" and clock.get_subscription_count() > 0)
    peer.listen("segmentation")

    def at(now_s: float, stamp_s: float) -> float:
        """Latency of a scan in milliseconds, when the clock says `now_s`."""
        for _ in range(3):
            message = Clock()
            message.clock.sec, message.clock.nanosec = int(now_s), round(1e9 * (now_s % 1))
            clock.publish(message)
            peer.spin(0.1)
        latencies.clear()
        peer.ask(*scan, stamp_s=stamp_s)
        peer.wait(lambda: bool(latencies))
        return float(latencies[-1].data)

    assert at(1000.25, 1000.0) == pytest.approx(250)
    assert at(10.5, 10.25) == pytest.approx(250)
    assert at(10.5, 1000.25) == pytest.approx(-989750)
    assert at(2000.5, 10.25) == pytest.approx(1990250)
    peer.settle()
    assert (peer.values["latency_unusable"], peer.values["latency_ms.p99"]) == ("2", "250.0")
    assert peer.level == b"\x00", peer.message
    assert peer.adds_up

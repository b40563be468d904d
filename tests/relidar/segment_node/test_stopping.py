"""SIGINT and SIGTERM end the node within two seconds with exit code 0, whatever it does, and no file is left or changed."""

import hashlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Of the message generator that rclpy imports.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_.*' is deprecated:DeprecationWarning")
START_TIMEOUT_S = 120
LONGEST_STOP_S = 2.0
# The real node, which says when it begins to load.
ANNOUNCED = """
import sys, relidar.segment_node as node
load = node.load_model
def announced(*arguments):
    print("loading", file=sys.stderr, flush=True)
    return load(*arguments)
node.load_model = announced
node.main()
"""


def contents(folder: Path) -> dict[str, str]:
    """sha256 of each file by its path in the folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def shared_memory(pid: int) -> set[Path]:
    """Segments of Fast DDS that a process uses: its own, and those of peers; ports belong to nobody and stay."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {Path(line.split()[5]) for line in lines if re.search("/fastdds_[0-9a-f]{16}$", line)}


class Stage:
    """One node with a working folder and a copy of the bundle of its own, so that whatever it writes is seen."""

    def __init__(self, folder: Path, bundle: Path, environment: dict[str, str], name: str, autostart: bool) -> None:
        self.name = name
        self.folder = folder / "work"
        self.folder.mkdir()
        self.bundle = shutil.copytree(bundle, folder / "bundle")
        self._before = contents(self.bundle)
        words = [f"bundle:={self.bundle}", "backend:=onnxruntime-cpu", "threads:=1", f"autostart:={str(autostart).lower()}"]
        command = [sys.executable, "-c", ANNOUNCED, "--ros-args", "-r", f"__node:={name}"]
        command += [part for word in words for part in ("-p", word)]
        own = {"ROS_LOG_DIR": str(folder / "log"), "TMPDIR": str(self.folder), "HOME": str(self.folder)}
        self.process = subprocess.Popen(
            command, cwd=self.folder, env=environment | own, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )

    def wait_for(self, word: str) -> None:
        """Reads the node's standard error until it says so."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if word in line:
                return
        raise AssertionError(f"the node ended with {self.process.wait()} and never said {word!r}")

    def check_stop(self, number: signal.Signals) -> None:
        """Sends the signal, and holds the node to how it must end."""
        self.process.send_signal(number)
        began = time.monotonic()
        assert self.process.wait(20) == 0
        assert time.monotonic() - began < LONGEST_STOP_S
        assert self.process.stderr is not None
        assert "Traceback" not in self.process.stderr.read()
        assert contents(self.bundle) == self._before
        assert list(self.folder.iterdir()) == []


def by(*numbers: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("number", numbers, ids=lambda number: number.name)


BOTH = by(signal.SIGTERM, signal.SIGINT)
ONE = by(signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow))
"""Both signals take the same way; where a test takes several seconds the second is for the slow set."""


@pytest.fixture
def stage(tmp_path: Path, tiny_bundle: Path, ros_environment: dict[str, str]) -> Iterator[Callable[..., Stage]]:
    """stage(name, autostart=True): a starting node, killed at the end if it still runs."""
    stages: list[Stage] = []

    def make(name: str, autostart: bool = True) -> Stage:
        stages.append(Stage(tmp_path, tiny_bundle, ros_environment, name, autostart))
        return stages[-1]

    yield make
    for started in stages:
        started.process.kill()
        started.process.wait()
        if started.process.stderr is not None:
            started.process.stderr.close()


@contextmanager
def playing(environment: dict[str, str], bag: Path, node: str, rate_hz: float) -> Iterator[None]:
    """The scans of a bag, over and over, from another process."""
    command = [sys.executable, "-m", "relidar.play_node", bag, "--out", bag.with_name("live.json"), "--node", f"/{node}"]
    command += ["--rate", rate_hz, "--count", 10_000]
    player = subprocess.Popen([str(word) for word in command], env=environment, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        # Not killed, so that it frees its shared memory.
        player.send_signal(signal.SIGINT)
        player.wait(20)


@BOTH
def test_while_configuring(stage: Callable[..., Stage], number: signal.Signals) -> None:
    node = stage("configuring")
    node.wait_for("loading")
    node.check_stop(number)


@BOTH
def test_while_unconfigured_and_inactive(
    stage: Callable[..., Stage], number: signal.Signals, peer_of: Callable[[str], Any]
) -> None:
    node = stage(f"waiting_{number.name.lower()}", autostart=False)
    peer = peer_of(node.name)
    assert peer.state() == "unconfigured"
    if number == signal.SIGTERM:
        assert peer.transition("configure")
        assert peer.state() == "inactive"
    node.check_stop(number)


@BOTH
def test_while_nothing_comes(stage: Callable[..., Stage], number: signal.Signals) -> None:
    of_others = set(Path("/dev/shm").iterdir())  # noqa: S108  # where Fast DDS puts its segments on Linux
    node = stage("idle")
    node.wait_for("ready:")
    shared = shared_memory(node.process.pid) - of_others
    assert shared
    node.check_stop(number)
    # Tens of MB that would be lost until the machine starts anew; the peers of a node that does not leave wait for it, too.
    assert not [path for path in shared if path.exists()]


@ONE
def test_in_the_middle_of_scans(
    stage: Callable[..., Stage],
    number: signal.Signals,
    peer_of: Callable[[str], Any],
    ros_environment: dict[str, str],
    record: Callable,
    scan_of: Callable,
    random_cloud: Callable,
    tmp_path: Path,
) -> None:
    node = stage(f"busy_{number.name.lower()}")
    node.wait_for("ready:")
    peer = peer_of(node.name)
    cloud = random_cloud(40_000)
    bag = record(tmp_path / "bag", [scan_of(cloud.xyz_m, cloud.intensity)])
    with playing(ros_environment, bag, node.name, 20):
        peer.wait(lambda: int(peer.values["dropped"]) > 3 and peer.values["pending"] != "0")
        node.check_stop(number)


@ONE
def test_in_the_middle_of_a_scan_that_takes_longer_than_two_seconds(
    stage: Callable[..., Stage],
    number: signal.Signals,
    peer_of: Callable[[str], Any],
    ros_environment: dict[str, str],
    record: Callable,
    scan_of: Callable,
    tmp_path: Path,
) -> None:
    node = stage(f"slow_{number.name.lower()}")
    node.wait_for("ready:")
    peer = peer_of(node.name)
    # Spread so widely that nearly every point has a voxel of its own.
    xyz_m = np.random.default_rng(0).uniform((-60, -60, -4), (60, 60, 10), (300_000, 3)).astype(np.float32)
    bag = record(tmp_path / "bag", [scan_of(xyz_m, np.zeros(len(xyz_m), np.float32))])
    with playing(ros_environment, bag, node.name, 1):
        peer.wait(lambda: peer.values["pending"] != "0", 60)
        node.check_stop(number)
    assert peer.values["answered"] == "0"

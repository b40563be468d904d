"""The whole product on a simulated street, as the commands that a user would type, one after the other.

    python -m distill.demo

Writes everything to runs/demo; runs/demo/report.html shows the result. Scored on real scans too where RELIDAR_DATA names a folder
that holds sets described in configs/scan_sets/.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from distill.scan_folder import SCAN_SETS, described_sets
from relidar import command_line
from relidar.atomic import write_text
from relidar.errors import RelidarError

DEMO = Path("runs/demo")
CONFIG = "configs/street.yaml"
STUDENT = DEMO / "train/student.pt"
BUNDLE = DEMO / "bundle"
BAG = DEMO / "street/street.mcap"
LABEL_MAP = "configs/label_maps/nuscenes32.yaml"


@dataclass(frozen=True)
class Step:
    """One command and what it does."""

    name: str
    does: str
    command: str
    beside: str | None = None
    """A command that runs meanwhile and is told to stop afterwards."""


def steps() -> Iterator[Step]:
    """The commands of the demo."""
    yield Step("street", "make a simulated city, as a nuScenes dataset and a bag", f"distill.street {DEMO}/street")
    yield Step("cache", "run the image teacher once, pool its features per superpixel", f"distill.cache --config {CONFIG}")
    yield Step("train", "distil the teacher into a LiDAR student; no label is read", f"distill.train --config {CONFIG}")
    command = f"distill.evaluate zero-shot --config {CONFIG} --checkpoint {STUDENT} --out {DEMO}/street.json"
    yield Step("evaluate", "compare the student's answers with the labels of held-out scenes", command)
    command = f"export.trt {STUDENT} --out {BUNDLE} --target sm86 --target sm89"
    yield Step("export", "lower to ONNX, pack the bundle, build TensorRT engines", command)
    command = f"export.parity {BUNDLE} --checkpoint {STUDENT} --out {DEMO}/parity.json"
    yield Step("parity", "check that all executors agree", command)
    command = f"relidar.replay {BAG} --bundle {BUNDLE} --truth-field category --truth-map {LABEL_MAP} --out {DEMO}/replay"
    yield Step("replay", "label a recorded drive without ROS", command)
    for folder in described_sets():
        command = f"distill.evaluate scans {shlex.quote(str(folder))} --bundle {BUNDLE}"
        command += f" --scan-set {SCAN_SETS}/{folder.name}.yaml --out {DEMO}/real/{folder.name}.json"
        yield Step(f"real {folder.name}", "label real scans of another sensor and compare", command)
    node = f"relidar.segment_node --ros-args -p bundle:={BUNDLE}"
    for rate, count in ((2, 30), (20, 100)):
        command = f"relidar.play_node {BAG} --rate {rate} --count {count} --out {DEMO}/node_{rate}hz.json"
        yield Step(f"node at {rate} Hz", "play the drive to the ROS 2 node and check its answers", command, beside=node)
    yield Step("report", "put pictures and figures on one page", f"distill.report {DEMO}")


def run_demo() -> None:
    """Runs all steps; raises RelidarError at the first that fails."""
    if not Path(CONFIG).is_file():
        raise RelidarError(f"{CONFIG} not found in {Path.cwd()}; run the demo in the folder of relidar's README.")
    shutil.rmtree(DEMO, ignore_errors=True)
    environment = os.environ | {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_DOMAIN_ID": os.environ.get("ROS_DOMAIN_ID", "87"),
        "ROS_LOG_DIR": str(DEMO / "ros_log"),
    }
    seconds: dict[str, float] = {}
    everything = list(steps())
    for number, step in enumerate(everything, start=1):
        command_line.say(f"\n[{number}/{len(everything)}] {step.does}")
        started = time.monotonic()
        _run(step, environment)
        seconds[step.name] = round(time.monotonic() - started, 1)
        write_text(DEMO / "seconds.json", json.dumps(seconds, indent=2) + "\n")
    command_line.say(f"\nThe demo took {sum(seconds.values()) / 60:.1f} minutes. Open {DEMO / 'report.html'}.")


def _run(step: Step, environment: dict[str, str]) -> None:
    beside = None
    if step.beside is not None:
        command_line.say(f"$ python -m {step.beside} &")
        beside = subprocess.Popen([sys.executable, "-m", *shlex.split(step.beside)], env=environment)
    command_line.say(f"$ python -m {step.command}")
    try:
        code = subprocess.run([sys.executable, "-m", *shlex.split(step.command)], env=environment, check=False).returncode
    finally:
        if beside is not None:
            _end(beside)
    if code:
        raise RelidarError(f"step {step.name!r} ended with exit code {code}; its message stands above.")
    if beside is not None and beside.returncode:
        raise RelidarError(f"step {step.name!r}: the node ended with exit code {beside.returncode}, expected 0.")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Tells a process to stop, as a launch file would; one that does not within 30 s is killed, and its exit code shows it."""
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    """The command."""
    command_line.parser(__doc__).parse_args()
    run_demo()


if __name__ == "__main__":
    command_line.run(main)

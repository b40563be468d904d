"""Scan for scan, the live node and the replay of a bag give the same bytes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relidar.bags import CloudBag
from relidar.pointcloud2 import layout_of

# Of the message generator that rclpy imports.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_.*' is deprecated:DeprecationWarning")


def test_the_node_answers_what_the_replay_records(
    peer: Any,
    ros_environment: dict[str, str],
    tiny_bundle: Path,
    tmp_path: Path,
    record: Callable,
    scan_of: Callable,
    random_cloud: Callable,
) -> None:
    clouds = [random_cloud(points, seed) for seed, points in enumerate((4000, 1, 2500, 3000, 800))]
    clouds[3].xyz_m[::7] = np.nan
    bag = record(tmp_path / "drive", [scan_of(cloud.xyz_m, cloud.intensity) for cloud in clouds])
    # Both with one thread, as the node's fixture is: sums of more threads differ in the last bit of a score.
    command = [sys.executable, "-m", "relidar.replay", bag, "--bundle", tiny_bundle, "--out", tmp_path / "out", "--write"]
    subprocess.run([*command, "--backend", "onnxruntime-cpu", "--threads", "1"], env=ros_environment, check=True)
    peer.listen("segmentation", "visualization")
    names = ("segmentation", "visualization")
    recorded = {}
    for name in names:
        with CloudBag(tmp_path / "out/bags/drive/labelled", f"/points/{name}") as answers:
            recorded[name] = list(answers)
    with CloudBag(bag) as asked:
        for number, scan in enumerate(asked):
            live = peer.ask(scan.layout, scan.data.tobytes(), frame_id=scan.frame_id, stamp_s=number + 1)
            for name in names:
                assert layout_of(live[name]) == recorded[name][number].layout
                assert bytes(live[name].data) == recorded[name][number].data.tobytes()
                assert live[name].header.frame_id == recorded[name][number].frame_id
    assert number == len(recorded["segmentation"]) - 1 == 4

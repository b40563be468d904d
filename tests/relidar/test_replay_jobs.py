"""Several bags at a time, each in its process."""

import json
import multiprocessing
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from relidar.replay_jobs import replay_bags
from relidar.replay_options import ReplayOptions


def test_several_bags_side_by_side_and_one_that_is_useless(
    tmp_path: Path,
    tiny_bundle: Path,
    record: Callable,
    scan_of: Callable,
    replayed: Callable,
    capsys: pytest.CaptureFixture[str],
) -> None:
    layout, data = scan_of(np.random.default_rng(0).uniform(-9, 9, (300, 3)), np.zeros(300))
    bags = [record(tmp_path / "drive", [(layout, data)] * 2), record(tmp_path / "bad", [(layout, data[:-1])])]
    words = [*bags, "--bundle", tiny_bundle, "--out", tmp_path / "out", "--backend", "onnxruntime-cpu"]
    assert replayed(*words, "--jobs", "2") == 1
    assert "no usable cloud" in capsys.readouterr().err
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert (report["scans"], report["bags_side_by_side"]) == (2, 2)
    assert [recording["bag"] for recording in report["recordings"]] == [str(bags[0])]
    assert list(report["failed"]) == [str(bags[1])]
    assert any("sharing the processor" in text for text in report["warnings"])


def test_a_bag_whose_process_dies_is_told(tmp_path: Path, tiny_bundle: Path, record: Callable, scan_of: Callable) -> None:
    bags = [record(tmp_path / name, [scan_of(np.ones((9, 3)), np.zeros(9))]) for name in ("monday", "tuesday")]

    def kill() -> None:
        while len(children := multiprocessing.active_children()) < 2:
            time.sleep(0.01)
        for process in children:
            process.kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    failed = replay_bags(bags, tmp_path / "out", ReplayOptions(tiny_bundle, "onnxruntime-cpu", side_by_side=2), 2)
    killer.join()
    assert failed == {bag: f"{bag}: its process ended with exit code -9." for bag in bags}

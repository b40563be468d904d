"""What is done again and what is not: results stand while nothing changes, and are not replaced by those of other options."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from relidar.errors import ConfigError
from relidar.replay_options import ReplayOptions, check_same, is_finished


def test_a_bag_is_done_once_unless_something_changed(
    tmp_path: Path, tiny_bundle: Path, record: Callable, scan_of: Callable, replayed: Callable
) -> None:
    random = np.random.default_rng(0)
    scans = [scan_of(random.uniform(-9, 9, (300, 3)), np.zeros(300)) for _ in range(2)]
    bags = [record(tmp_path / name, scans) for name in ("monday", "tuesday")]
    out = tmp_path / "out"
    command = ["--bundle", tiny_bundle, "--out", out, "--backend", "onnxruntime-cpu"]

    def made() -> list[int]:
        return [(out / "bags" / bag.name / "result.json").stat().st_mtime_ns for bag in bags]

    assert replayed(bags[0], *command) == 0
    first = (out / "bags/monday/result.json").stat().st_mtime_ns
    left = out / "bags/.tuesday.killed"
    left.mkdir()
    (left / "0-answer.png").touch()
    assert replayed(*bags, *command) == 0
    both = made()
    assert both[0] == first
    assert not left.exists()
    report = json.loads((out / "report.json").read_text())
    assert (report["scans"], len(report["recordings"])) == (4, 2)
    bags[1] = record(tmp_path / "other" / "tuesday", scans[:1])
    assert replayed(*bags, *command) == 0
    assert made()[0] == first
    assert made()[1] > both[1]
    assert json.loads((out / "report.json").read_text())["scans"] == 3


def test_a_result_stands_while_nothing_it_depends_on_changes(
    tmp_path: Path, tiny_bundle: Path, record: Callable, scan_of: Callable
) -> None:
    bag = record(tmp_path / "bag", [scan_of(np.ones((9, 3)), np.zeros(9))])
    options = ReplayOptions(tiny_bundle, side_by_side=2)
    (tmp_path / "result.json").write_text(json.dumps({"inputs": options.inputs(bag), "side_by_side": 2}))
    assert is_finished(tmp_path, options, bag)
    assert not is_finished(tmp_path, replace(options, write=True), bag)
    assert not is_finished(tmp_path, replace(options, corruptions=("rain:1",)), bag)
    # Latencies that were measured side by side are no answer to who asks for one bag at a time.
    assert not is_finished(tmp_path, replace(options, side_by_side=1), bag)
    (bag / "bag.mcap").touch()
    assert not is_finished(tmp_path, options, bag)
    (tmp_path / "result.json").write_text("[]")
    assert not is_finished(tmp_path, options, bag)


def test_what_a_killed_run_left_is_no_result(tmp_path: Path, tiny_bundle: Path, record: Callable, scan_of: Callable) -> None:
    bag = record(tmp_path / "bag", [scan_of(np.ones((9, 3)), np.zeros(9))])
    options = ReplayOptions(tiny_bundle)
    out = tmp_path / "out"
    for name in (".monday.xyz", ".monday.xyz.old"):
        (out / "bags" / name).mkdir(parents=True)
        (out / "bags" / name / "result.json").write_text(json.dumps({"inputs": options.inputs(bag)}))
    check_same(out, replace(options, write=True))
    (out / "bags/.monday.xyz").rename(out / "bags/monday")
    with pytest.raises(ConfigError, match="bags/monday was made with another choice of write"):
        check_same(out, replace(options, write=True))


def test_results_of_another_bundle_or_other_options_are_not_replaced(
    tmp_path: Path,
    tiny_bundle: Path,
    record: Callable,
    scan_of: Callable,
    replayed: Callable,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cloud = np.random.default_rng(0).uniform(-9, 9, (300, 3))
    bags = [record(tmp_path / name, [scan_of(cloud, np.zeros(300))]) for name in ("monday", "tuesday")]
    out = tmp_path / "out"
    assert replayed(bags[0], "--bundle", tiny_bundle, "--out", out, "--backend", "onnxruntime-cpu") == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    other = tmp_path / "other"
    shutil.copytree(tiny_bundle, other)
    (other / "manifest.yaml").write_text((tiny_bundle / "manifest.yaml").read_text() + "\n")
    for words, said in (
        ([bags[0], "--bundle", tiny_bundle, "--backend", "compiled-cpu"], "backend onnxruntime-cpu, not compiled-cpu"),
        ([bags[0], "--bundle", other, "--backend", "onnxruntime-cpu"], "another bundle"),
        # The report would be replaced, too, if it were of another bag.
        ([bags[1], "--bundle", tiny_bundle, "--backend", "compiled-cpu"], "backend onnxruntime-cpu, not compiled-cpu"),
        ([bags[0], "--bundle", tiny_bundle, "--backend", "onnxruntime-cpu", "--write"], "another choice of write"),
    ):
        assert replayed(*words, "--out", out) == 1
        error = capsys.readouterr().err
        assert f"{out / 'bags/monday'} was made with {said}; choose another --out" in error
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert replayed(*bags, "--bundle", tiny_bundle, "--out", out, "--backend", "onnxruntime-cpu") == 0
    assert "monday is kept" in capsys.readouterr().out

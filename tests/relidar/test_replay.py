"""Bag evaluation as a command: the report's figures against a count by hand, and errors that a user can act on."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from relidar import replay
from relidar.bundle import open_bundle
from relidar.onnx_executor import PairsExecutor
from relidar.segmenter import Segmenter

MAP = """
name: two
classes:
  - {name: low, truth: [1, 2], predicted: [car, truck, bus, sidewalk]}
  - {name: high, truth: [7], predicted: [vegetation, manmade, terrain]}
"""


@pytest.fixture
def truth_map(tmp_path: Path) -> Path:
    path = tmp_path / "map.yaml"
    path.write_text(MAP)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Runs the command in this process; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["replay", *map(str, words)])
    try:
        replay.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_report_holds_what_a_count_by_hand_gives(
    tmp_path: Path, tiny_bundle: Path, record: Callable, scan_of: Callable, truth_map: Path
) -> None:
    random = np.random.default_rng(0)
    clouds = [random.uniform(-15, 15, (1500, 3)).astype(np.float32) * [1, 1, 0.1] for _ in range(3)]
    truths = [random.choice([0, 1, 2, 7, 9], 1500).astype(np.uint8) for _ in clouds]
    bag = record(tmp_path / "bag", [scan_of(xyz_m, np.zeros(1500), truth) for xyz_m, truth in zip(clouds, truths, strict=True)])
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    command = [sys.executable, "-m", "relidar.replay", bag, "--bundle", tiny_bundle, "--out", out]
    command += ["--backend", "onnxruntime-cpu", "--truth-field", "category", "--truth-map", truth_map]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads((out / "report.json").read_text())

    bundle = open_bundle(tiny_bundle)
    segmenter = Segmenter.of_bundle(bundle, PairsExecutor(bundle))
    name_of = {c.id: c.name for c in bundle.manifest.classes} | {255: "none"}
    counts = {"low": [0, 0], "high": [0, 0]}  # intersection, union
    members = {"low": {"car", "truck", "bus", "sidewalk"}, "high": {"vegetation", "manmade", "terrain"}}
    for xyz_m, truth in zip(clouds, truths, strict=True):
        label = segmenter(xyz_m.astype(np.float32), np.zeros(1500, np.float32)).label
        for true, predicted in zip(truth.tolist(), label.tolist(), strict=True):
            if true in (0, 9):
                continue
            for name, numbers in (("low", (1, 2)), ("high", (7,))):
                is_true, is_predicted = true in numbers, name_of[predicted] in members[name]
                counts[name][0] += is_true and is_predicted
                counts[name][1] += is_true or is_predicted
    expected = {name: 100 * both / either for name, (both, either) in counts.items()}
    assert report["truth"]["class_iou_percent"] == pytest.approx(expected, abs=1e-3)
    assert report["truth"]["miou_percent"] == pytest.approx(np.mean(list(expected.values())), abs=1e-3)
    assert report["truth"]["points"] == sum(int(np.isin(truth, [1, 2, 7]).sum()) for truth in truths)
    assert (report["scans"], report["points"], report["backend"]) == (3, 4500, "onnxruntime-cpu")
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]
    assert report["first_latency_ms"] > 0
    assert (out / "notes.txt").read_text() == "mine"


def test_malformed_clouds_are_counted_and_left_out(
    tmp_path: Path, tiny_bundle: Path, record: Callable, scan_of: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, data = scan_of(np.ones((50, 3)), np.zeros(50))
    scans = [(layout, data), (layout, data[:-1]), (replace(layout, fields=layout.fields[1:]), data), (layout, data)]
    bag = record(tmp_path / "bag", scans)
    assert run(monkeypatch, bag, "--bundle", tiny_bundle, "--out", tmp_path / "out", "--backend", "onnxruntime-cpu") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["scans"], report["malformed"], report["truth"]) == (2, {"data_length": 1, "missing_field": 1}, None)


def test_errors_say_what_to_do_and_leave_nothing_behind(
    tmp_path: Path,
    tiny_bundle: Path,
    record: Callable,
    scan_of: Callable,
    truth_map: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    layout, data = scan_of(np.ones((50, 3)), np.zeros(50))
    bag = record(tmp_path / "bag", [(layout, data)])
    bad = record(tmp_path / "bad", [(layout, data[:-1])])
    common = ["--bundle", tiny_bundle, "--out", tmp_path / "out", "--backend", "onnxruntime-cpu"]

    def error_of(*words: object) -> tuple[int, str]:
        code = run(monkeypatch, *words)
        return code, capsys.readouterr().err

    code, text = error_of(bag, *common, "--truth-field", "truth", "--truth-map", truth_map)
    assert (code, "no field 'truth'" in text, "category" in text) == (1, True, True)
    code, text = error_of(bad, *common)
    assert (code, "no usable cloud" in text, "data_length" in text) == (1, True, True)
    code, text = error_of(bag, *common, "--topic", "/roof")
    assert (code, "/roof is not in the bag; PointCloud2 topics: /points" in text) == (1, True)
    code, text = error_of(bag, *common[2:], "--bundle", tmp_path)
    assert (code, "no manifest.yaml" in text) == (1, True)
    code, text = error_of(bag, *common, "--truth-field", "category")
    assert (code, "belong together" in text) == (2, True)
    assert not (tmp_path / "out").exists()

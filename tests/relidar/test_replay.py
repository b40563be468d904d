"""Bag evaluation as a command: the report's figures against a count by hand, what is left out, and errors to act on."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from relidar import backends
from relidar.bundle import Bundle, open_bundle
from relidar.onnx_executor import PairsExecutor
from relidar.segmenter import Segmenter


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
    assert set(report["stages_ms"]) == {"decode", "voxelise", "rulebook", "infer", "scores", "encode"}
    assert sum(ring["points"] for ring in report["truth"]["rings"]) == report["truth"]["points"]
    simulated = report["recordings"][0]["drop_simulation"][0]
    assert (simulated["rate_hz"], simulated["answered"] + simulated["dropped"]) == (10.0, 3)
    assert report["warnings"] == []
    assert (out / "notes.txt").read_text() == "mine"


def test_malformed_clouds_are_counted_and_left_out(
    tmp_path: Path, tiny_bundle: Path, record: Callable, scan_of: Callable, replayed: Callable
) -> None:
    layout, data = scan_of(np.ones((50, 3)), np.zeros(50))
    scans = [(layout, data), (layout, data[:-1]), (replace(layout, fields=layout.fields[1:]), data), (layout, data)]
    bag = record(tmp_path / "bag", scans)
    assert replayed(bag, "--bundle", tiny_bundle, "--out", tmp_path / "out", "--backend", "onnxruntime-cpu") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["scans"], report["malformed"], report["truth"]) == (2, {"data_length": 1, "missing_field": 1}, None)


def test_scans_over_an_engines_capacity_are_answered_counted_and_told(
    tmp_path: Path, tiny_bundle: Path, record: Callable, scan_of: Callable, monkeypatch: pytest.MonkeyPatch, replayed: Callable
) -> None:
    class SmallEngine(PairsExecutor):
        """Takes fewer voxels than the graph could."""

        name = "small"

        def __init__(self, bundle: Bundle, threads: int) -> None:
            super().__init__(bundle, threads)
            self.capacity = (len(bundle.golden().features),) * bundle.manifest.student.levels

    monkeypatch.setitem(backends._MAKERS, "tensorrt", SmallEngine)
    random = np.random.default_rng(0)
    clouds = [random.uniform(-15, 15, (points, 3)).astype(np.float32) * [1, 1, 0.1] for points in (9000, 1500, 9000)]
    bag = record(tmp_path / "bag", [scan_of(xyz_m, np.zeros(len(xyz_m))) for xyz_m in clouds])
    assert replayed(bag, "--bundle", tiny_bundle, "--out", tmp_path / "out", "--backend", "tensorrt") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["scans"], report["over_capacity"], report["unlabelled_points"] < 200) == (3, 2, True)
    (warning,) = report["warnings"]
    assert "2 of 3 scans have more voxels than the engine takes and were answered on the CPU; export the bundle" in warning
    assert warning in (tmp_path / "out" / "report.html").read_text()


def test_errors_say_what_to_do_and_leave_nothing_behind(
    tmp_path: Path,
    tiny_bundle: Path,
    record: Callable,
    scan_of: Callable,
    truth_map: Path,
    replayed: Callable,
    capsys: pytest.CaptureFixture[str],
) -> None:
    layout, data = scan_of(np.ones((50, 3)), np.zeros(50))
    bag = record(tmp_path / "bag", [(layout, data)])
    bad = record(tmp_path / "bad", [(layout, data[:-1])])
    common = ["--bundle", tiny_bundle, "--out", tmp_path / "out", "--backend", "onnxruntime-cpu"]

    def error_of(*words: object) -> tuple[int, str]:
        code = replayed(*words)
        return code, capsys.readouterr().err

    code, text = error_of(bag, *common, "--truth-field", "truth", "--truth-map", truth_map)
    assert (code, "no field 'truth'" in text, "category" in text) == (1, True, True)
    code, text = error_of(bad, *common)
    assert (code, "no usable cloud" in text, "data_length" in text) == (1, True, True)
    code, text = error_of(bag, *common, "--topic", "/roof")
    assert (code, "/roof is not in the bag; PointCloud2 topics: /points" in text) == (1, True)
    code, text = error_of(bag, *common[2:], "--bundle", tmp_path)
    assert (code, "no manifest.yaml" in text) == (1, True)
    code, text = error_of(tmp_path / "none", *common)
    assert (code, "no such bag" in text) == (1, True)
    code, text = error_of(bag, *common, "--truth-topic", "/truth", "--truth-map", truth_map)
    assert (code, "/truth is not in the bag" in text) == (1, True)
    code, text = error_of(bag, *common, "--truth-folder", tmp_path, "--truth-map", truth_map)
    assert (code, "the truth was not found for any point of 1 scans" in text) == (1, True)
    truth = ["--truth-field", "category", "--truth-map", truth_map]
    code, text = error_of(bag, *common, *truth, "--corrupt", "sand:2")
    assert (code, "sand:2" in text, "rain" in text) == (1, True, True)
    if importlib.util.find_spec("rerun") is None:
        code, text = error_of(bag, *common, "--rerun")
        assert (code, "pip install rerun-sdk" in text) == (1, True)
    for words in (
        ["--truth-field", "category"],
        ["--truth-map", truth_map],
        ["--corrupt", "rain"],
        [*truth, "--truth-folder", tmp_path],
        ["--jobs", "0"],
    ):
        assert error_of(bag, *common, *words)[0] == 2
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_a_cut_bag_is_evaluated_up_to_the_damage(
    tmp_path: Path,
    tiny_bundle: Path,
    record: Callable,
    scan_of: Callable,
    truth_map: Path,
    replayed: Callable,
    capsys: pytest.CaptureFixture[str],
) -> None:
    random = np.random.default_rng(0)
    scans = [scan_of(random.uniform(-9, 9, (300, 3)), np.zeros(300), random.choice([1, 7], 300)) for _ in range(10)]
    bag = record(tmp_path / "bag", scans)
    file = bag / "bag.mcap"
    file.write_bytes(file.read_bytes()[: int(0.55 * file.stat().st_size)])
    words = [bag, "--bundle", tiny_bundle, "--out", tmp_path / "out", "--backend", "onnxruntime-cpu"]
    assert replayed(*words, "--truth-field", "category", "--truth-map", truth_map) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    recording = report["recordings"][0]
    assert recording["clouds_read"] == recording["scans"] == 5
    assert recording["clouds_recorded"] == 10
    assert "5 of 10 clouds of /points could be read" in recording["damage"]
    assert recording["damage"] in report["warnings"]
    assert "warning: " in capsys.readouterr().err
    assert "5 of 10 clouds" in (tmp_path / "out/report.html").read_text()


def test_topics_and_truth_topic_and_corruption(
    tmp_path: Path, tiny_bundle: Path, record: Callable, scan_of: Callable, truth_map: Path, replayed: Callable
) -> None:
    random = np.random.default_rng(0)
    scans = [scan_of(random.uniform(-9, 9, (400, 3)), np.zeros(400), random.choice([1, 7], 400)) for _ in range(2)]
    bag = record(tmp_path / "bag", scans, topics=("/front", "/rear"))
    common = [bag, "--bundle", tiny_bundle, "--out", tmp_path / "out", "--backend", "onnxruntime-cpu"]
    assert replayed(*common, "--topic", "all", "--truth-field", "category", "--truth-map", truth_map) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert [(r["topic"], r["scans"]) for r in report["recordings"]] == [("/front", 2), ("/rear", 2)]
    one, other = (recording["truth"]["confusion"]["points"] for recording in report["recordings"])
    assert one == other
    assert (2 * np.array(one)).tolist() == report["truth"]["confusion"]["points"]
    by_field = report["recordings"][0]["truth"]["miou_percent"]

    common[common.index("--out") + 1] = tmp_path / "other"
    truth = ["--truth-topic", "/rear", "--truth-field", "category", "--truth-map", truth_map]
    assert replayed(*common, *truth, "--corrupt", "dropout:1,dropout:5", "--corrupt", "jitter:2") == 0
    report = json.loads((tmp_path / "other/report.json").read_text())
    assert [r["topic"] for r in report["recordings"]] == ["/front"]
    assert report["truth"]["miou_percent"] == by_field
    rows = {(row["kind"], row["severity"]): row for row in report["robustness"]["rows"]}
    assert list(rows) == [("dropout", 0), ("dropout", 1), ("dropout", 5), ("jitter", 0), ("jitter", 2)]
    assert rows["dropout", 0]["miou_percent"] == rows["jitter", 0]["miou_percent"] == by_field
    assert rows["dropout", 5]["lost_percent"] > rows["dropout", 1]["lost_percent"] > rows["jitter", 2]["lost_percent"] == 0
    assert rows["dropout", 5]["miou_percent"] < rows["dropout", 1]["miou_percent"] < by_field
    assert "Mean IoU by severity" in (tmp_path / "other/report.html").read_text()

"""Scoring labelled scans with a bundle: figures against a count by hand, refusals."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from distill import evaluate
from distill.config import TrainConfig
from distill.scan_folder import ScanSet, read_scan
from distill.trainer import train
from distill.zero_shot import scan_folder
from relidar.backends import open_executor
from relidar.bundle import open_bundle
from relidar.config_file import validate
from relidar.errors import ConfigError, DatasetError
from relidar.segmenter import Segmenter

ROOT = Path(__file__).parents[2]
FIRST = ["barrier", "bicycle", "bus", "car", "construction vehicle", "motorcycle", "pedestrian", "traffic cone"]
SECOND = ["trailer", "truck", "drivable surface", "other flat", "sidewalk", "terrain", "manmade"]
SCAN_SET = {
    "name": "made-up",
    "intensity_max": 1.0,
    "classes": [
        {"name": "first", "truth": [3, 4], "predicted": FIRST},
        {"name": "second", "truth": [7], "predicted": SECOND},
        {"name": "absent", "truth": [9], "predicted": ["vegetation"]},
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two scans with intensity in 0..1 and labels at random; 0 is ignored."""
    generator = np.random.default_rng(0)
    for number in range(2):
        points = generator.uniform([-20, -20, -2, 0], [20, 20, 3, 1], (800, 4)).astype(np.float32)
        label = generator.choice(np.array([0, 3, 4, 7], np.uint8), 800)
        np.savez(tmp_path / f"{number:03d}.npz", points=points, label=label)
    return tmp_path


def test_figures_equal_a_count_by_hand(tiny_bundle: Path, folder: Path) -> None:
    result = scan_folder(folder, tiny_bundle, validate(SCAN_SET, ScanSet, "test"), "onnxruntime-cpu", ())
    bundle = open_bundle(tiny_bundle)
    segmenter = Segmenter.of_bundle(bundle, open_executor(bundle, "onnxruntime-cpu"))
    name_of = {c.id: c.name for c in bundle.manifest.classes}
    hits, truths, predictions = ({"first": 0, "second": 0} for _ in range(3))
    for path in sorted(folder.glob("*.npz")):
        scan = read_scan(path)
        # The bundle's full return is 255, the set's is 1.
        answer = segmenter(scan.xyz_m, scan.intensity * np.float32(bundle.manifest.preprocessing.intensity_max))
        for raw, label in zip(scan.label, answer.label, strict=True):
            truth = {3: "first", 4: "first", 7: "second"}.get(int(raw))
            name = name_of.get(int(label))
            prediction = "first" if name in FIRST else "second" if name in SECOND else None
            if truth is not None:
                truths[truth] += 1
                if prediction is not None:
                    predictions[prediction] += 1
                    hits[truth] += truth == prediction
    iou = {name: 100 * hits[name] / (truths[name] + predictions[name] - hits[name]) for name in hits}
    assert sum(hits.values()) > 0
    assert result["class_iou"]["absent"] is None
    assert {name: result["class_iou"][name] for name in iou} == pytest.approx(iou)
    assert result["miou"] == pytest.approx(sum(iou.values()) / 2)
    assert result["points"] == sum(truths.values())


def test_what_is_not_a_labelled_scan_is_refused(tiny_bundle: Path, folder: Path, tmp_path: Path) -> None:
    path = folder / "000.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=r"000\.npz: not a labelled scan"):
        read_scan(path)
    np.savez(path, points=np.zeros((5, 3)), label=np.zeros(5, np.uint8))
    with pytest.raises(DatasetError, match=r"expected \(N, 4\)"):
        read_scan(path)
    np.savez(path, points=np.array([{}], dtype=object), label=np.zeros(1, np.uint8))
    with pytest.raises(DatasetError, match="not a labelled scan"):
        read_scan(path)
    with pytest.raises(DatasetError, match=r"no \.npz scans"):
        scan_folder(tmp_path / "absent", tiny_bundle, validate(SCAN_SET, ScanSet, "test"), "onnxruntime-cpu", ())


def test_the_command_states_the_mapping_and_writes_robustness_with_its_plot(
    tiny_bundle: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set.yaml").write_text(yaml.safe_dump(SCAN_SET))
    words = ["--bundle", str(tiny_bundle), "--scan-set", str(tmp_path / "set.yaml"), "--out", str(tmp_path / "out.json")]
    words += ["--backend", "onnxruntime-cpu", "--corrupt", "dropout:1,dropout:5", "--corrupt", "jitter:2"]
    monkeypatch.setattr(sys, "argv", ["evaluate", "scans", str(folder), *words])
    evaluate.main()
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["mapping"]["first"] == FIRST
    assert (result["protocol"], result["set"]) == ("zero_shot", "made-up")
    assert result["commit"]
    assert result["command"].startswith("python -m distill.evaluate scans ")
    rows = {(row["kind"], row["severity"]): row for row in result["robustness"]["rows"]}
    assert list(rows) == [("dropout", 0), ("dropout", 1), ("dropout", 5), ("jitter", 0), ("jitter", 2)]
    assert rows["jitter", 0]["miou_percent"] == pytest.approx(result["miou"], abs=1e-3)
    assert rows["dropout", 5]["miou_percent"] < rows["dropout", 1]["miou_percent"] < rows["dropout", 0]["miou_percent"]
    assert "counts as a miss" in result["robustness"]["figures"]["miou_percent"]
    said = capsys.readouterr().out
    assert "over 2 classes" in said
    assert "dropout:5" in said
    assert "out_robustness.svg" in said
    assert (tmp_path / "out_robustness.svg").read_text().count("<polyline") == 4
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--corrupt", "hail"])
    with pytest.raises(ConfigError, match="rain, fog"):
        evaluate.main()


def test_a_checkpoint_is_measured_too(config_values: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = config_values | {"run": str(tmp_path / "run"), "schedule": config_values["schedule"] | {"steps": 2}}
    student = train(validate(values, TrainConfig, "test"))
    words = ["--config", tmp_path / "run/config.yaml", "--checkpoint", student, "--out", tmp_path / "out.json"]
    words += ["--corrupt", "beam-drop:5"]
    monkeypatch.setattr(sys, "argv", ["evaluate", "zero-shot", *map(str, words)])
    evaluate.main()
    result = json.loads((tmp_path / "out.json").read_text())
    assert [row["lost_percent"] > 40 for row in result["robustness"]["rows"]] == [False, True]
    assert result["structure"]["relation_gap"] > 0
    assert result["structure"]["tolerance_student"] > 0

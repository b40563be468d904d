"""Scores of corrupted scans: void returns do not count, the command writes figures and a plot, bad words are refused."""

import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from distill import evaluate, robustness
from distill.config import TrainConfig
from distill.robustness import Cloud, Returns
from distill.train import train
from relidar.config_file import validate
from relidar.corruptions import KINDS, Corruption
from relidar.errors import ConfigError
from relidar.label_map import LabelMap

MAP = {
    "name": "two",
    "classes": [{"name": "low", "truth": [0], "predicted": []}, {"name": "high", "truth": [1], "predicted": []}],
}


@pytest.fixture
def label_map() -> LabelMap:
    return validate(MAP, LabelMap, "test")


def clouds(_: str = "") -> list[Cloud]:
    random = np.random.default_rng(0)
    points = [random.uniform(-40, 40, (900, 3)).astype(np.float32) for _ in range(3)]
    return [(xyz_m, np.full(900, 20, np.float32), random.integers(0, 2, 900).astype(np.uint8)) for xyz_m in points]


def test_a_kind_without_severity_means_all_of_them() -> None:
    assert robustness.plan_of(["fog", "rain:3", "rain:1", "rain:3"]) == {"fog": (0, 1, 2, 3, 4, 5), "rain": (1, 3)}
    assert robustness.plan_of([]) == {}
    with pytest.raises(ConfigError, match="hail"):
        robustness.plan_of(["hail"])


def test_void_returns_lose_their_truth_and_are_counted(label_map: LabelMap) -> None:
    returns = Returns()
    lookup = label_map.truth_lookup()
    changed = list(robustness.corrupted(clouds(), Corruption("dropout", 3), label_map, returns))
    for (xyz_m, _, label), (before_m, _, before) in zip(changed, clouds(), strict=True):
        gone = np.isnan(xyz_m).any(axis=1)
        assert (lookup[label[gone]] == 255).all()
        np.testing.assert_array_equal(label[~gone], before[~gone])
        np.testing.assert_array_equal(xyz_m[~gone], before_m[~gone])
    assert returns.points == 2700
    assert returns.lost == sum(int(np.isnan(xyz_m).any(axis=1).sum()) for xyz_m, _, _ in changed)
    assert returns.percent()["lost"] == pytest.approx(40, abs=4)
    assert returns.percent()["replaced"] == 0


def test_every_severity_is_scored_on_the_same_scans(label_map: LabelMap) -> None:
    def share_left(corrupted: Iterable[Cloud]) -> float:
        return float(100 * np.mean([np.isfinite(xyz_m[:, 0]).mean() for xyz_m, _, _ in corrupted]))

    plan = robustness.plan_of(["dropout", "crosstalk:5"])
    result = robustness.measure(plan, clouds, share_left, label_map, 255.0, 100.0)
    left = result["robustness"]["dropout"]
    assert left["0"] == 100
    assert sorted(left.values(), reverse=True) == list(left.values())
    for severity, percent in result["returns_percent"]["dropout"].items():
        assert left[severity] == pytest.approx(100 - percent["lost"], abs=1e-3)
    assert result["returns_percent"]["crosstalk"]["5"] == {"lost": 0.0, "replaced": pytest.approx(2.0, abs=1.0)}
    assert result["scales"]["dropout"]["unit"] == "%"
    assert "dropout" in robustness.table(result)


def test_the_plot_has_a_line_for_each_kind() -> None:
    def colours(kinds: Iterable[str]) -> set[tuple[int, ...]]:
        png = robustness.lines({kind: {"0": 50.0, "3": 30.0 - number, "5": None} for number, kind in enumerate(kinds)})
        with Image.open(io.BytesIO(png)) as image:
            pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
        return set(map(tuple, np.unique(pixels[np.ptp(pixels, axis=1) > 60], axis=0)))

    blue, orange = (31, 119, 180), (255, 127, 14)
    assert blue in colours(KINDS[:1])
    assert orange not in colours(KINDS[:1])
    assert {blue, orange} <= colours(KINDS[:2])


def test_the_command_writes_figures_and_plot(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["barrier", "bicycle", "bus", "car", "vegetation", "manmade", "terrain", "sidewalk"]
    classes = [{"name": "first", "truth": [0], "predicted": names[:4]}, {"name": "second", "truth": [1], "predicted": names[4:]}]
    (tmp_path / "set.yaml").write_text(yaml.safe_dump({"name": "made-up", "intensity_max": 255.0, "classes": classes}))
    for number, (xyz_m, intensity, label) in enumerate(clouds()):
        np.savez(tmp_path / f"{number}.npz", points=np.column_stack([xyz_m / 2, intensity]), label=label)
    words = ["--bundle", str(tiny_bundle), "--scan-set", str(tmp_path / "set.yaml"), "--out", str(tmp_path / "out.json")]
    words += ["--backend", "onnxruntime-cpu", "--corrupt", "dropout", "--corrupt", "jitter:2"]
    monkeypatch.setattr(sys, "argv", ["evaluate", "scans", str(tmp_path), *words])
    evaluate.main()
    result = json.loads((tmp_path / "out.json").read_text())
    assert list(result["robustness"]["dropout"]) == ["0", "1", "2", "3", "4", "5"]
    assert result["robustness"]["dropout"]["0"] == pytest.approx(result["miou"])
    assert list(result["robustness"]["jitter"]) == ["2"]
    assert "out_robustness.png" in capsys.readouterr().out
    with Image.open(tmp_path / "out_robustness.png") as image:
        assert image.format == "PNG"
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--corrupt", "hail"])
    with pytest.raises(ConfigError, match="rain, fog"):
        evaluate.main()


def test_a_checkpoint_is_measured_too(config_values: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = config_values | {"run": str(tmp_path / "run"), "schedule": config_values["schedule"] | {"steps": 2}}
    student = train(validate(values, TrainConfig, "test"))
    words = ["--config", tmp_path / "run/config.yaml", "--checkpoint", student, "--out", tmp_path / "out.json"]
    words += ["--corrupt", "beam-drop:5", "--corrupt", "fog:0"]
    monkeypatch.setattr(sys, "argv", ["evaluate", "zero-shot", *map(str, words)])
    evaluate.main()
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["returns_percent"]["beam-drop"]["5"]["lost"] > 40
    assert result["robustness"]["fog"] == {"0": pytest.approx(result["miou"])}
    assert result["structure"]["relation_gap"] > 0

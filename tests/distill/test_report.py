"""The demo's report says what the steps wrote, on the page and as JSON; a step whose file is missing or damaged is named."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from distill import evaluate, report
from distill.checkpoint import StudentCheckpoint, save_student
from distill.student import Student, StudentConfig
from export import parity
from export.assemble import RawScan, write_bundle
from relidar import command_line, replay
from relidar.answer_check import AnswerCheck
from relidar.bundle import open_bundle
from relidar.engine_cache import SideCar, engine_key, plan_path
from relidar.errors import DatasetError
from relidar.prompts import load_prompt_set
from relidar.text_bank import TextBank

ROOT = Path(__file__).parents[2]
TEACHER_WIDTH = 384
SCAN_SET = {
    "name": "made-up <set>",
    "intensity_max": 255,
    "classes": [
        {"name": "road & co", "truth": [3], "predicted": ["driveable_surface", "sidewalk"]},
        {"name": "absent one", "truth": [9], "predicted": ["vegetation"]},
    ],
}


def node_figures(sent: int, answered: int) -> dict:
    """What play_node writes of a run in which the node dropped the rest."""
    check = AnswerCheck()
    for stamp_ns in range(1, sent + 1):
        check.sent(stamp_ns, 5, "lidar", time_s=stamp_ns)
        if stamp_ns <= answered:
            check.received(stamp_ns, 5, "lidar", time_s=stamp_ns + 0.042)
    counted = {"received": sent, "answered": answered, "dropped": sent - answered, "skipped": 0, "malformed": 0, "failed": 0}
    return check.report() | {"rate_hz": 2.0, "lost_in_transport": 0, "node_counted": counted}


@pytest.fixture(scope="module")
def finished(
    config_values: dict,
    street: Path,
    tiny_checkpoint: StudentCheckpoint,
    random_cloud: Callable[..., RawScan],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A demo's folder before its report, each file made by the command that makes it there; a random student, read only."""
    demo = tmp_path_factory.mktemp("runs") / "demo"
    (demo / "train").mkdir(parents=True)
    (demo / "train/config.yaml").write_text(yaml.safe_dump(config_values))
    prompt_set = load_prompt_set(ROOT / "configs/prompts/nuscenes16.yaml")
    torch.manual_seed(0)
    rows = np.random.default_rng(0).normal(size=(len(prompt_set.prompts), TEACHER_WIDTH)).astype(np.float32)
    student = replace(
        tiny_checkpoint,
        student=Student(StudentConfig(architecture="minkunet14", width=0.25), 1, TEACHER_WIDTH).eval(),
        prompt_set=prompt_set,
        text=TextBank("random", prompt_set.prompts, rows / np.linalg.norm(rows, axis=1, keepdims=True)),
    )
    checkpoint = demo / "train/student.pt"
    save_student(student, checkpoint)
    write_bundle(student, [random_cloud(3000)], demo / "bundle")
    scans = demo / "scans"
    scans.mkdir()
    cloud = random_cloud(500)
    np.savez(scans / "0.npz", points=np.column_stack([cloud.xyz_m, cloud.intensity]), label=np.full(500, 3, np.uint8))
    (demo / "set.yaml").write_text(yaml.safe_dump(SCAN_SET))
    truth = ["--truth-field", "category", "--truth-map", report.LABEL_MAP]
    steps: list[tuple[Callable[[], None], list[object]]] = [
        (
            evaluate.main,
            ["zero-shot", "--config", demo / "train/config.yaml", "--checkpoint", checkpoint, "--out", demo / "street.json"],
        ),
        (
            evaluate.main,
            ["scans", scans, "--bundle", demo / "bundle", "--scan-set", demo / "set.yaml", "--out", demo / "real/made-up.json"],
        ),
        (parity.main, [demo / "bundle", "--checkpoint", checkpoint, "--out", demo / "parity.json"]),
        (replay.main, [street / "street.mcap", "--bundle", demo / "bundle", "--out", demo / "replay", *truth]),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for main, words in steps:
            patch.setattr(sys, "argv", ["command", *map(str, words)])
            main()
    for rate, (sent, answered) in {2: (3, 3), 20: (50, 41)}.items():
        (demo / f"node_{rate}hz.json").write_text(json.dumps(node_figures(sent, answered)))
    bundle = open_bundle(demo / "bundle")
    key = engine_key(bundle, "tensorrt-rtx", "1.0", "sm86")
    plan_path(bundle, key).parent.mkdir()
    plan_path(bundle, key).write_bytes(bytes(1_300_000))
    side_car = SideCar(key=key, plan_sha256="0" * 64, plan_bytes=1_300_000)
    plan_path(bundle, key).with_suffix(".json").write_text(side_car.model_dump_json())
    (demo / "seconds.json").write_text(json.dumps({"street": 82.04, "train": 100.0}))
    return demo


@pytest.fixture
def demo(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may damage."""
    monkeypatch.chdir(ROOT)
    return Path(shutil.copytree(finished, tmp_path / "demo"))


def rows_of(page: str, title: str) -> list[list[str]]:
    """The cells of the first table below a heading, the head first."""
    table = re.search(rf"<h2>[^<]*{title}[^<]*</h2>.*?<table>(.*?)</table>", page, re.DOTALL)
    assert table, title
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table[1])]


def test_page_and_json_say_what_the_steps_wrote(demo: Path) -> None:
    report.write_report(demo)
    page, figures = (demo / "report.html").read_text(), json.loads((demo / "report.json").read_text())
    street = json.loads((demo / "street.json").read_text())
    assert (figures["street"]["zero_shot_miou"], figures["street"]["class_iou"]) == (street["miou"], street["class_iou"])
    assert figures["real"]["made-up"] == json.loads((demo / "real/made-up.json").read_text())
    assert figures["parity"] == json.loads((demo / "parity.json").read_text())
    assert figures["replay"] == json.loads((demo / "replay/report.json").read_text())
    assert figures["node"]["node_counted"]["answered"] == 3

    assert f"mean IoU: <strong>{street['miou']:.1f} %</strong>" in page
    assert page.count('src="data:image/png;base64,') == 4
    assert not re.search(r'(?:src|href)="(?!data:|replay/report\.html")', page)  # opens offline
    for name in (report.TOP_PICTURE, report.CAMERA_PICTURE):
        assert (demo / name).read_bytes()[:4] == b"\x89PNG"
    head, slow, fast = rows_of(page, "Live ROS 2 node")
    assert dict(zip(head, slow, strict=True)) | {"p50, ms": "42"} == dict(zip(head, slow, strict=True))
    assert (fast[head.index("sent")], fast[head.index("answered")]) == ("50", "41")
    assert fast[head.index("dropped for a newer scan")] == "9"
    assert rows_of(page, "TensorRT") == [["runtime", "GPU class", "size, MB"], ["tensorrt-rtx", "sm86", "1.3"]]
    assert rows_of(page, "Time") == [["step", "seconds"], ["street", "82.0"], ["train", "100.0"], ["together", "182.0"]]
    forms = {row[0] for row in rows_of(page, "Agreement")[1:]}
    assert {"golden features", "onnxruntime-cpu", "compiled-cpu"} <= forms
    gaps = rows_of(page, "features differ")[1:]
    assert [row[1] for row in gaps] == [f"{value:.3f}" for value in street["structure"].values()]
    assert all(row[2] for row in gaps)
    assert f"{figures['replay']['scans']} scans without ROS" in page
    assert f"mean IoU {figures['replay']['truth']['miou_percent']:.1f} %" in page
    real = figures["real"]["made-up"]
    assert f"made-up: mean IoU {real['miou']:.1f} % over 1 classes, 1 scans" in page
    assert rows_of(page, "Real scans")[1:] == [
        ["road &amp; co", f"{real['class_iou']['road & co']:.1f}", "driveable_surface, sidewalk"],
        ["absent one", "absent", "vegetation"],
    ]
    assert f"<code>{figures['command']}</code>, commit {figures['commit']}" in page


def test_what_was_not_there_is_said(demo: Path) -> None:
    shutil.rmtree(demo / "real")
    shutil.rmtree(demo / "bundle/engines")
    (demo / "node_20hz.json").write_text(json.dumps(node_figures(4, 0)))
    report.write_report(demo)
    page = (demo / "report.html").read_text()
    assert "RELIDAR_DATA names no set that configs/scan_sets describes" in page
    assert "None was built" in page
    head, _, fast = rows_of(page, "Live ROS 2 node")
    assert [fast[head.index(name)] for name in ("answered", "p50, ms", "p99, ms")] == ["0", "none", "none"]
    assert json.loads((demo / "report.json").read_text())["engine"] is None


def test_scans_without_a_labelled_point_of_a_class_have_no_mean_iou(demo: Path) -> None:
    for name in ("street.json", "real/made-up.json"):
        content = json.loads((demo / name).read_text())
        nothing = {"miou": None, "class_iou": dict.fromkeys(content["class_iou"])}
        (demo / name).write_text(json.dumps(content | nothing))
    report.write_report(demo)
    page = (demo / "report.html").read_text()
    assert "mean IoU: <strong>not known</strong>" in page
    assert "made-up: mean IoU not known over 0 classes, 1 scans" in page


FILES = ("street.json", "parity.json", "node_2hz.json", "node_20hz.json", "replay/report.json", "real/made-up.json")


@pytest.mark.parametrize("name", [*FILES, "seconds.json"])
def test_a_step_whose_file_is_cut_is_named_and_nothing_is_written(demo: Path, name: str) -> None:
    whole = (demo / name).read_bytes()
    (demo / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=rf"{name}: cannot be read \(.*\); run `python -m distill\.demo`, which writes it"):
        report.write_report(demo)
    assert not (demo / "report.html").exists()
    if not name.startswith("real/"):  # sets that were not scored are no fault
        (demo / name).unlink()
        with pytest.raises(DatasetError, match=f"{name}: cannot be read"):
            report.write_report(demo)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", ["{}", "[]", "null"])
def test_a_file_that_lacks_its_figures_is_named(demo: Path, name: str, content: str) -> None:
    (demo / name).write_text(content)
    with pytest.raises(DatasetError, match=rf"{name}: holds no .*, so it is damaged or of another version"):
        report.write_report(demo)


@pytest.mark.parametrize("content", ["[]", "null"])
def test_seconds_that_are_no_mapping_are_named(demo: Path, content: str) -> None:
    (demo / "seconds.json").write_text(content)
    with pytest.raises(DatasetError, match=r"seconds\.json: holds no figures, so it is damaged or of another version"):
        report.write_report(demo)


def test_the_command_ends_with_exit_code_1(
    demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (demo / "parity.json").unlink()
    monkeypatch.setattr(sys, "argv", ["report", str(demo)])
    with pytest.raises(SystemExit) as ended:
        command_line.run(report.main)
    assert ended.value.code == 1
    assert "parity.json: cannot be read" in capsys.readouterr().err

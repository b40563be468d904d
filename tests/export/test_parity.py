import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.checkpoint import StudentCheckpoint, save_student
from distill.student import Student
from export.agreement import Agreement, agreement, together
from export.assemble import RawScan
from export.parity import REPORT, SCANS_OF_A_SOURCE, measure, scans_of
from relidar.bundle import MANIFEST, Precision, open_bundle, sha256_file
from relidar.errors import CloudError
from relidar.executor import LABEL_AGREEMENT
from relidar.segmenter import ClassScorer
from relidar.voxels import voxelise


def test_all_forms_agree_with_torch(tiny_bundle: Path, tiny_checkpoint: StudentCheckpoint, tmp_path: Path) -> None:
    save_student(tiny_checkpoint, tmp_path / "student.pt")
    parity = measure(open_bundle(tiny_bundle), tmp_path / "student.pt")
    assert parity.holds
    half = "onnxruntime-cpu-dense-fp16"
    assert {form.name for form in parity.forms} == {
        "golden features",
        "compiled-cpu",
        "onnxruntime-cpu",
        "onnxruntime-cpu-dense",
        half,
    }
    assert parity.max_abs < 1e-4
    for form in parity.forms:
        assert 0 <= form.max_score_abs < (1e-2 if form.name == half else 1e-4)
        assert form.precision == ("fp16" if form.name == half else "fp32")
        if form.precision == "fp32":
            assert form.min_cosine > 0.99999
            assert form.label_agreement > 0.999
        else:
            assert 1e-5 < form.max_abs < 1e-2
            assert form.label_agreement >= LABEL_AGREEMENT["fp16"]
        assert 0 <= form.mean_abs <= form.p999_abs <= form.max_abs
        assert form.min_cosine <= form.mean_cosine


def test_scans_without_a_golden_answer_are_compared_with_torch_or_pairs(
    tiny_bundle: Path, tiny_checkpoint: StudentCheckpoint, tmp_path: Path, random_cloud: Callable[..., RawScan]
) -> None:
    save_student(tiny_checkpoint, tmp_path / "student.pt")
    bundle = open_bundle(tiny_bundle)
    clouds = [random_cloud(points, seed=points) for points in (900, 300)]
    scans = {"walls": [(cloud.xyz_m, cloud.intensity) for cloud in clouds]}
    voxels = sum(len(voxelise(*scan, bundle.manifest.preprocessing).coordinates) for scan in scans["walls"])
    (with_torch,) = measure(bundle, tmp_path / "student.pt", scans).scan_sets
    (with_pairs,) = measure(bundle, None, scans).scan_sets
    assert (with_torch.name, with_torch.scans, with_torch.voxels) == ("walls", 2, voxels)
    assert with_torch.reference.startswith("torch")
    assert with_pairs.reference == "onnxruntime-cpu"
    assert {form.name for form in with_torch.forms} - {form.name for form in with_pairs.forms} == {"onnxruntime-cpu"}
    assert all(form.max_abs < (1e-2 if form.precision == "fp16" else 1e-4) for form in with_torch.forms + with_pairs.forms)


def test_a_scan_out_of_range_is_told(tiny_bundle: Path) -> None:
    nothing = (np.full((5, 3), np.nan, np.float32), np.zeros(5, np.float32))
    with pytest.raises(CloudError, match="empty: a scan without a point"):
        measure(open_bundle(tiny_bundle), None, {"empty": [nothing]})


def test_several_scans_together() -> None:
    one = Agreement("a", 1.0, 0.1, 0.5, 1.0, 0.7, 0.9, "fp16")
    two = Agreement("a", 3.0, 0.4, 0.6, 0.6, 0.5, 0.6, "fp16")
    assert together([one, two], [200, 100]) == Agreement(
        "a", 3.0, pytest.approx(0.2), 0.5, pytest.approx(13 / 15), 0.7, pytest.approx(0.8), "fp16"
    )


def test_wrong_scores_are_not_saved_by_right_features() -> None:
    assert not Agreement("a", 1e-6, 0, 1, 1, 0, 1, max_score_abs=1e-3).holds(tolerance=1e-4)


@pytest.mark.parametrize(
    ("max_abs", "same", "precision", "holds"),
    [
        (1e-5, 1.0, "fp32", True),
        (1e-3, 1.0, "fp32", False),
        (1e-3, 0.995, "fp16", True),
        (1e-3, 0.9949, "fp16", False),
        (np.nan, 1.0, "fp32", False),
        (np.nan, 1.0, "fp16", False),
    ],
)
def test_what_holds(max_abs: float, same: float, precision: Precision, holds: bool) -> None:
    assert Agreement("a", max_abs, 0, 1, same, 0, 1, precision).holds(tolerance=1e-4) == holds


def test_the_command_keeps_its_figures_in_the_bundle_and_takes_folders(
    tiny_bundle: Path, tmp_path: Path, random_cloud: Callable[..., RawScan]
) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "b")
    (tmp_path / "scans").mkdir()
    cloud = random_cloud(200)
    points = np.column_stack([cloud.xyz_m, cloud.intensity])
    np.savez(tmp_path / "scans" / "0.npz", points=points, label=np.zeros(len(points), np.uint8))
    command = [sys.executable, "-m", "export.parity", tmp_path / "b", "--scans", tmp_path / "scans"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "b" / REPORT).read_text())
    assert figures["holds"]
    assert figures["manifest_sha256"] == sha256_file(tmp_path / "b" / MANIFEST)
    assert [scan_set["scans"] for scan_set in figures["scan_sets"]] == [1]
    assert {"reference", "voxels", "tolerance", "max_abs", "forms"} <= set(figures)
    open_bundle(tmp_path / "b")  # which the figures leave as it is


def test_a_few_scans_of_a_source_are_taken_evenly(tmp_path: Path) -> None:
    for index in range(30):
        np.full((2, 5), index, np.float32).tofile(tmp_path / f"{index:02}.pcd.bin")
    (scans,) = scans_of([tmp_path], 255).values()
    assert len(scans) == SCANS_OF_A_SOURCE
    assert (scans[0][0][0, 0], scans[-1][0][0, 0]) == (0, 29)


@pytest.mark.parametrize(("name", "full_return"), [("nuscenes-lidarseg-range", 255), ("semantickitti-range", 1)])
def test_half_precision_keeps_the_labels_of_real_scans(
    tiny_bundle: Path, relidar_data: Path, name: str, full_return: float
) -> None:
    sets = scans_of([relidar_data / name], open_bundle(tiny_bundle).manifest.preprocessing.intensity_max, full_return=full_return)
    (scan_set,) = measure(open_bundle(tiny_bundle), None, {name: next(iter(sets.values()))[:1]}).scan_sets
    (half,) = [form for form in scan_set.forms if form.precision == "fp16"]
    assert half.label_agreement >= LABEL_AGREEMENT["fp16"]


def test_another_student_fails_the_command(tiny_bundle: Path, tiny_checkpoint: StudentCheckpoint, tmp_path: Path) -> None:
    torch.manual_seed(7)
    other = Student(tiny_checkpoint.student.config, in_channels=1, feature_width=32)
    save_student(replace(tiny_checkpoint, student=other), tmp_path / "other.pt")
    shutil.copytree(tiny_bundle, tmp_path / "b")
    command = [
        sys.executable,
        "-m",
        "export.parity",
        tmp_path / "b",
        "--checkpoint",
        tmp_path / "other.pt",
        "--out",
        tmp_path / "p.json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Export it again" in done.stderr
    assert re.search(r"  compiled-cpu, golden scan: a feature differs by .*, limit 1e-04; a score differs by", done.stderr)
    assert re.search(r"  onnxruntime-cpu-dense-fp16, golden scan: same label for .*%, limit 99\.5%", done.stderr)
    assert "onnxruntime-cpu" in done.stdout
    figures = json.loads((tmp_path / "p.json").read_text())
    assert not figures["holds"]
    assert figures["max_abs"] > 1e-2


@pytest.mark.parametrize("fault", [np.nan, 0.5])
def test_one_wrong_voxel_is_seen(tiny_bundle: Path, fault: float) -> None:
    bundle = open_bundle(tiny_bundle)
    expected = bundle.golden().features
    answer = expected.copy()
    answer[17, 3] += fault
    scorer = ClassScorer(bundle.manifest.classes, bundle.text, -1.0)
    found = agreement("faulty", answer, expected, scorer)
    assert not found.max_abs <= bundle.manifest.tolerance
    assert agreement("same", expected, expected, scorer).max_abs == 0

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.checkpoint import StudentCheckpoint, save_student
from distill.student import Student
from export.parity import agreement, measure
from relidar.bundle import open_bundle
from relidar.segmenter import ClassScorer


def test_all_forms_agree_with_torch(tiny_bundle: Path, tiny_checkpoint: StudentCheckpoint, tmp_path: Path) -> None:
    save_student(tiny_checkpoint, tmp_path / "student.pt")
    parity = measure(open_bundle(tiny_bundle), tmp_path / "student.pt")
    assert parity.holds
    assert {form.name for form in parity.forms} == {"golden features", "onnxruntime-cpu", "onnxruntime-cpu-dense"}
    assert parity.max_abs < 1e-4
    assert all(form.min_cosine > 0.99999 and form.label_agreement > 0.999 for form in parity.forms)


def test_another_student_fails_the_command(tiny_bundle: Path, tiny_checkpoint: StudentCheckpoint, tmp_path: Path) -> None:
    torch.manual_seed(7)
    other = Student(tiny_checkpoint.student.config, in_channels=1, feature_width=32)
    save_student(replace(tiny_checkpoint, student=other), tmp_path / "other.pt")
    command = [
        sys.executable,
        "-m",
        "export.parity",
        tiny_bundle,
        "--checkpoint",
        tmp_path / "other.pt",
        "--out",
        tmp_path / "p.json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "export it again" in done.stderr
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

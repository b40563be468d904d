"""The command, as a process of its own."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from distill.checkpoint import StudentCheckpoint, save_student
from export.assemble import RawScan
from export.scans import scans_of_run
from export.trt import write_bundle_of
from relidar.bundle import open_bundle
from relidar.errors import ConfigError

NO_TORCH = """
import runpy, sys
sys.modules["torch"] = None  # importing it now raises ImportError
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "export.trt", *map(str, words)], capture_output=True, text=True, timeout=120)


@pytest.fixture
def scans(tmp_path: Path, random_cloud: object) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for seed in range(3):
        cloud: RawScan = random_cloud(500 + 100 * seed, seed)  # type: ignore[operator]
        points = np.column_stack([cloud.xyz_m, cloud.intensity])
        np.savez(folder / f"{seed}.npz", points=points, label=np.zeros(len(points), np.uint8))
    return folder


def test_checkpoint_to_bundle_to_engine(tiny_checkpoint: StudentCheckpoint, scans: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="the extra `rtx` is not installed")
    save_student(tiny_checkpoint, tmp_path / "student.pt")
    done = run(tmp_path / "student.pt", "--out", tmp_path / "b", "--scans", scans, "--target", "sm86")
    assert done.returncode == 0, done.stderr
    bundle = open_bundle(tmp_path / "b")
    assert [path.suffix for path in sorted((bundle.path / "engines").iterdir())] == [".json", ".plan"]
    assert "built" in done.stdout
    assert re.search(r"backends on this machine:\n(  \S+ +no: .+\n)*  \S+ +runs, \S+ from the golden scan\n", done.stdout)
    again = run(tmp_path / "b", "--target", "sm86", "--target", "sm89", "--build-only")
    assert again.returncode == 0, again.stderr
    assert ("kept" in again.stdout, "built" in again.stdout, "backends" in again.stdout) == (True, True, False)


@pytest.mark.parametrize("module", ["export.trt", "export.parity"])
def test_a_bundle_needs_no_torch(tiny_bundle: Path, tmp_path: Path, module: str) -> None:
    pytest.importorskip("tensorrt_rtx", reason="the extra `rtx` is not installed")
    shutil.copytree(tiny_bundle, tmp_path / "b")
    options = ["--target", "sm89"] if module == "export.trt" else []
    command = [sys.executable, "-c", NO_TORCH, module, str(tmp_path / "b"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere.pt"], 1, "nowhere.pt: no such file"),
        (["nowhere.pt", "--prompts", "p.yaml"], 2, "go together"),
        ([], 2, "source"),
        (["b", "--precision", "int3"], 2, "int3"),
        ([".", "--out", "b"], 2, "for a checkpoint"),
        (["student.pt", "--build-only"], 2, "--build-only is for a bundle"),
        ([str(Path(__file__).parent)], 1, "no manifest.yaml there"),
    ],
)
def test_bad_usage_is_told(words: list[str], code: int, message: str) -> None:
    done = run(*words)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_scans_that_are_not_there_leave_nothing_behind(tiny_checkpoint: StudentCheckpoint, tmp_path: Path) -> None:
    save_student(tiny_checkpoint, tmp_path / "student.pt")
    with pytest.raises(ConfigError, match=r"config\.yaml: not there.*--scans"):
        write_bundle_of(tmp_path / "student.pt", tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["student.pt"]


def test_help_shows_an_example() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "python -m export.trt runs/demo/train/student.pt" in done.stdout


def test_scans_come_from_the_dataset_of_the_run(relidar_data: Path, tmp_path: Path) -> None:
    data = {"root": str(relidar_data / "nuscenes-one"), "version": "v1.0-mini", "val_split": "mini_train"}
    content = {"run": str(tmp_path), "cache": str(tmp_path), "data": data}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    (scan,) = scans_of_run(tmp_path / "student.pt")
    assert scan.xyz_m.shape == (34_688, 3)
    assert scan.intensity.max() > 1

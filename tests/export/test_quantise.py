"""The calibration of int8, from scans to the bundle."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from export.quantise import inputs, label_agreement, quantise
from relidar.backends import open_executor
from relidar.bundle import CPU_INT8_PROGRAM, CPU_PROGRAM, Bundle, open_bundle
from relidar.cloud_writer import cloud_of, record
from relidar.errors import BackendError, BundleError, CloudError
from relidar.program_file import load_program
from relidar.voxels import Voxels, voxelise


def scans_of_cloud(bundle: Bundle, random_cloud: Callable, number: int) -> list[Voxels]:
    clouds = [random_cloud(900, seed) for seed in range(number)]
    return [voxelise(cloud.xyz_m, cloud.intensity, bundle.manifest.preprocessing) for cloud in clouds]


def test_a_calibrated_bundle_runs_in_int8(tiny_bundle: Path, tmp_path: Path, random_cloud: Callable) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "b")
    bundle = open_bundle(tmp_path / "b")
    with pytest.raises(
        BackendError, match=r"no student-cpu-int8.safetensors; calibrate it with `python -m export.quantise .* --scans FOLDER`"
    ):
        open_executor(bundle, "compiled-cpu-int8")
    scans = scans_of_cloud(bundle, random_cloud, 4)
    kept = quantise(bundle, scans)
    assert kept > 0.9
    again = open_bundle(tmp_path / "b")
    assert again.manifest.sha256.keys() - bundle.manifest.sha256.keys() == {CPU_INT8_PROGRAM}
    program, int8 = load_program(again.path / CPU_PROGRAM), load_program(again.path / CPU_INT8_PROGRAM)
    assert int8.largest
    assert not program.largest
    held_out = inputs(scans[:1], 5)
    assert kept == label_agreement(program, int8, held_out, bundle.words(), threads=1)
    assert open_executor(again, "auto").name == "compiled-cpu"
    with pytest.raises(CloudError, match="1 scans, expected at least 2"):
        quantise(bundle, scans[:1])


def test_a_second_calibration_that_fails_leaves_a_bundle_that_opens(
    tiny_bundle: Path, tmp_path: Path, random_cloud: Callable
) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "b")
    bundle = open_bundle(tmp_path / "b")
    scans = scans_of_cloud(bundle, random_cloud, 2)
    quantise(bundle, scans)
    again = open_bundle(bundle.path)
    (bundle.path / CPU_INT8_PROGRAM).unlink()
    (bundle.path / CPU_INT8_PROGRAM).mkdir()  # a file cannot take its place
    with pytest.raises(BundleError, match=r"student-cpu-int8.safetensors: cannot be written .* run the command again"):
        quantise(again, scans)
    assert open_bundle(bundle.path).manifest.sha256 == open_bundle(tiny_bundle).manifest.sha256
    (bundle.path / CPU_INT8_PROGRAM).rmdir()
    quantise(again, scans)
    assert open_bundle(bundle.path).manifest.sha256.keys() == again.manifest.sha256.keys()


def test_a_bundle_of_an_older_export_is_told(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    sha256 = {name: value for name, value in bundle.manifest.sha256.items() if name != CPU_PROGRAM}
    old = type(bundle)(bundle.path, bundle.manifest.model_copy(update={"sha256": sha256}), bundle.text)
    with pytest.raises(BundleError, match=r"no student-cpu.safetensors; export the bundle again"):
        quantise(old, [])


def test_the_command_takes_folders_and_bags_together(tiny_bundle: Path, tmp_path: Path, random_cloud: Callable) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "b")
    (tmp_path / "scans").mkdir()
    for seed in range(7):
        cloud = random_cloud(900, seed)
        points = np.concatenate([cloud.xyz_m, cloud.intensity[:, None]], axis=1)
        np.savez(tmp_path / f"scans/{seed}.npz", points=points, label=np.zeros(900, np.uint8))
    with record(tmp_path / "bag") as recorder:
        for seed in range(7, 12):
            cloud = random_cloud(900, seed)
            columns = {"x": cloud.xyz_m[:, 0], "y": cloud.xyz_m[:, 1], "z": cloud.xyz_m[:, 2], "intensity": cloud.intensity}
            recorder.cloud("/points", seed, "lidar", *cloud_of(columns))
    sources = ["--scans", tmp_path / "scans", "--scans", tmp_path / "bag"]
    command = [sys.executable, "-m", "export.quantise", tmp_path / "b", *sources, "--most", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"calibrated on 7 scans; int8 keeps \d+\.\d\d% of the labels of 1 that were held out", done.stdout)
    assert CPU_INT8_PROGRAM in open_bundle(tmp_path / "b").manifest.sha256


def test_the_command_needs_scans(tiny_bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "export.quantise", str(tiny_bundle)]
    missing = subprocess.run(command, capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    few = subprocess.run([*command, "--scans", str(tmp_path), "--most", "1"], capture_output=True, text=True, check=False)
    assert (few.returncode, "expected a whole number of at least 2" in few.stderr) == (2, True)
    empty = subprocess.run([*command, "--scans", str(tmp_path)], capture_output=True, text=True, check=False)
    assert (empty.returncode, "no .pcd.bin or .npz scans" in empty.stderr) == (1, True)

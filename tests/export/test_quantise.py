"""The calibration of int8, from scans to the bundle."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from export.quantise import QUANTILE, activations, calibrated, quantise
from relidar.backends import open_executor
from relidar.bundle import CPU_INT8_PROGRAM, CPU_PROGRAM, open_bundle
from relidar.errors import BackendError, BundleError, CloudError
from relidar.program import Relu
from relidar.program_file import load_program
from relidar.rulebook import build_rulebook
from relidar.voxels import voxelise
from tests.relidar.compiled.small_programs import interpret, random_program, random_scan


def test_each_activation_is_measured_as_the_steps_mean_it() -> None:
    random = np.random.default_rng(0)
    program = random_program(random, 2, (5, 6, 7, 8), 9)
    scans = [random_scan(random, voxels, 2) for voxels in (40, 90)]
    measured = calibrated(program, scans)
    assert set(measured.largest) == {step.output for step in program.steps if isinstance(step, Relu)}
    # The last ReLU's output times the head gives the answer of the naive loops.
    features, rulebook = scans[0]
    values = dict(activations(program, features, rulebook))
    head = program.steps[-2]
    rows = values["h"] @ head.weight + head.bias
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(rows, interpret(program, features, rulebook), atol=1e-5)
    quantiles = [np.quantile(dict(activations(program, *scan))["c"], QUANTILE) for scan in scans]
    assert measured.largest["c"] == pytest.approx((40 * quantiles[0] + 90 * quantiles[1]) / 130)


def test_an_activation_that_never_fires_is_no_obstacle() -> None:
    random = np.random.default_rng(0)
    program = random_program(random, 1, (4, 4, 4, 4), 4)
    for step in program.steps[:1]:
        step.weight[:] = 0
        step.bias[:] = -1
    assert min(calibrated(program, [random_scan(random, 9, 1)]).largest.values()) > 0


def test_a_calibrated_bundle_runs_in_int8(tiny_bundle: Path, tmp_path: Path, random_cloud: Callable) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "b")
    bundle = open_bundle(tmp_path / "b")
    with pytest.raises(
        BackendError, match=r"no student-cpu-int8.safetensors; calibrate it with `python -m export.quantise .* --scans FOLDER`"
    ):
        open_executor(bundle, "compiled-cpu-int8")
    scans = []
    for seed in range(4):
        cloud = random_cloud(900, seed)
        voxels = voxelise(cloud.xyz_m, cloud.intensity, bundle.manifest.preprocessing)
        scans.append((voxels.features, build_rulebook(voxels.coordinates, 5)))
    assert quantise(bundle, scans) > 0.9
    again = open_bundle(tmp_path / "b")
    assert again.manifest.sha256.keys() - bundle.manifest.sha256.keys() == {CPU_INT8_PROGRAM}
    assert load_program(again.path / CPU_INT8_PROGRAM).largest
    assert not load_program(again.path / CPU_PROGRAM).largest
    assert open_executor(again, "auto").name == "compiled-cpu"
    with pytest.raises(CloudError, match="1 scans, expected at least 2"):
        quantise(bundle, scans[:1])


def test_a_second_calibration_that_fails_leaves_a_bundle_that_opens(
    tiny_bundle: Path, tmp_path: Path, random_cloud: Callable
) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "b")
    bundle = open_bundle(tmp_path / "b")
    scans = []
    for seed in range(2):
        cloud = random_cloud(300, seed)
        voxels = voxelise(cloud.xyz_m, cloud.intensity, bundle.manifest.preprocessing)
        scans.append((voxels.features, build_rulebook(voxels.coordinates, 5)))
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


def test_the_command_needs_scans(tiny_bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "export.quantise", str(tiny_bundle)]
    missing = subprocess.run(command, capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    empty = subprocess.run([*command, "--scans", str(tmp_path)], capture_output=True, text=True, check=False)
    assert (empty.returncode, "no .pcd.bin or .npz scans" in empty.stderr) == (1, True)

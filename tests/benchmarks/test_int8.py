"""The student in int8 against spconv, which has none on the CPU, and the labels that it keeps."""

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from export.quantise import calibrated, label_agreement
from relidar.bundle import CPU_PROGRAM, open_bundle
from relidar.program import Program
from relidar.program_file import load_program
from relidar.rulebook import build_rulebook
from relidar.voxels import Preprocessing, voxelise
from tests.benchmarks.student_runs import indexed, ours, theirs

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]
RUNS = 7


def test_against_spconv(
    real_scans: dict[str, np.ndarray],
    spec: Preprocessing,
    program_of: Callable[..., Program],
    spconv_student: ModuleType,
    threads: int,
    alternate: Callable,
    record: Callable,
) -> None:
    program = program_of("minkunet34")
    inputs = [indexed(points, spec, program, threads) for points in real_scans.values()]
    program = calibrated(program, [(voxels.features, rulebook) for voxels, rulebook in inputs])
    times = {
        name: alternate(ours(points, spec, program, threads, "int8"), theirs(spconv_student, points, spec, program), RUNS)
        for name, points in real_scans.items()
    }
    listed = ", ".join(f"{name} {mine:.0f} against {peer:.0f} ms" for name, (mine, peer) in times.items())
    totals = (sum(mine for mine, _ in times.values()), sum(peer for _, peer in times.values()))
    detail = f"minkunet34 in int8, points to features of 512, voxels of 0.1 m, against spconv in fp32: {listed}"
    assert record("student34_int8", *totals, detail, wanted=2.0) >= 2.0


def test_labels_of_a_trained_student_on_real_scans(relidar_data: Path, threads: int, record: Callable) -> None:
    """Calibrated on every other scan of a drive, tested on the others: random weights would say nothing about labels."""
    if not os.environ.get("RELIDAR_BUNDLE"):
        pytest.skip("RELIDAR_BUNDLE does not name the bundle of a trained student")
    bundle = open_bundle(Path(os.environ["RELIDAR_BUNDLE"]))
    inputs = []
    for path in sorted((relidar_data / "nuscenes-lidarseg-range").glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            points = arrays["points"].astype(np.float32)
        voxels = voxelise(points[:, :3], points[:, 3], bundle.manifest.preprocessing)
        inputs.append((voxels.features, build_rulebook(voxels.coordinates, bundle.manifest.student.levels)))
    program = calibrated(load_program(bundle.path / CPU_PROGRAM), inputs[::2])
    share = label_agreement(program, inputs[1::2], bundle.words(), threads)
    detail = (
        f"{bundle.manifest.student.architecture}, labels of {len(inputs) // 2} scans that int8 leaves as they are, peer is fp32"
    )
    assert record("int8_labels", 100.0, 100 * share, detail, unit="%", wanted=0.99) >= 0.99

"""The student in int8 against spconv, which has none on the CPU, and the labels that it keeps."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from distill.scan_folder import list_scans, read_scan
from distill.street import lidar, seeds
from distill.street.layout import random_city
from distill.street.rig import read_rig
from export.quantise import calibrated, inputs, label_agreement
from relidar.bundle import CPU_PROGRAM, open_bundle
from relidar.program import Program
from relidar.program_file import load_program
from relidar.voxels import Preprocessing, Voxels, voxelise
from tests.benchmarks.student_runs import against_spconv, indexed

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]
RIG = Path(__file__).parents[2] / "configs/rigs/nuscenes_like.yaml"
CITIES, SCANS_OF_A_CITY = 50, 6
"""Of the simulated street, to calibrate on."""


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
    scans = [indexed(points, spec, program, threads) for points in real_scans.values()]
    program = calibrated(program, [(voxels.features, rulebook) for voxels, rulebook in scans])
    totals, listed = against_spconv(alternate, spconv_student, real_scans, spec, program, threads, "int8")
    detail = f"minkunet34 in int8, points to features of 512, voxels of 0.1 m, against spconv in fp32: {listed}"
    assert record("student34_int8", *totals, detail, wanted=2.0) >= 2.0


def test_labels_of_a_trained_student_on_real_scans(relidar_data: Path, threads: int, record_share: Callable) -> None:
    """Calibrated on the simulated street, tested on a real drive: random weights would say nothing about labels."""
    if not os.environ.get("RELIDAR_BUNDLE"):
        pytest.skip("RELIDAR_BUNDLE does not name the bundle of a trained student")
    bundle = open_bundle(Path(os.environ["RELIDAR_BUNDLE"]))
    manifest, program = bundle.manifest, load_program(bundle.path / CPU_PROGRAM)
    int8 = calibrated(program, inputs(_street(manifest.preprocessing), manifest.student.levels))
    scans = [read_scan(path) for path in list_scans(relidar_data / "nuscenes-lidarseg-range")]
    real = [voxelise(scan.xyz_m, scan.intensity, manifest.preprocessing) for scan in scans]
    share = label_agreement(program, int8, inputs(real, manifest.student.levels), bundle.words(), threads)
    detail = (
        f"{manifest.student.architecture}, labels of {len(real)} real scans of nuScenes that int8 leaves as they are, calibrated "
        f"on {CITIES * SCANS_OF_A_CITY} scans of the simulated street; ours is int8, peer fp32"
    )
    assert record_share("int8_labels", share, detail, wanted=0.99) >= 0.99


def _street(spec: Preprocessing) -> Iterator[Voxels]:
    """At 2 Hz, of cities that no demo trains on."""
    sensor = read_rig(RIG).lidar
    for index in range(CITIES):
        city = random_city(seeds.generator(1, seeds.TRAIN, index), SCANS_OF_A_CITY / 2)
        for scan in range(SCANS_OF_A_CITY):
            world_from_lidar = city.world_from_ego(scan / 2) @ sensor.ego_from_lidar()
            noise = seeds.generator(1, seeds.TRAIN, index, 1 + scan)
            points, _, _ = lidar.scan(city.caster(scan / 2), city.look, sensor, world_from_lidar, noise)
            yield voxelise(points[:, :3], points[:, 3], spec)

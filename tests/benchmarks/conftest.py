"""What the benchmarks share: things are measured side by side in one run, and results/bench.json keeps the ratios.

A record is {name, ours, peer, ratio, unit, detail, commit, command} with ratio = peer / ours, so a bigger one is better; for a
share of something it is ours / peer. Where a growth must stay below a bound the ratio is the fitted exponent itself: smaller is
better. `wanted` and `reached` say what is asked for and whether it is so.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from distill.provenance import commit
from distill.student import Student, StudentConfig
from export.program import lower
from relidar.atomic import write_text
from relidar.compiled.kernel import LANES
from relidar.program import Program
from relidar.row_parts import cores
from relidar.voxels import CartesianGrid, Preprocessing, voxelise

RESULTS = Path(__file__).parents[2] / "results/bench.json"
RUNS = 9
SPEC = Preprocessing(grid=CartesianGrid(voxel_size_m=0.1))

Points = NDArray[np.float32]
"""(N, 4) x, y, z in metres and intensity, 0 to 255."""


@pytest.fixture(scope="session")
def alternate() -> Callable[..., tuple[float, float]]:
    """alternate(ours, peer, runs=9): median milliseconds of both, run in turn, so that the machine's moods hit both alike."""
    return _alternate


@pytest.fixture(scope="session")
def record() -> Callable[..., float]:
    """record(name, ours, peer, detail, unit="ms", wanted=None): adds a record to results/bench.json and returns peer / ours."""
    return _record


@pytest.fixture(scope="session")
def record_growth() -> Callable[..., float]:
    """record_growth(name, ours, peer, detail, wanted): the same for fitted exponents, `wanted` at most; returns ours."""
    return _record_growth


@pytest.fixture(scope="session")
def record_share() -> Callable[..., float]:
    """record_share(name, share, detail, wanted): the same for a share of what the peer does, at least `wanted`; returns it."""
    return _record_share


@pytest.fixture
def threads() -> Iterator[int]:
    """As many threads as cores, for PyTorch and spconv too, which tests otherwise keep to one."""
    before = torch.get_num_threads()
    torch.set_num_threads(cores())
    yield cores()
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def real_scans(relidar_data: Path) -> dict[str, Points]:
    """The nuScenes keyframe and two denser clouds of another sensor: the points in range, since the peer's range is a box."""
    (keyframe,) = (relidar_data / "nuscenes-one/samples/LIDAR_TOP").glob("*.pcd.bin")
    scans = {"nuScenes": np.fromfile(keyframe, np.float32).reshape(-1, 5)[:, :4]}
    for name in ("scene-a", "scene-b"):
        with np.load(relidar_data / "opencalib" / name / "cloud.npz", allow_pickle=False) as arrays:
            scans[name] = arrays["points"].astype(np.float32)
    inside = {name: voxelise(points[:, :3], None, SPEC).voxel_of_point >= 0 for name, points in scans.items()}
    return {name: np.ascontiguousarray(points[inside[name]]) for name, points in scans.items()}


@pytest.fixture(scope="session")
def made_up_scan() -> Callable[[int], Points]:
    """made_up_scan(points): ground and walls 10 to 60 m away, seen by as many beams and at as many angles as that takes."""
    return _made_up_scan


@pytest.fixture(scope="session")
def spconv_student() -> ModuleType:
    """spconv and the student that we build with it; skips where spconv is not installed."""
    from tests.benchmarks import spconv_student

    return spconv_student


@pytest.fixture(scope="session")
def spec() -> Preprocessing:
    """The grid of all comparisons: cubes of 0.1 m, which spconv's voxeliser has too."""
    return SPEC


@pytest.fixture(scope="session")
def program_of() -> Callable[..., Program]:
    """program_of(architecture, feature_width=512): the steps of a student of full width with random weights."""
    return _program_of


def _alternate(ours: Callable[[], object], peer: Callable[[], object], runs: int = RUNS) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs + 1):
        for function, kept in zip((ours, peer), times, strict=True):
            start = time.perf_counter()
            function()
            kept.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[0][1:]), statistics.median(times[1][1:])


def _record(name: str, ours: float, peer: float, detail: str, unit: str = "ms", wanted: float | None = None) -> float:
    ratio = peer / ours
    asked = {} if wanted is None else {"wanted": f">= {wanted}", "reached": ratio >= wanted}
    _write({"name": name, "ours": round(ours, 3), "peer": round(peer, 3), "ratio": round(ratio, 3), "unit": unit} | asked, detail)
    print(f"\n{name}: ours {ours:.1f} {unit}, peer {peer:.1f} {unit}, ratio {ratio:.2f} ({detail})")
    return ratio


def _record_growth(name: str, ours: float, peer: float, detail: str, wanted: float) -> float:
    entry = {"name": name, "ours": round(ours, 3), "peer": round(peer, 3), "ratio": round(ours, 3), "unit": "exponent"}
    _write(entry | {"wanted": f"<= {wanted}", "reached": ours <= wanted}, detail)
    print(f"\n{name}: exponent {ours:.2f}, peer {peer:.2f} ({detail})")
    return ours


def _record_share(name: str, share: float, detail: str, wanted: float) -> float:
    entry = {"name": name, "ours": round(100 * share, 3), "peer": 100.0, "ratio": round(share, 5), "unit": "%"}
    _write(entry | {"wanted": f">= {wanted}", "reached": share >= wanted}, detail)
    print(f"\n{name}: {share:.3%} of the peer's ({detail})")
    return share


def _write(entry: dict[str, Any], detail: str) -> None:
    records = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    entry |= {"commit": commit(), "command": "make bench"}
    entry["detail"] = f"{detail}; {torch.get_num_threads()} threads, {platform.machine()}, vectors of {32 * LANES} bits"
    kept = [other for other in records if other["name"] != entry["name"]]
    write_text(RESULTS, json.dumps(sorted([*kept, entry], key=lambda r: r["name"]), indent=2) + "\n")


def _made_up_scan(points: int) -> Points:
    beams = round(32 * (points / 34_720) ** 0.5)
    angles = round(points / beams)
    azimuth, ring = np.meshgrid(np.linspace(-np.pi, np.pi, angles, endpoint=False), np.radians(np.linspace(-30.67, 10.67, beams)))
    wall_m = 35 + 25 * np.sin(3 * azimuth)
    ground_m = np.where(ring < -0.02, 1.84 / np.tan(np.maximum(-ring, 0.02)), np.inf)
    distance_m = np.minimum(wall_m, ground_m) + np.random.default_rng(0).normal(0, 0.02, wall_m.shape)
    xyz_m = [distance_m * np.cos(azimuth), distance_m * np.sin(azimuth), distance_m * np.tan(ring)]
    scan = np.stack([*xyz_m, np.full_like(azimuth, 100)], axis=-1).reshape(-1, 4)
    return np.ascontiguousarray(scan, np.float32)


def _program_of(architecture: str, feature_width: int = 512) -> Program:
    torch.manual_seed(0)
    student = Student(StudentConfig.model_validate({"architecture": architecture}), in_channels=1, feature_width=feature_width)
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.bias, std=0.2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return lower(student.eval())

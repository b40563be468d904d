"""From the bytes of a cloud to all tables of the network, against spconv's voxeliser and pair searches for the same network."""

import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch

from relidar.pointcloud2 import CloudField, CloudLayout, decode
from relidar.rulebook import Rulebook, build_rulebook
from relidar.voxels import Preprocessing, voxelise

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]
LEVELS = 5
POINTS = (10_000, 30_000, 100_000, 300_000)
FIELDS = tuple(CloudField(name, 4 * index, 7) for index, name in enumerate(("x", "y", "z", "intensity")))
PEAK_KIB = """
import sys
from pathlib import Path
import numpy as np
from relidar.rulebook import build_rulebook
from relidar.voxels import CartesianGrid, Preprocessing, voxelise
def index(points):
    spec = Preprocessing(grid=CartesianGrid(voxel_size_m=0.1))
    rulebook = build_rulebook(voxelise(points[:, :3], points[:, 3], spec).coordinates, 5)
    return rulebook, rulebook.pairs
def kib(name):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
points = np.load(sys.argv[1])
index(points[:100])
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: compiling took more than the scan will
before = kib("VmRSS")
kept = index(points)
print(kib("VmHWM") - before)
"""


def ours(points: np.ndarray, spec: Preprocessing, threads: int) -> Callable[[], Rulebook]:
    """Decodes, voxelises, builds all tables and lists their pairs."""
    layout, data = CloudLayout(1, len(points), FIELDS, 16, 16 * len(points)), points.tobytes()

    def run() -> Rulebook:
        cloud = decode(layout, data)
        rulebook = build_rulebook(voxelise(cloud.xyz_m, cloud.intensity, spec, threads).coordinates, LEVELS, threads=threads)
        assert rulebook.pairs
        return rulebook

    return run


def theirs(points: np.ndarray, spec: Preprocessing, spconv_student: ModuleType) -> Callable[[], object]:
    """The same from an array of points."""
    voxeliser = spconv_student.SpconvVoxeliser(spec, LEVELS, len(points))
    return lambda: spconv_student.search_pairs(LEVELS, voxeliser.cells(torch.from_numpy(points)), voxeliser.shape)


def test_against_spconv(
    real_scans: dict[str, np.ndarray],
    spec: Preprocessing,
    spconv_student: ModuleType,
    threads: int,
    alternate: Callable,
    record: Callable,
) -> None:
    times = {n: alternate(ours(points, spec, threads), theirs(points, spec, spconv_student)) for n, points in real_scans.items()}
    listed = ", ".join(f"{n} {mine:.1f} against {peer:.1f} ms" for n, (mine, peer) in times.items())
    detail = f"decode, voxels of 0.1 m, tables and pairs of 5 levels, against spconv's voxeliser and pair searches: {listed}"
    totals = (sum(mine for mine, _ in times.values()), sum(peer for _, peer in times.values()))
    assert record("indexing", *totals, detail, wanted=4.0) >= 4.0


def test_growth(
    made_up_scan: Callable,
    spec: Preprocessing,
    spconv_student: ModuleType,
    threads: int,
    alternate: Callable,
    record_growth: Callable,
) -> None:
    scans = [made_up_scan(points) for points in POINTS]
    times = [alternate(ours(scan, spec, threads), theirs(scan, spec, spconv_student)) for scan in scans]
    counts = [len(scan) for scan in scans]
    exponents = np.polyfit(np.log(counts), np.log(times), 1)[0]
    voxels = [ours(scan, spec, threads)().voxels[0] for scan in scans]
    detail = f"time over points, {counts} points, {voxels} voxels, ms against spconv: {np.round(times, 1).tolist()}"
    assert record_growth("indexing_growth", *exponents.tolist(), detail, wanted=1.1) <= 1.1


def test_memory_growth(made_up_scan: Callable, tmp_path, record_growth: Callable) -> None:  # type: ignore[no-untyped-def]
    counts, peaks = [], []
    for points in POINTS[1:]:
        scan = made_up_scan(points)
        np.save(tmp_path / "scan.npy", scan)
        command = [sys.executable, "-c", PEAK_KIB, tmp_path / "scan.npy"]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        counts.append(len(scan))
        peaks.append(int(done.stdout))
    exponent = float(np.polyfit(np.log(counts), np.log(peaks), 1)[0])
    detail = f"what indexing adds to the peak memory of a process of its own, {counts} points, {peaks} KiB; peer is linear"
    assert record_growth("indexing_memory_growth", exponent, 1.0, detail, wanted=1.1) <= 1.1


def test_the_second_core(
    real_scans: dict[str, np.ndarray], spec: Preprocessing, threads: int, alternate: Callable, record: Callable
) -> None:
    if threads < 2:
        pytest.skip("one core")
    times = {name: alternate(ours(points, spec, threads), ours(points, spec, 1)) for name, points in real_scans.items()}
    listed = ", ".join(f"{name} {many:.1f} against {one:.1f} ms" for name, (many, one) in times.items())
    totals = (sum(many for many, _ in times.values()), sum(one for _, one in times.values()))
    assert record("indexing_threads", *totals, f"all cores against one thread: {listed}", wanted=1.2) > 1.2

"""From a scan's points to unit features: our CPU executor against spconv with the same weights, and against its products."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from export.needed_work import gflop
from export.this_machine import matmul_peak_gflops
from relidar.compiled.program import CompiledProgram
from relidar.program import Program
from relidar.voxels import Preprocessing
from relidar.words import Words
from tests.benchmarks.student_runs import RUNS, against_spconv, indexed, milliseconds, ours, theirs

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]
POINTS = (10_000, 30_000, 100_000, 300_000)
PROMPTS = 1000


@pytest.mark.parametrize("size", ["18", "34"])
def test_against_spconv(
    size: str,
    real_scans: dict[str, np.ndarray],
    spec: Preprocessing,
    program_of: Callable[..., Program],
    spconv_student: ModuleType,
    threads: int,
    alternate: Callable,
    record: Callable,
) -> None:
    program = program_of(f"minkunet{size}")
    totals, listed = against_spconv(alternate, spconv_student, real_scans, spec, program, threads)
    torch.set_num_threads(1)
    keyframe = real_scans["nuScenes"]
    alone = alternate(ours(keyframe, spec, program, 1), theirs(spconv_student, keyframe, spec, program), RUNS)
    torch.set_num_threads(threads)
    listed += f"; on one thread, where spconv's sums do not race, nuScenes {alone[0]:.0f} against {alone[1]:.0f} ms"
    detail = f"minkunet{size}, points to features of 512, voxels of 0.1 m, against spconv with the same weights: {listed}"
    assert record(f"student{size}", *totals, detail, wanted=1.3) >= 1.3


def test_against_its_matrix_products(
    made_up_scan: Callable, spec: Preprocessing, program_of: Callable[..., Program], threads: int, record: Callable
) -> None:
    """The floor is the time that the products of the occupied pairs take at the peak that this machine's matmul reaches."""
    points = made_up_scan(34_720)
    totals, listed = np.zeros(2), []
    for name in ("minkunet18", "minkunet34"):
        program = program_of(name)
        run = ours(points, spec, program, threads)
        voxels, rulebook = indexed(points, spec, program, threads)
        needed = gflop(program, rulebook)
        times, peaks = [], []
        for _ in range(RUNS + 1):
            peaks.append(max(matmul_peak_gflops(1), torch_peak_gflops()))
            times.append(milliseconds(run))
        ms, floor_ms = float(np.median(times[1:])), 1e3 * needed / float(np.median(peaks[1:]))
        totals += ms, floor_ms
        listed.append(f"{name} {needed:.1f} GFLOP at {np.median(peaks[1:]):.0f} GFLOP/s {floor_ms:.0f} ms, ours {ms:.0f} ms")
    scan = f"{len(points)} points, {len(voxels.coordinates)} voxels"
    detail = f"points to features of 512, {scan}, against the floor: {', '.join(listed)}"
    assert record("student_floor", *totals.tolist(), detail, wanted=0.85) >= 0.85


def test_growth(
    made_up_scan: Callable,
    spec: Preprocessing,
    program_of: Callable[..., Program],
    spconv_student: ModuleType,
    threads: int,
    alternate: Callable,
    record_growth: Callable,
) -> None:
    program = program_of("minkunet18")
    scans = [made_up_scan(points) for points in POINTS]
    times = [
        alternate(
            ours(scan, spec, program, threads), theirs(spconv_student, scan, spec, program), 3 if len(scan) > 50_000 else RUNS
        )
        for scan in scans
    ]
    counts = [len(scan) for scan in scans]
    needed = [round(gflop(program, indexed(scan, spec, program, threads)[1]), 1) for scan in scans]
    exponents = np.polyfit(np.log(counts), np.log(times), 1)[0]
    detail = f"minkunet18, points to features, {counts} points, {needed} GFLOP, ms against spconv: {np.round(times).tolist()}"
    assert record_growth("student_growth", *exponents.tolist(), detail, wanted=1.1) <= 1.1


def test_a_thousand_prompts_add_a_fifth_at_most(
    real_scans: dict[str, np.ndarray],
    relidar_data: Path,
    spec: Preprocessing,
    program_of: Callable[..., Program],
    threads: int,
    alternate: Callable,
    record: Callable,
) -> None:
    with np.load(relidar_data / "clip-text/lvis_clip_text.npz", allow_pickle=False) as arrays:
        rows = arrays["embeddings"][:PROMPTS].astype(np.float32)
    text = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    words = Words(text, np.arange(PROMPTS), np.empty((0, text.shape[1]), np.float32))
    program = program_of("minkunet18", text.shape[1])
    executor = CompiledProgram(program, threads)
    points = real_scans["nuScenes"]

    def scored() -> object:
        voxels, rulebook = indexed(points, spec, program, threads)
        return executor.scores(voxels.features, rulebook, words)

    with_words, without = alternate(scored, ours(points, spec, program, threads), RUNS)
    detail = (
        f"minkunet18, points to scores against {PROMPTS} prompts, {with_words:.0f} ms, and to features, {without:.0f} ms; "
        "peer is what it may take, 1.2 times the latter"
    )
    assert record("prompts_1000", with_words, 1.2 * without, detail, wanted=1.0) >= 1.0


def torch_peak_gflops() -> float:
    """As matmul_peak_gflops, of PyTorch's product."""
    square = torch.ones(2048, 2048)
    return 2 * 2048**3 / milliseconds(lambda: square @ square) / 1e6

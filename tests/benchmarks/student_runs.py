"""A student from the points of a scan to its features, in our executor and in spconv: what the benchmarks time."""

import time
from collections.abc import Callable, Mapping
from types import ModuleType

import numpy as np
import torch

from relidar.bundle import Precision
from relidar.compiled.program import CompiledProgram
from relidar.program import Program
from relidar.rulebook import Rulebook, build_rulebook
from relidar.voxels import Preprocessing, Voxels, voxelise

RUNS = 7


def indexed(points: np.ndarray, spec: Preprocessing, program: Program, threads: int) -> tuple[Voxels, Rulebook]:
    """The student's input."""
    voxels = voxelise(points[:, :3], points[:, 3], spec, threads)
    return voxels, build_rulebook(voxels.coordinates, program.levels, threads=threads)


def ours(
    points: np.ndarray, spec: Preprocessing, program: Program, threads: int, precision: Precision = "fp32"
) -> Callable[[], np.ndarray]:
    """Voxels, tables, network."""
    executor = CompiledProgram(program, threads, precision)

    def run() -> np.ndarray:
        voxels, rulebook = indexed(points, spec, program, threads)
        return executor(voxels.features, rulebook)

    return run


def theirs(spconv_student: ModuleType, points: np.ndarray, spec: Preprocessing, program: Program) -> Callable[[], torch.Tensor]:
    """spconv's voxels, its pair searches and its convolutions."""
    voxeliser = spconv_student.SpconvVoxeliser(spec, program.levels, len(points))
    student = spconv_student.SpconvStudent(program, voxeliser.shape)

    def run() -> torch.Tensor:
        means, indices = voxeliser(torch.from_numpy(points))
        return student((means[:, 3:] / spec.intensity_max).contiguous(), indices)

    return run


def against_spconv(
    alternate: Callable[..., tuple[float, float]],
    spconv_student: ModuleType,
    scans: Mapping[str, np.ndarray],
    spec: Preprocessing,
    program: Program,
    threads: int,
    precision: Precision = "fp32",
) -> tuple[tuple[float, float], str]:
    """Milliseconds of all scans together, ours and theirs, and those of each scan in words."""
    times = {
        name: alternate(ours(points, spec, program, threads, precision), theirs(spconv_student, points, spec, program), RUNS)
        for name, points in scans.items()
    }
    listed = ", ".join(f"{name} {mine:.0f} against {peer:.0f} ms" for name, (mine, peer) in times.items())
    return (sum(mine for mine, _ in times.values()), sum(peer for _, peer in times.values())), listed


def milliseconds(run: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)

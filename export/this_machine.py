"""What a measured time is judged by: the machine, how fast it multiplies, and how much memory this process holds."""

import os
import platform
import time
from pathlib import Path

import numpy as np

from relidar.row_parts import cores

PEAK_ROWS = 2048
"""Of the square matrices whose product measures the peak: 17 GFLOP, 16 MB each."""


def device() -> dict[str, str | int]:
    """Processor and system, to stand beside figures."""
    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    system = {"machine": platform.machine(), "system": platform.system(), "python": platform.python_version()}
    return {"cpu": cpu, "cores": cores(), **system}


def matmul_peak_gflops(repetitions: int = 5) -> float:
    """10^9 operations a second of NumPy's float32 matrix product, the best of a few, on all threads that its BLAS uses."""
    left = np.random.default_rng(0).random((PEAK_ROWS, PEAK_ROWS), np.float32)
    right = np.ascontiguousarray(left.T)
    product = left @ right
    best_s = np.inf
    for _ in range(repetitions):
        start = time.perf_counter()
        np.matmul(left, right, out=product)
        best_s = min(best_s, time.perf_counter() - start)
    return float(2 * PEAK_ROWS**3 / best_s / 1e9)


def resident_mib() -> float | None:
    """Memory of this process that lies in RAM; None where the system does not tell."""
    statistics = Path("/proc/self/statm")
    if not statistics.is_file():
        return None
    return round(int(statistics.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)

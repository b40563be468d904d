"""Speed, as ratios of things measured side by side in one run; `make bench` writes them to results/bench.json.

A record is {name, ours, peer, ratio, unit, detail, commit, command} with ratio = peer / ours, so a bigger one is better.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.provenance import commit
from distill.sparse_conv import SparseConvolution, pair_tables
from relidar.atomic import write_text
from relidar.rulebook import build_rulebook
from relidar.voxels import CartesianGrid, Preprocessing, voxelise

pytestmark = pytest.mark.bench
RESULTS = Path(__file__).parents[2] / "results/bench.json"
RUNS = 9


@pytest.fixture(scope="module")
def cells() -> np.ndarray:
    """Voxels of a made-up scan: ground, walls and boxes as 32 beams see them."""
    azimuth, ring = np.meshgrid(np.linspace(-np.pi, np.pi, 1085), np.radians(np.linspace(-30.67, 10.67, 32)))
    wall_m = 12 + 8 * np.abs(np.sin(3 * azimuth))
    ground_m = np.where(ring < -0.02, 1.84 / np.tan(np.maximum(-ring, 0.02)), np.inf)
    distance_m = np.minimum(wall_m, ground_m)
    xyz_m = np.stack([distance_m * np.cos(azimuth), distance_m * np.sin(azimuth), distance_m * np.tan(ring)], axis=-1)
    spec = Preprocessing(grid=CartesianGrid(voxel_size_m=0.1), features=("one",))
    return voxelise(xyz_m.reshape(-1, 3).astype(np.float32), None, spec).coordinates


def alternate(ours: Callable[[], object], peer: Callable[[], object]) -> tuple[float, float]:
    """Median milliseconds of both, run in turn, so that the machine's moods hit both alike."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(RUNS + 1):
        for function, kept in zip((ours, peer), times, strict=True):
            start = time.perf_counter()
            function()
            kept.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[0][1:]), statistics.median(times[1][1:])


def record(name: str, ours: float, peer: float, detail: str) -> float:
    """Adds a record to results/bench.json, replacing an older one of that name, and prints it."""
    records = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    entry: dict[str, object] = {"name": name, "ours": round(ours, 3), "peer": round(peer, 3)}
    entry |= {"ratio": round(peer / ours, 3), "unit": "ms"}
    entry |= {"commit": commit(), "command": "make bench"}
    entry["detail"] = f"{detail}; median of {RUNS} alternating runs, {torch.get_num_threads()} threads, {platform.machine()}"
    kept = [other for other in records if other["name"] != name]
    write_text(RESULTS, json.dumps(sorted([*kept, entry], key=lambda r: r["name"]), indent=2) + "\n")
    print(f"\n{name}: ours {ours:.1f} ms, peer {peer:.1f} ms, ratio {peer / ours:.2f} ({detail})")
    return peer / ours


def test_convolution_against_its_matrix_products(cells: np.ndarray) -> None:
    """Forward and backward of a 96 -> 96 convolution, against nothing but the products that it consists of."""
    table = pair_tables(build_rulebook(cells, 1))["submanifold_0"]
    x = torch.randn(table.inputs, 96, requires_grad=True)
    weight = torch.randn(27, 96, 96, requires_grad=True)
    gradient = torch.randn(table.outputs, 96)
    gathered = [torch.randn(end - start, 96) for start, end in zip(table.splits, table.splits[1:], strict=False)]

    def ours() -> None:
        torch.autograd.grad(SparseConvolution.apply(x, weight, table), (x, weight), gradient)

    def products() -> None:
        with torch.no_grad():
            for rows, w in zip(gathered, weight, strict=True):
                y = rows @ w
                y @ w.T
                rows.T @ y

    assert record("conv_floor", *alternate(ours, products), f"96 -> 96, {table.outputs} voxels, forward and backward") > 0.3

"""What the benchmarks share: things are measured side by side in one run, and results/bench.json keeps the ratios.

A record is {name, ours, peer, ratio, unit, detail, commit, command} with ratio = peer / ours, so a bigger one is better.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from distill.provenance import commit
from relidar.atomic import write_text

RESULTS = Path(__file__).parents[2] / "results/bench.json"
RUNS = 9


@pytest.fixture(scope="session")
def alternate() -> Callable[..., tuple[float, float]]:
    """alternate(ours, peer, runs=9): median milliseconds of both, run in turn, so that the machine's moods hit both alike."""
    return _alternate


@pytest.fixture(scope="session")
def record() -> Callable[..., float]:
    """record(name, ours, peer, detail, unit="ms"): adds a record to results/bench.json, prints it, returns peer / ours."""
    return _record


def _alternate(ours: Callable[[], object], peer: Callable[[], object], runs: int = RUNS) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs + 1):
        for function, kept in zip((ours, peer), times, strict=True):
            start = time.perf_counter()
            function()
            kept.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[0][1:]), statistics.median(times[1][1:])


def _record(name: str, ours: float, peer: float, detail: str, unit: str = "ms") -> float:
    records = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    entry: dict[str, object] = {"name": name, "ours": round(ours, 3), "peer": round(peer, 3)}
    entry |= {"ratio": round(peer / ours, 3), "unit": unit}
    entry |= {"commit": commit(), "command": "make bench"}
    entry["detail"] = f"{detail}; {torch.get_num_threads()} threads, {platform.machine()}"
    kept = [other for other in records if other["name"] != name]
    write_text(RESULTS, json.dumps(sorted([*kept, entry], key=lambda r: r["name"]), indent=2) + "\n")
    print(f"\n{name}: ours {ours:.1f} {unit}, peer {peer:.1f} {unit}, ratio {peer / ours:.2f} ({detail})")
    return peer / ours

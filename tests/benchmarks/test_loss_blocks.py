"""The blocked relational loss against its naive form and InfoNCE; `make bench` writes the ratios to results/bench.json."""

import json
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from distill.losses import contrastive, relational

pytestmark = pytest.mark.bench
D = 512
ROWS = (1024, 2048, 4096, 8192, 16384)
PEAK_MIB = """
import json, sys, torch
from distill.losses import contrastive, relational
def naive(k, q):
    n = len(k)
    c, d = (k @ q.T - q @ q.T).abs(), (k @ k.T - q @ q.T).abs()
    diagonal = c.diagonal().sum()
    return diagonal / n + (c.sum() - diagonal) / (n * (n - 1)) + (d.sum() - d.diagonal().sum()) / (n * (n - 1))
def step(loss, n):
    k = torch.nn.functional.normalize(torch.randn(n, 512), dim=1).requires_grad_()
    q = torch.nn.functional.normalize(torch.randn(n, 512), dim=1)
    torch.autograd.grad(loss(k, q), k)
blocked, infonce = lambda k, q: relational(k, q, 1.0), lambda k, q: contrastive(k, q, 0.07)
loss = {"blocked": blocked, "naive": naive, "infonce": infonce}[sys.argv[1]]
step(loss, 64)
def resident_kib(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts anew; ru_maxrss would still be that of the process that started this one
before = resident_kib("VmRSS")
step(loss, int(sys.argv[2]))
print(json.dumps((resident_kib("VmHWM") - before) / 1024))
"""


def naive(k: Tensor, q: Tensor) -> Tensor:
    """The equations as they stand, with whole matrices."""
    n = len(k)
    c, d = (k @ q.T - q @ q.T).abs(), (k @ k.T - q @ q.T).abs()
    diagonal = c.diagonal().sum()
    return diagonal / n + (c.sum() - diagonal) / (n * (n - 1)) + (d.sum() - d.diagonal().sum()) / (n * (n - 1))


def step(loss: Callable[[Tensor, Tensor], Tensor], n: int) -> Callable[[], object]:
    """Forward and backward of `loss` on n rows."""
    generator = torch.Generator().manual_seed(0)
    k, q = (torch.nn.functional.normalize(torch.randn(n, D, generator=generator), dim=1) for _ in range(2))
    k.requires_grad_()
    return lambda: torch.autograd.grad(loss(k, q), k)


def blocked(k: Tensor, q: Tensor) -> Tensor:
    """The loss that training uses."""
    return relational(k, q, 1.0)


def peak_mib(kind: str, n: int) -> float:
    """What a step adds to the peak memory of a process of its own."""
    done = subprocess.run([sys.executable, "-c", PEAK_MIB, kind, str(n)], capture_output=True, check=True, text=True)
    return float(json.loads(done.stdout))


def test_memory_at_8192_rows(record) -> None:  # type: ignore[no-untyped-def]
    ours, peer = peak_mib("blocked", 8192), peak_mib("naive", 8192)
    detail = f"peak memory of a step, D = {D}, against whole matrices"
    assert record("loss_memory_8192", ours, peer, detail, unit="MiB", wanted=6.7) >= 6.7


def test_time_at_8192_rows(record, alternate) -> None:  # type: ignore[no-untyped-def]
    ours, peer = alternate(step(blocked, 8192), step(naive, 8192))
    assert record("loss_time_8192", ours, peer, f"forward and backward, D = {D}, against whole matrices", wanted=1.0) >= 1.0


def test_a_step_at_4096_rows_against_infonce(record, alternate) -> None:  # type: ignore[no-untyped-def]
    ours, peer = alternate(step(blocked, 4096), step(lambda k, q: contrastive(k, q, 0.07), 4096))
    assert record("loss_step_4096", ours, peer, f"forward and backward, D = {D}, against InfoNCE", wanted=0.6) >= 0.6


def exponent(values: list[float]) -> float:
    """Of values at ROWS."""
    return float(np.polyfit(np.log(ROWS), np.log(values), 1)[0])


def test_growth_of_time(record, alternate) -> None:  # type: ignore[no-untyped-def]
    def infonce(k: Tensor, q: Tensor) -> Tensor:
        return contrastive(k, q, 0.07)

    pairs = [alternate(step(blocked, n), step(infonce, n), runs=1 if n > 4096 else 3) for n in ROWS]
    ours, peer = ([round(times[side], 1) for times in pairs] for side in (0, 1))
    detail = f"fitted exponent of time over rows, {ROWS[0]} to {ROWS[-1]}; peer is InfoNCE; ms: ours {ours}, peer {peer}"
    # Both take products of all pairs of rows. Where the time of one grows faster, it does more than that.
    assert record("loss_growth", exponent(ours), exponent(peer), detail, unit="exponent", wanted=0.9) >= 0.9


def test_growth_of_memory(record) -> None:  # type: ignore[no-untyped-def]
    ours, peer = ([round(peak_mib(kind, n), 1) for n in ROWS] for kind in ("blocked", "infonce"))
    detail = f"fitted exponent of peak memory over rows, {ROWS[0]} to {ROWS[-1]}; peer is InfoNCE; MiB: ours {ours}, peer {peer}"
    # Blocks of a fixed size leave what grows with the rows; InfoNCE holds matrices of all pairs.
    assert record("loss_memory_growth", exponent(ours), exponent(peer), detail, unit="exponent", wanted=1.5) >= 1.5

"""What a bench measures and writes down, with a tiny bundle."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from distill.checkpoint import StudentCheckpoint
from export.assemble import RawScan
from export.bench import STAGES, measure, table
from export.bench_picture import Bar, picture
from export.needed_work import gflop
from export.program import lower
from export.this_machine import device, matmul_peak_gflops, resident_mib
from relidar.bundle import Bundle, open_bundle
from relidar.errors import BackendError, CloudError
from relidar.program import Convolution, Linear
from relidar.row_parts import cores
from relidar.rulebook import build_rulebook


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return open_bundle(tiny_bundle)


def test_stages_add_up_and_missing_devices_are_told(bundle: Bundle, random_cloud: Callable[..., RawScan]) -> None:
    scans = {f"scan {seed}": (scan.xyz_m, scan.intensity) for seed in (0, 1) for scan in [random_cloud(3000, seed)]}
    bench = measure(bundle, scans, ("tensorrt-rtx", "onnxruntime-cpu", "compiled-cpu"), runs=3, threads=1)
    missing, *ran = bench.backends
    assert missing.not_run is not None
    assert missing.stages_ms is None
    for result in ran:
        assert result.not_run is None
        assert result.stages_ms is not None
        assert result.total_ms is not None
        assert tuple(result.stages_ms) == STAGES
        assert result.stages_ms["upload"] == {"p50": 0, "p95": 0, "p99": 0}
        assert result.upload == "none: the CPU reads the input where it lies"
        assert result.identity.startswith(result.backend)
        sum_of_medians = sum(stage["p50"] or 0 for stage in result.stages_ms.values())
        assert result.total_ms["p50"] == pytest.approx(sum_of_medians, rel=0.5)
        assert (result.total_ms["p50"] or 0) <= (result.total_ms["p99"] or 0)
        assert result.share_of_peak is not None
        assert 0 < result.share_of_peak < 1
    assert [scan.points for scan in bench.scans] == [3000, 3000]
    assert bench.scans[0].voxels != bench.scans[1].voxels
    assert bench.threads == 1
    text = table(bench)
    assert "1 thread, matmul peak" in text
    assert "not run" in text
    assert "compiled-cpu" in text


def test_a_bench_of_nothing_is_refused(bundle: Bundle, random_cloud: Callable[..., RawScan]) -> None:
    near = random_cloud(100)
    with pytest.raises(CloudError, match="all too near"):
        measure(bundle, {"all too near": (near.xyz_m * np.float32(0.001), near.intensity)}, ("compiled-cpu",), runs=1)
    with pytest.raises(BackendError, match="tensorrt-rtx"):
        measure(bundle, {"scan": (near.xyz_m, near.intensity)}, ("tensorrt-rtx",), runs=1)


def test_the_needed_arithmetic_is_that_of_the_occupied_slots(tiny_checkpoint: StudentCheckpoint) -> None:
    program = lower(tiny_checkpoint.student)
    rulebook = build_rulebook(np.array([[0, 0, 0], [0, 0, 1], [9, 9, 9]], np.int32), program.levels)
    occupied = {name: int((table >= 0).sum()) for name, table in rulebook.tables().items()}
    assert [occupied[f"submanifold_{level}"] for level in range(5)] == [5, 2, 2, 4, 1]  # they touch, part, touch and merge
    total = sum(2 * occupied[s.table] * s.weight[0].size for s in program.steps if isinstance(s, Convolution))
    *projections, head = [step for step in program.steps if isinstance(step, Linear)]
    total += 2 * rulebook.voxels[0] * head.weight.size
    assert gflop(program, rulebook) > total / 1e9
    total += sum(2 * rulebook.voxels[0] * step.weight.size for step in projections)
    assert gflop(program, rulebook) <= total / 1e9


def test_the_machine_is_described() -> None:
    assert device()["cores"] >= 1  # type: ignore[operator]
    assert 0.1 < matmul_peak_gflops(1) < 1e5
    resident = resident_mib()
    assert resident is None or resident > 10


def test_the_picture_is_svg_with_a_bar_for_each_stage() -> None:
    backends = {
        "a <b>": Bar({"infer": 30.0, "upload": 0.0, "encode": 10.0}, 41.5),
        "c": f"no such\ndevice & <no> hope {'x' * 99}",
    }
    text = picture(backends, "1 & 2")
    svg = ElementTree.fromstring(text)  # noqa: S314, it is our own
    names = "{http://www.w3.org/2000/svg}"
    bars = [float(rect.get("width", 0)) for rect in svg.iter(f"{names}rect") if rect.find(f"{names}title") is not None]
    assert bars == [bars[0], pytest.approx(bars[0] / 3, rel=0.01)]
    texts = ["".join(text.itertext()) for text in svg.iter(f"{names}text")]
    assert "41.5" in texts  # what was measured, not the sum of the bars
    assert {"infer", "upload", "encode"} < set(texts)
    (reason,) = [text for text in texts if text.startswith("not run: no such device & <no> hope")]
    assert reason.endswith("x" * 99)


def test_the_command_writes_figures_and_picture(tiny_bundle: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "export.bench",
        tiny_bundle,
        "--backend",
        "compiled-cpu",
        "--backend",
        "tensorrt",
        "--runs",
        "2",
    ]
    done = subprocess.run([*command, "--out", tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "golden scan" in done.stdout
    bench = json.loads((tmp_path / "out/bench.json").read_text())
    assert [result["backend"] for result in bench["backends"]] == ["compiled-cpu", "tensorrt"]
    assert bench["backends"][1]["not_run"]
    assert bench["threads"] == cores()
    assert bench["matmul_peak_gflops"] > 0
    assert ElementTree.parse(tmp_path / "out/bench.svg").getroot().tag.endswith("svg")  # noqa: S314, it is our own


@pytest.mark.parametrize("wrong", [["--runs", "0"], ["--threads", "-1"], ["--backend", "abacus"]])
def test_bad_usage_exits_with_2(tiny_bundle: Path, wrong: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "export.bench", tiny_bundle, *wrong], capture_output=True, text=True)
    assert done.returncode == 2

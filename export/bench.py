"""How long does a bundle take on this machine, and where does the time go?

  python -m export.bench runs/demo/bundle --out runs/bench
  python -m export.bench runs/demo/bundle --scans runs/demo/street/samples/LIDAR_TOP --backend compiled-cpu --runs 50

Every backend labels the same clouds as the node does, from the bytes of a message to those of the answer. The stages are

  decode     bytes to points                       infer   the network, and what each voxel scores
  voxelise   points to voxels and input features   scores  labels, scores and margins of the voxels brought to the points
  rulebook   voxels to neighbour tables            encode  points with label, score and margin to bytes
  upload     input to the device: 0 on the CPU, which reads it where it lies; on a GPU measured by itself and taken off infer

Without --scans the bundle's golden scan is measured. OUT/bench.json and OUT/bench.svg keep the figures: percentiles in
milliseconds, the arithmetic that the occupied pairs need, its share of the matmul peak that NumPy reaches on all cores here, and
memory. The total is that of whole scans, not the sum of the stages' percentiles. A backend that this machine lacks is listed as
not run, with the reason.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from export.bench_picture import Bar, picture
from export.device_upload import DeviceUpload
from export.needed_work import gflop
from export.parity import GOLDEN_SCAN, SCANS_OF_A_SOURCE, Scan, scans_of
from export.scan_arguments import add_scan_arguments, check_scan_arguments
from export.this_machine import device, matmul_peak_gflops, resident_mib
from relidar import command_line
from relidar.atomic import write_text
from relidar.backends import ANY_SIZE, BACKENDS, open_executor
from relidar.bundle import CPU_PROGRAM, Bundle, open_bundle
from relidar.cloud_outputs import segmentation_cloud
from relidar.errors import BackendError, CloudError
from relidar.labelled_cloud import segment_cloud
from relidar.latency import percentiles_ms
from relidar.pointcloud2 import CloudField, CloudLayout
from relidar.program_file import load_program
from relidar.row_parts import cores
from relidar.rulebook import build_rulebook
from relidar.segmenter import Segmenter
from relidar.voxels import voxelise

STAGES = ("decode", "voxelise", "rulebook", "upload", "infer", "scores", "encode")
RUNS = 20
FIELDS = tuple(CloudField(name, 4 * index, 7) for index, name in enumerate(("x", "y", "z", "intensity")))

UPLOAD_TO_CPU = "none: the CPU reads the input where it lies"
UPLOAD_TO_GPU = "measured by itself and taken off infer"

Message = tuple[CloudLayout, bytes]
Percentiles = dict[str, float | None]


@dataclass(frozen=True)
class ScanFacts:
    """What was measured on."""

    name: str
    points: int
    voxels: tuple[int, ...]
    """Of each level."""
    gflop: float | None
    """10^9 operations that the occupied pairs need, with the head, which an executor may fold into the words; None where the
    bundle holds no program."""


@dataclass(frozen=True)
class BackendTimes:
    """One backend on all scans."""

    backend: str
    not_run: str | None = None
    """Why not, or None where it ran."""
    identity: str = ""
    stages_ms: dict[str, Percentiles] | None = None
    """p50, p95 and p99 of each stage."""
    upload: str | None = None
    """What `upload` among the stages is."""
    total_ms: Percentiles | None = None
    gflops: float | None = None
    """10^9 needed operations a second in `infer`, over all scans."""
    share_of_peak: float | None = None
    """The same as a share of the CPU's peak in single precision; None on other devices, in int8, and for "auto"."""
    memory_mib: float | None = None
    """What the process grew by from before the backend was opened until after the scans."""


@dataclass(frozen=True)
class Bench:
    """All that was measured."""

    device: dict[str, str | int]
    threads: int
    """That voxels, tables and backends on the CPU ran on."""
    matmul_peak_gflops: float
    runs: int
    """Of each scan and backend."""
    scans: tuple[ScanFacts, ...]
    backends: tuple[BackendTimes, ...]
    process_memory_mib: float | None
    """Resident at the end."""


def measure(bundle: Bundle, scans: Mapping[str, Scan], backends: Sequence[str], runs: int, threads: int = 0) -> Bench:
    """Measures backends on scans, {name: (points (N, 3), intensity (N,))}.

    Raises:
        CloudError: a scan without a point in range.
        BackendError: no backend runs here.
    """
    threads = threads or cores()
    prepared = [_prepared(bundle, name, *scan) for name, scan in scans.items()]
    peak = matmul_peak_gflops()
    results = tuple(_times(bundle, name, prepared, peak, runs, threads) for name in backends)
    if all(result.not_run for result in results):
        reasons = "\n".join(f"  {result.backend}: {result.not_run}" for result in results)
        raise BackendError(f"{bundle.path}: none of the backends runs here:\n{reasons}")
    return Bench(device(), threads, round(peak, 1), runs, tuple(scan.facts for scan in prepared), results, resident_mib())


@dataclass(frozen=True)
class _Prepared:
    """A scan as a driver sends it, and as the network reads it."""

    facts: ScanFacts
    message: Message
    network_input: tuple[NDArray[Any], ...]


def _times(bundle: Bundle, backend: str, scans: Sequence[_Prepared], peak: float, runs: int, threads: int) -> BackendTimes:
    before_mib = resident_mib()
    try:
        executor = open_executor(bundle, backend, threads)
        segmenter = Segmenter.of_bundle(bundle, executor, threads)
        upload = None if "-cpu" in executor.name else DeviceUpload()
        for scan in scans:  # buffers grow, kernels compile
            _one_scan(segmenter, scan, upload)
        stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
        for _ in tqdm(range(runs), desc=backend, unit="round"):
            for scan in scans:
                for stage, ms in _one_scan(segmenter, scan, upload).items():
                    stages[stage].append(ms)
    except BackendError as error:
        return BackendTimes(backend, str(error))
    after_mib = resident_mib()
    needed = None if scans[0].facts.gflop is None else sum(scan.facts.gflop or 0.0 for scan in scans)
    # A round is as long as its scans together; the middle round counts.
    rate = None if needed is None else 1e3 * needed / float(np.median(np.reshape(stages["infer"], (runs, -1)).sum(axis=1)))
    return BackendTimes(
        backend,
        None,
        f"{executor.name} {executor.identity}".strip(),
        {stage: percentiles_ms(each) for stage, each in stages.items()},
        UPLOAD_TO_CPU if upload is None else UPLOAD_TO_GPU,
        percentiles_ms(np.sum(list(stages.values()), axis=0).tolist()),
        None if rate is None else round(rate, 2),
        None if rate is None or backend not in ANY_SIZE else round(rate / peak, 4),
        None if after_mib is None or before_mib is None else round(after_mib - before_mib, 1),
    )


def _one_scan(segmenter: Segmenter, scan: _Prepared, upload: DeviceUpload | None) -> dict[str, float]:
    cloud, segmentation = segment_cloud(segmenter, *scan.message)
    start = time.perf_counter()
    segmentation_cloud(cloud, segmentation)
    encode_ms = 1e3 * (time.perf_counter() - start)
    upload_ms = 0.0 if upload is None else upload(scan.network_input)
    timings = segmentation.timings_ms
    return timings | {"upload": upload_ms, "infer": max(0.0, timings["infer"] - upload_ms), "encode": encode_ms}


def _prepared(bundle: Bundle, name: str, xyz_m: NDArray[np.float32], intensity: NDArray[np.float32]) -> _Prepared:
    voxels = voxelise(xyz_m, intensity, bundle.manifest.preprocessing)
    if not len(voxels.coordinates):
        raise CloudError(f"{name}: no point in the bundle's range; leave that scan out.")
    rulebook = build_rulebook(voxels.coordinates, bundle.manifest.student.levels)
    needed = None
    if CPU_PROGRAM in bundle.manifest.sha256:
        needed = round(gflop(load_program(bundle.path / CPU_PROGRAM), rulebook), 3)
    points = np.concatenate([xyz_m, intensity[:, None]], axis=1, dtype=np.dtype("<f4"))
    message = CloudLayout(1, len(points), FIELDS, 16, 16 * len(points)), points.tobytes()
    facts = ScanFacts(name, len(xyz_m), rulebook.voxels, needed)
    return _Prepared(facts, message, (voxels.features, *rulebook.tables().values()))


def machine(bench: Bench) -> str:
    """What the figures were measured on, in words."""
    return (
        f"{bench.device['cpu']}, {bench.device['cores']} cores, {bench.threads} {'thread' if bench.threads == 1 else 'threads'}"
    )


def table(bench: Bench) -> str:
    """The figures as text."""
    lines = [f"{machine(bench)}, matmul peak {bench.matmul_peak_gflops:.0f} GFLOP/s"]
    for scan in bench.scans:
        needed = "" if scan.gflop is None else f", {scan.gflop:.1f} GFLOP needed"
        lines.append(f"{scan.name}: {scan.points} points, {scan.voxels[0]} voxels{needed}")
    columns = (*STAGES, "total", "p99", "% of peak", "grew, MiB")
    lines.append(f"{'median, ms':<18}" + "".join(f"{column:>10}" for column in columns))
    for result in bench.backends:
        if result.stages_ms is None or result.total_ms is None:
            lines.append(f"{result.backend:<18}not run: {result.not_run}")
            continue
        cells = [result.stages_ms.get(stage, {}).get("p50") for stage in STAGES]
        cells += [result.total_ms["p50"], result.total_ms["p99"]]
        cells += [None if result.share_of_peak is None else 100 * result.share_of_peak, result.memory_mib]
        lines.append(f"{result.backend:<18}" + "".join(f"{'-' if cell is None else f'{cell:.2f}':>10}" for cell in cells))
    return "\n".join(lines)


def bars_of(result: BackendTimes) -> Bar:
    """The medians of a backend that ran."""
    stages, total = result.stages_ms or {}, result.total_ms or {}
    return Bar({stage: each["p50"] or 0.0 for stage, each in stages.items()}, total.get("p50") or 0.0)


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("bundle", type=Path)
    add_scan_arguments(parser, f"{SCANS_OF_A_SOURCE} of each are taken evenly")
    parser.add_argument(
        "--backend", choices=BACKENDS, action="append", default=[], help="repeatable; all but auto where it is not given"
    )
    runs = "of each scan and backend; default %(default)s"
    parser.add_argument("--runs", type=command_line.at_least(1), default=RUNS, help=runs)
    threads = "for voxels, tables and the backends on the CPU; default one a core"
    parser.add_argument("--threads", type=command_line.at_least(0), default=0, help=threads)
    parser.add_argument("--out", type=Path, help="folder for bench.json and bench.svg")
    arguments = parser.parse_args()
    check_scan_arguments(parser, arguments)
    bundle = open_bundle(arguments.bundle)
    intensity_max = bundle.manifest.preprocessing.intensity_max
    sets = scans_of(arguments.scans, intensity_max, arguments.topic, arguments.intensity_max)
    scans = {f"{source} {number}": scan for source, group in sets.items() for number, scan in enumerate(group)}
    if not scans:
        golden = bundle.golden()
        scans = {GOLDEN_SCAN: (golden.xyz_m, golden.intensity)}
    bench = measure(bundle, scans, arguments.backend or BACKENDS[1:], arguments.runs, arguments.threads)
    command_line.say(table(bench))
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_text(arguments.out / "bench.json", json.dumps(asdict(bench), indent=1) + "\n")
        rows = {result.backend: result.not_run or bars_of(result) for result in bench.backends}
        write_text(arguments.out / "bench.svg", picture(rows, machine(bench)))


if __name__ == "__main__":
    command_line.run(main)

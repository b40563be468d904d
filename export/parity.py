"""Do all forms of a student give the same answer? Compares them on the bundle's golden scan and on scans that are given.

  python -m export.parity runs/demo/bundle --checkpoint runs/demo/train/student.pt --out runs/demo/parity.json
  python -m export.parity runs/demo/bundle --scans runs/demo/street/samples/LIDAR_TOP --scans my_scans

Compared are the features, and the scores and labels of the bundle's classes, which the dense graph computes itself.

The reference is PyTorch running the checkpoint; without --checkpoint it is the golden features that PyTorch left in the bundle,
and the pairs graph on other scans. Only --checkpoint needs PyTorch. The exit code is 1 where in single precision a unit
feature, a score or a margin differs by more than the bundle's tolerance, or where half precision or int8 changes more labels than
each may.

The figures stay in the bundle as parity.json, with the hash of the manifest that they belong to. The manifest does not list them:
they are evidence about the files that it lists, and may be measured anew at any time. Half precision runs through ONNX Runtime on
the CPU here, which computes products in float32 and rounds less often than a GPU does.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from export.agreement import Agreement, Features, agreement, together
from export.scan_arguments import add_scan_arguments, check_scan_arguments
from relidar import command_line
from relidar.atomic import write_text
from relidar.bundle import CPU_INT8_PROGRAM, CPU_PROGRAM, DENSE_FP16_ONNX, MANIFEST, Bundle, Precision, open_bundle, sha256_file
from relidar.compiled.executor import CompiledExecutor
from relidar.errors import BackendError, CloudError
from relidar.executor import FeatureExecutor
from relidar.onnx_executor import DenseExecutor, PairsExecutor
from relidar.rulebook import Rulebook, build_rulebook
from relidar.segmenter import ClassScorer
from relidar.voxels import voxelise
from relidar.words import VoxelScores, Words

REPORT = "parity.json"
SCANS_OF_A_SOURCE = 4
"""Taken evenly: half precision on the CPU takes seconds a scan."""
GOLDEN_SCAN = "golden scan"

Scan = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Points (N, 3) in the sensor frame, metres, and their intensity (N,) in the sensor's unit."""
Reference = Callable[[Features, Rulebook], Features]
Answer = tuple[Features, VoxelScores | None]
"""Unit features, and the scores where the form gives its own."""


@dataclass(frozen=True)
class ScanSet:
    """The comparison on the scans of one bag, dataset or folder."""

    name: str
    reference: str
    scans: int
    voxels: int
    forms: tuple[Agreement, ...]


@dataclass(frozen=True)
class Parity:
    """The comparison of all forms."""

    reference: str
    voxels: int
    """Of the golden scan."""
    tolerance: float
    max_abs: float
    """The largest of the forms in single precision, over all scans."""
    forms: tuple[Agreement, ...]
    """On the golden scan."""
    scan_sets: tuple[ScanSet, ...]
    """On the scans that were given."""
    manifest_sha256: str
    """The bundle that was measured."""

    @property
    def holds(self) -> bool:
        """Whether every form holds on every scan."""
        return all(form.holds(self.tolerance) for form in self.all_forms)

    @property
    def all_forms(self) -> tuple[Agreement, ...]:
        """Of the golden scan and of all sets."""
        return (*self.forms, *(form for scan_set in self.scan_sets for form in scan_set.forms))


def measure(bundle: Bundle, checkpoint: Path | None = None, scan_sets: Mapping[str, Sequence[Scan]] | None = None) -> Parity:
    """Runs scans through every form.

    Args:
        bundle: an opened bundle.
        checkpoint: of PyTorch's student, the reference; None takes what the bundle holds.
        scan_sets: further scans by the name of their set.

    Raises:
        CheckpointError: the checkpoint cannot be read. BundleError: the golden scan cannot be used.
        BackendError: a form cannot run, or is of another network. CloudError: a scan without a point in range.
    """
    golden = bundle.golden()
    executors = _executors(bundle)
    torch = None if checkpoint is None else _torch(checkpoint)
    features, rulebook = _voxels(bundle, GOLDEN_SCAN, (golden.xyz_m, golden.intensity))
    if len(golden.features) != len(features):
        raise BackendError(
            f"{bundle.path}: the golden scan gives {len(features)} voxels, the reference had {len(golden.features)}; "
            "the bundle was made by another version of relidar: export it again."
        )
    scorer = ClassScorer(bundle.manifest.classes, bundle.text, bundle.manifest.unknown_threshold)
    answers: dict[str, Answer] = {} if torch is None else {"golden features": (golden.features, None)}
    reference = "golden features" if torch is None else f"torch, {checkpoint}"
    expected = golden.features if torch is None else torch(features, rulebook)
    answers |= {name: _answer(executor, features, rulebook, scorer.words) for name, (executor, _) in executors.items()}
    if any(answer.shape != expected.shape for answer, _ in answers.values()):
        raise BackendError(
            f"{reference}: features {expected.shape}, the bundle's are {golden.features.shape}; not its checkpoint."
        )
    precision: dict[str, Precision] = {name: precision for name, (_, precision) in executors.items()}
    forms = tuple(
        agreement(name, answer, expected, scorer, precision.get(name, "fp32"), scores)
        for name, (answer, scores) in answers.items()
    )
    sets = tuple(_scan_set(bundle, name, scans, executors, torch, reference, scorer) for name, scans in (scan_sets or {}).items())
    every = (*forms, *(form for scan_set in sets for form in scan_set.forms))
    largest = float(np.max([form.max_abs for form in every if form.precision == "fp32"]))
    return Parity(reference, len(expected), bundle.manifest.tolerance, largest, forms, sets, sha256_file(bundle.path / MANIFEST))


def _scan_set(
    bundle: Bundle,
    name: str,
    scans: Sequence[Scan],
    executors: dict[str, tuple[FeatureExecutor, Precision]],
    torch: Reference | None,
    reference: str,
    scorer: ClassScorer,
) -> ScanSet:
    """Compares the forms on scans that have no golden answer: without torch the pairs graph is what others are compared with."""
    pairs, _ = executors["onnxruntime-cpu"]
    compared = {form: each for form, each in executors.items() if torch is not None or each[0] is not pairs}
    parts: dict[str, list[Agreement]] = {form: [] for form in compared}
    voxels = []
    for scan in tqdm(scans, desc=name, unit="scan"):
        features, rulebook = _voxels(bundle, name, scan)
        expected = pairs(features, rulebook) if torch is None else torch(features, rulebook)
        for form, (executor, precision) in compared.items():
            answer, scores = _answer(executor, features, rulebook, scorer.words)
            parts[form].append(agreement(form, answer, expected, scorer, precision, scores))
        voxels.append(len(features))
    forms = tuple(together(part, voxels) for part in parts.values())
    return ScanSet(name, pairs.name if torch is None else reference, len(scans), sum(voxels), forms)


def _voxels(bundle: Bundle, name: str, scan: Scan) -> tuple[Features, Rulebook]:
    voxels = voxelise(*scan, bundle.manifest.preprocessing)
    if not len(voxels.coordinates):
        raise CloudError(f"{name}: a scan without a point in the bundle's range; give scans of a sensor that the student is for.")
    return voxels.features, build_rulebook(voxels.coordinates, bundle.manifest.student.levels)


def _answer(executor: FeatureExecutor, features: Features, rulebook: Rulebook, words: Words) -> Answer:
    if isinstance(executor, DenseExecutor):
        return executor.features_and_scores(features, rulebook, words)
    if isinstance(executor, PairsExecutor):
        return executor(features, rulebook), None
    return executor(features, rulebook), executor.scores(features, rulebook, words)


def _executors(bundle: Bundle) -> dict[str, tuple[FeatureExecutor, Precision]]:
    """Every form that runs on the CPU; bundles of older exports lack some."""
    dense = DenseExecutor(bundle, "cpu")
    pairs = PairsExecutor(bundle)
    executors: dict[str, tuple[FeatureExecutor, Precision]] = {dense.name: (dense, "fp32"), pairs.name: (pairs, "fp32")}
    if DENSE_FP16_ONNX in bundle.manifest.sha256:
        half = DenseExecutor(bundle, "cpu", precision="fp16")
        executors[half.name] = (half, "fp16")
    if CPU_PROGRAM in bundle.manifest.sha256:
        compiled = CompiledExecutor(bundle)
        executors[compiled.name] = (compiled, "fp32")
    if CPU_INT8_PROGRAM in bundle.manifest.sha256:
        rounded = CompiledExecutor(bundle, precision="int8")
        executors[rounded.name] = (rounded, "int8")
    return executors


def _torch(checkpoint: Path) -> Reference:
    # Here, since only this needs PyTorch.
    from distill.checkpoint import load_student
    from distill.torch_executor import TorchExecutor

    return TorchExecutor(load_student(checkpoint).student)


def scans_of(
    sources: Sequence[Path], intensity_max: float, topics: Sequence[str] = (), full_return: float | None = None
) -> dict[str, Sequence[Scan]]:
    """SCANS_OF_A_SOURCE scans of each bag, dataset or folder, evenly; see `export.scans.scans_of_source`."""
    if not sources:
        return {}
    # Here, since the readers of datasets take seconds to import.
    from export.scans import scans_of_source

    sets = {source: scans_of_source(source, intensity_max, SCANS_OF_A_SOURCE, topics, full_return) for source in sources}
    return {str(source): [(scan.xyz_m, scan.intensity) for scan in scans] for source, scans in sets.items()}


def table(parity: Parity) -> str:
    """The comparison as text."""
    lines = [f"{parity.voxels} voxels of the golden scan against {parity.reference}, tolerance {parity.tolerance:.0e}"]
    lines += _rows(parity.forms)
    for scan_set in parity.scan_sets:
        lines.append(f"{scan_set.name}: {scan_set.scans} scans, {scan_set.voxels} voxels, against {scan_set.reference}")
        lines += _rows(scan_set.forms)
    return "\n".join(lines)


def faults(parity: Parity) -> str:
    """The forms that fail, a line each, with what they exceed."""
    forms_of = {GOLDEN_SCAN: parity.forms} | {scan_set.name: scan_set.forms for scan_set in parity.scan_sets}
    return "\n".join(
        f"  {form.name}, {where}: {'; '.join(form.faults(parity.tolerance))}"
        for where, forms in forms_of.items()
        for form in forms
        if not form.holds(parity.tolerance)
    )


def _rows(forms: Sequence[Agreement]) -> list[str]:
    columns = {"max abs": 9, "p99.9 abs": 9, "mean abs": 9, "min cosine": 11, "mean cosine": 11, "max score": 9, "same label": 11}
    head = " ".join([f"{'form':26}", *(f"{name:>{width}}" for name, width in columns.items())])
    return [head] + [
        f"{form.name:26} {form.max_abs:9.1e} {form.p999_abs:9.1e} {form.mean_abs:9.1e} {form.min_cosine:11.7f} "
        f"{form.mean_cosine:11.7f} {form.max_score_abs:9.1e} {form.label_agreement:11.4%}"
        for form in forms
    ]


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="student.pt, to run PyTorch itself")
    add_scan_arguments(parser, f"{SCANS_OF_A_SOURCE} of each are taken evenly")
    parser.add_argument("--out", type=Path, help=f"JSON file for the figures, besides {REPORT} in the bundle")
    arguments = parser.parse_args()
    check_scan_arguments(parser, arguments)
    bundle = open_bundle(arguments.bundle)
    intensity_max = bundle.manifest.preprocessing.intensity_max
    scans = scans_of(arguments.scans, intensity_max, arguments.topic, arguments.intensity_max)
    parity = measure(bundle, arguments.checkpoint, scans)
    command_line.say(table(parity))
    content = json.dumps({**asdict(parity), "holds": parity.holds}, indent=1) + "\n"
    for path in (arguments.bundle / REPORT, arguments.out):
        if path is not None:
            write_text(path, content)
    if not parity.holds:
        raise BackendError(
            f"{arguments.bundle}: not all forms agree:\n{faults(parity)}\nExport it again, from the checkpoint that it is "
            "compared with; where only half precision fails build fp32 engines, where only int8 fails calibrate it again."
        )


if __name__ == "__main__":
    command_line.run(main)

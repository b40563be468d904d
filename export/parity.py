"""Do all forms of a student give the same answer? Compares them on the bundle's golden scan and fails where they do not.

  python -m export.parity runs/demo/bundle --checkpoint runs/demo/train/student.pt --out runs/demo/parity.json

The reference is PyTorch running the checkpoint; without --checkpoint it is the golden features that PyTorch left in the bundle,
and PyTorch is not needed. The exit code is 1 where a unit feature differs by more than the bundle's tolerance.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from relidar import command_line
from relidar.atomic import write_text
from relidar.bundle import Bundle, open_bundle
from relidar.errors import BackendError
from relidar.executor import Executor
from relidar.onnx_executor import DenseExecutor, PairsExecutor
from relidar.rulebook import Rulebook, build_rulebook
from relidar.segmenter import ClassScorer
from relidar.voxels import voxelise


@dataclass(frozen=True)
class Agreement:
    """One form against the reference, over all voxels of the golden scan."""

    name: str
    max_abs: float
    """Largest difference of a unit feature."""
    mean_abs: float
    min_cosine: float
    """Of the voxel that agrees least."""
    label_agreement: float
    """Share of the voxels with the same label."""


@dataclass(frozen=True)
class Parity:
    """The comparison of all forms."""

    reference: str
    voxels: int
    tolerance: float
    max_abs: float
    """The largest of all forms."""
    forms: tuple[Agreement, ...]

    @property
    def holds(self) -> bool:
        """Whether every form is within the tolerance; a NaN is not."""
        return all(form.max_abs <= self.tolerance for form in self.forms)


def measure(bundle: Bundle, checkpoint: Path | None = None) -> Parity:
    """Runs the golden scan through every form; raises CheckpointError, BackendError or BundleError."""
    golden = bundle.golden()
    voxels = voxelise(golden.xyz_m, golden.intensity, bundle.manifest.preprocessing)
    rulebook = build_rulebook(voxels.coordinates, bundle.manifest.student.levels)
    if len(golden.features) != len(voxels.coordinates):
        raise BackendError(
            f"{bundle.path}: the golden scan gives {len(voxels.coordinates)} voxels, the reference had {len(golden.features)}; "
            "the bundle was made by another version of relidar: export it again."
        )
    answers = {executor.name: executor(voxels.features, rulebook) for executor in _executors(bundle)}
    if checkpoint is None:
        reference = "golden features"
        expected = golden.features
    else:
        reference = f"torch, {checkpoint}"
        expected = _torch_features(checkpoint, voxels.features, rulebook)
        answers = {"golden features": golden.features, **answers}
    if any(answer.shape != expected.shape for answer in answers.values()):
        raise BackendError(
            f"{reference}: features {expected.shape}, the bundle's are {golden.features.shape}; not its checkpoint."
        )
    scorer = ClassScorer(bundle.manifest.classes, bundle.text, bundle.manifest.unknown_threshold)
    forms = tuple(agreement(name, answer, expected, scorer) for name, answer in answers.items())
    largest = float(np.max([form.max_abs for form in forms]))
    return Parity(reference, len(expected), bundle.manifest.tolerance, largest, forms)


def agreement(name: str, answer: NDArray[np.float32], expected: NDArray[np.float32], scorer: ClassScorer) -> Agreement:
    """Compares (V, D) unit rows."""
    difference = np.abs(answer - expected)
    cosine = (answer * expected).sum(axis=1)
    same = scorer(answer)[0] == scorer(expected)[0]
    return Agreement(name, float(difference.max()), float(difference.mean()), float(cosine.min()), float(same.mean()))


def _executors(bundle: Bundle) -> Iterable[Executor]:
    yield DenseExecutor(bundle, "cpu")
    yield PairsExecutor(bundle)


def _torch_features(checkpoint: Path, features: NDArray[np.float32], rulebook: Rulebook) -> NDArray[np.float32]:
    # Here, since only this needs PyTorch.
    from distill.checkpoint import load_student
    from distill.torch_executor import TorchExecutor

    return TorchExecutor(load_student(checkpoint).student)(features, rulebook)


def table(parity: Parity) -> str:
    """The comparison as text."""
    lines = [f"{parity.voxels} voxels against {parity.reference}, tolerance {parity.tolerance:.0e}"]
    lines.append(f"{'form':24} {'max abs':>9} {'mean abs':>9} {'min cosine':>11} {'same label':>11}")
    lines += [
        f"{form.name:24} {form.max_abs:9.1e} {form.mean_abs:9.1e} {form.min_cosine:11.7f} {form.label_agreement:11.4%}"
        for form in parity.forms
    ]
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="student.pt, to run PyTorch itself")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    parity = measure(open_bundle(arguments.bundle), arguments.checkpoint)
    command_line.say(table(parity))
    if arguments.out is not None:
        write_text(arguments.out, json.dumps({**asdict(parity), "holds": parity.holds}, indent=1) + "\n")
    if not parity.holds:
        raise BackendError(
            f"{arguments.bundle}: differs by {parity.max_abs:.1e}, tolerance {parity.tolerance:.0e}; export it again, from the "
            "checkpoint that it is compared with."
        )


if __name__ == "__main__":
    command_line.run(main)

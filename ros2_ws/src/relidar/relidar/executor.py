"""Executors run the student over a rulebook. All consume the same tables, so they agree up to rounding.

What a scan needs is its scores. Unit features are as wide as the text embeddings, so that an executor on a GPU does not even copy
them back; those that can give them do so on call, for whoever compares.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from relidar.bundle import Bundle, Precision
from relidar.errors import BackendError, BundleError
from relidar.rulebook import Rulebook, build_rulebook
from relidar.voxels import voxelise
from relidar.words import VoxelScores, Words

FEATURES = "features"
"""Name of the networks' input tensor, (V, C_in)."""
UNIT_FEATURES = "unit_features"
"""Name of the networks' output tensor, (V, D) unit rows."""

LABEL_AGREEMENT: dict[Precision, float] = {"fp32": 0.999, "fp16": 0.995, "int8": 0.97}
"""Share of the golden scan's voxels whose class an executor must not change."""
TIE = 1e-5
"""Classes that score so alike may change places by rounding, as those with a prompt in common do."""


class Executor(Protocol):
    """Voxel features in, scores out."""

    @property
    def name(self) -> str:
        """Backend and device, e.g. "onnxruntime-cpu"; what diagnostics show."""
        ...

    def scores(self, features: NDArray[np.float32], rulebook: Rulebook, words: Words) -> VoxelScores:
        """(V, C_in) input features and the tables of the same voxels -> what each voxel scores against `words`. V >= 1."""
        ...


@runtime_checkable
class FeatureExecutor(Executor, Protocol):
    """An executor that can give the features themselves."""

    def __call__(self, features: NDArray[np.float32], rulebook: Rulebook) -> NDArray[np.float32]:
        """(V, C_in) input features and the tables of the same voxels -> (V, D) unit rows. V >= 1."""
        ...


def self_test(executor: Executor, bundle: Bundle) -> float:
    """Runs the golden scan; returns the largest difference to the reference: of scores and margins, and of features if given.

    Raises:
        BundleError: the golden scan does not fit, or has no point in range.
        BackendError: a difference exceeds the bundle's tolerance, or fewer voxels than LABEL_AGREEMENT keep their class, so
            this backend's answers cannot be trusted. Both go by the executor's attribute `precision`, "fp32" where it has none.
    """
    golden = bundle.golden()
    voxels = voxelise(golden.xyz_m, golden.intensity, bundle.manifest.preprocessing)
    if not len(voxels.coordinates):
        raise BundleError(f"{bundle.path}: the golden scan has no point in the bundle's range; export the bundle again.")
    rulebook = build_rulebook(voxels.coordinates, bundle.manifest.student.levels)
    precision: Precision = getattr(executor, "precision", "fp32")
    tolerance = bundle.manifest.tolerance_of(precision)
    words = bundle.words()
    expected = words.scores(golden.features)
    largest = 0.0
    if isinstance(executor, FeatureExecutor):
        largest = _compare(executor.name, "features", executor(voxels.features, rulebook), golden.features, tolerance)
    answer = executor.scores(voxels.features, rulebook, words)
    for name in ("score", "margin"):
        difference = _compare(executor.name, f"{name}s", getattr(answer, name), getattr(expected, name), tolerance)
        largest = max(largest, difference)
    same = float(((answer.best == expected.best) | (expected.margin < TIE)).mean())
    if same < LABEL_AGREEMENT[precision]:
        raise BackendError(
            f"{executor.name}: {same:.2%} of the golden scan's voxels have the reference's class, expected "
            f"{LABEL_AGREEMENT[precision]:.1%}; use another backend and report this one."
        )
    return largest


def _compare(executor: str, what: str, answer: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float) -> float:
    if answer.shape != expected.shape:
        raise BackendError(
            f"{executor}: the golden scan gave {what} {answer.shape}, the reference {expected.shape}; "
            "the bundle was made by another version of relidar: export it again."
        )
    difference = float(np.abs(answer - expected).max())
    if not difference <= tolerance:
        raise BackendError(
            f"{executor}: differs from the golden {what} by {difference:.2e}, tolerance {tolerance:.0e}; "
            "use another backend and report this one."
        )
    return difference

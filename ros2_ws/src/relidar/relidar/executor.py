"""Executors run the student over a rulebook. All consume the same tables, so they agree up to rounding."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from relidar.bundle import Bundle
from relidar.errors import BackendError, BundleError
from relidar.rulebook import Rulebook, build_rulebook
from relidar.voxels import voxelise

FEATURES = "features"
"""Name of the networks' input tensor, (V, C_in)."""
UNIT_FEATURES = "unit_features"
"""Name of the networks' output tensor, (V, D) unit rows."""


class Executor(Protocol):
    """Voxel features in, unit features out."""

    @property
    def name(self) -> str:
        """Backend and device, e.g. "onnxruntime-cpu"; what diagnostics show."""
        ...

    def __call__(self, features: NDArray[np.float32], rulebook: Rulebook) -> NDArray[np.float32]:
        """(V, C_in) input features and the tables of the same voxels -> (V, D) unit rows. V >= 1."""
        ...


def self_test(executor: Executor, bundle: Bundle) -> float:
    """Runs the golden scan; returns the largest difference to the reference's features.

    Raises:
        BundleError: the golden scan does not fit, or has no point in range.
        BackendError: the difference exceeds the bundle's tolerance, so this backend's answers cannot be trusted. An
            executor with an attribute `precision` of "fp16" has the bundle's tolerance for that.
    """
    golden = bundle.golden()
    voxels = voxelise(golden.xyz_m, golden.intensity, bundle.manifest.preprocessing)
    if not len(voxels.coordinates):
        raise BundleError(f"{bundle.path}: the golden scan has no point in the bundle's range; export the bundle again.")
    rulebook = build_rulebook(voxels.coordinates, bundle.manifest.student.levels)
    answer = executor(voxels.features, rulebook)
    if answer.shape != golden.features.shape:
        raise BackendError(
            f"{executor.name}: the golden scan gave {answer.shape}, the reference {golden.features.shape}; "
            "the bundle was made by another version of relidar: export it again."
        )
    difference = float(np.abs(answer - golden.features).max())
    tolerance = bundle.manifest.tolerance_of(getattr(executor, "precision", "fp32"))
    if not difference <= tolerance:
        raise BackendError(
            f"{executor.name}: differs from the golden features by {difference:.2e}, tolerance {tolerance:.0e}; "
            "use another backend and report this one."
        )
    return difference

"""Which executor runs a bundle here: the one that is named, or the fastest that really works.

That a library imports is no proof that it runs: an executor counts once it has reproduced the bundle's golden features.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from relidar.bundle import Bundle
from relidar.errors import BackendError
from relidar.executor import Executor, self_test
from relidar.onnx_executor import DenseExecutor, PairsExecutor
from relidar.rulebook import Rulebook
from relidar.trt_executor import EngineExecutor

_MAKERS: dict[str, Callable[[Bundle, int], Executor]] = {
    "tensorrt": lambda bundle, threads: EngineExecutor(bundle, "tensorrt"),
    "tensorrt-rtx": lambda bundle, threads: EngineExecutor(bundle, "tensorrt-rtx"),
    "onnxruntime-cuda": lambda bundle, threads: DenseExecutor(bundle, "cuda"),
    "onnxruntime-cpu": PairsExecutor,
}
"""Fastest first; the order in which "auto" tries them."""

BACKENDS = ("auto", *_MAKERS)


@dataclass(frozen=True)
class ProvedExecutor:
    """An executor that has reproduced the golden features on this machine."""

    executor: Executor
    golden_difference: float
    """Largest difference to the reference's unit features."""
    rejected: Mapping[str, str] = field(default_factory=dict)
    """The backends that "auto" would have preferred, and why each does not run."""

    @property
    def name(self) -> str:
        """What really runs."""
        return self.executor.name

    @property
    def identity(self) -> str:
        """Which program runs: the key of the TensorRT engine, or the graph's hash and the version of ONNX Runtime."""
        return str(getattr(self.executor, "identity", ""))

    def __call__(self, features: NDArray[np.float32], rulebook: Rulebook) -> NDArray[np.float32]:
        """(V, C_in) -> (V, D) unit rows."""
        return self.executor(features, rulebook)


def open_executor(bundle: Bundle, backend: str = "auto", threads: int = 0) -> ProvedExecutor:
    """An executor that has passed the golden scan.

    Args:
        bundle: an opened bundle.
        backend: one of BACKENDS; "auto" takes the first of them that passes.
        threads: of one operator on the CPU; 0 = one a core.

    Raises:
        BundleError: the golden scan cannot be used.
        BackendError: no such backend, or it cannot run here, or it fails the golden scan.
    """
    if backend not in BACKENDS:
        raise BackendError(f"backend {backend!r} is not known; give one of {', '.join(BACKENDS)}.")
    rejected: dict[str, str] = {}
    for name in _MAKERS if backend == "auto" else (backend,):
        proved = _prove(name, bundle, threads)
        if not isinstance(proved, BackendError):
            return ProvedExecutor(*proved, rejected)
        if backend != "auto":
            raise proved
        rejected[name] = str(proved)
    reasons = "\n".join(f"  {name}: {reason}" for name, reason in rejected.items())
    raise BackendError(f"{bundle.path}: no backend runs here:\n{reasons}")


def _prove(name: str, bundle: Bundle, threads: int) -> tuple[Executor, float] | BackendError:
    try:
        executor = _MAKERS[name](bundle, threads)
        return executor, self_test(executor, bundle)
    except BackendError as error:
        return error

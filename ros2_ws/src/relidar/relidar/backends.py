"""Which executor runs a bundle here: the one that is named, or the fastest that really works.

That a library imports is no proof that it runs: an executor counts once it has reproduced the bundle's golden scan.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from relidar.bundle import CPU_PROGRAM, PAIRS_ONNX, Bundle, sha256_file
from relidar.capacity_fallback import CapacityFallback
from relidar.compiled.executor import CompiledExecutor
from relidar.errors import BackendError, BundleError
from relidar.executor import Executor, self_test
from relidar.onnx_executor import DenseExecutor, PairsExecutor
from relidar.rulebook import Rulebook
from relidar.trt_executor import EngineExecutor
from relidar.words import VoxelScores, Words

_MAKERS: dict[str, Callable[[Bundle, int], Executor]] = {
    "tensorrt": lambda bundle, threads: EngineExecutor(bundle, "tensorrt"),
    "tensorrt-rtx": lambda bundle, threads: EngineExecutor(bundle, "tensorrt-rtx"),
    "onnxruntime-cuda": lambda bundle, threads: DenseExecutor(bundle, "cuda"),
    "compiled-cpu": CompiledExecutor,
    "onnxruntime-cpu": PairsExecutor,
}
"""Fastest first; the order in which "auto" tries them."""

_ON_DEMAND: dict[str, Callable[[Bundle, int], Executor]] = {
    "compiled-cpu-int8": lambda bundle, threads: CompiledExecutor(bundle, threads, "int8"),
}
"""Those that change some labels, so that "auto" never takes them."""

BACKENDS = ("auto", *_MAKERS, *_ON_DEMAND)
ANY_SIZE = {"compiled-cpu": CPU_PROGRAM, "onnxruntime-cpu": PAIRS_ONNX}
"""Those on the CPU, which answer a scan over an engine's capacity, and the file that each runs; fastest first."""


@dataclass(frozen=True)
class ProvedExecutor:
    """An executor that has reproduced the golden scan on this machine."""

    executor: Executor
    golden_difference: float
    """Largest difference to the reference, of scores, margins and unit features, as far as the executor gives them."""
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

    def scores(self, features: NDArray[np.float32], rulebook: Rulebook, words: Words) -> VoxelScores:
        """(V, C_in) -> what each voxel scores."""
        return self.executor.scores(features, rulebook, words)


def open_executor(bundle: Bundle, backend: str = "auto", threads: int = 0) -> ProvedExecutor:
    """An executor that has passed the golden scan.

    Args:
        bundle: an opened bundle.
        backend: one of BACKENDS; "auto" takes the first of them that passes.
        threads: of a backend on the CPU, be it only for scans over an engine's capacity; 0 = one a core.

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
        executor = (_MAKERS | _ON_DEMAND)[name](bundle, threads)
        difference = self_test(executor, bundle)
        return _of_any_size(executor, bundle, threads), difference
    except BackendError as error:
        return error
    except BundleError:
        raise
    except Exception as error:  # noqa: BLE001  # of a driver, a compiler or a runtime: the next backend may well run
        return BackendError(f"{name}: {type(error).__name__}: {error}; use another backend and report this one.")


def _of_any_size(executor: Executor, bundle: Bundle, threads: int) -> Executor:
    """The executor; one that has a capacity with a fallback on the CPU, proved here and let go of until a scan needs it."""
    capacity: tuple[int, ...] | None = getattr(executor, "capacity", None)
    if capacity is None:
        return executor
    failed: dict[str, str] = {}
    for name in ANY_SIZE:
        proved = _prove(name, bundle, threads)
        if not isinstance(proved, BackendError):
            return CapacityFallback(executor, capacity, partial(_reopened, name, bundle, threads))
        failed[name] = str(proved)
    reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
    raise BackendError(f"{executor.name}: nothing on the CPU runs here to answer scans over its capacity: {reasons}")


def _reopened(name: str, bundle: Bundle, threads: int) -> Executor:
    """An executor that was proved; its file may have been replaced since."""
    file = bundle.path / ANY_SIZE[name]
    try:
        same = sha256_file(file) == bundle.manifest.sha256[file.name]
    except OSError as error:
        raise BackendError(f"{name}: {file} cannot be read any more ({error.strerror}); load the bundle again.") from error
    if not same:
        raise BackendError(f"{name}: {file} is not what it was when the bundle was opened; load the bundle again.")
    return _MAKERS[name](bundle, threads)

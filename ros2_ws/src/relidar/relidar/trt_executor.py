"""The executor for TensorRT and TensorRT-RTX engines, whose Python interfaces are alike. It needs a GPU: not run without one.

It never builds an engine, which takes minutes on a vehicle: `python -m export.trt BUNDLE` does, once.
"""

import importlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relidar.bundle import Bundle
from relidar.cuda_device import DeviceBuffer, Stream, Workspace, target_of_device
from relidar.dense_graph import BEST, MARGIN, SCORE, SIMILARITY, word_inputs
from relidar.engine_cache import Runtime, load_plan, preferred_key
from relidar.errors import BackendError
from relidar.executor import FEATURES
from relidar.rulebook import Rulebook
from relidar.words import MOST_QUERIES, VoxelScores, Words

MODULES: dict[Runtime, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


def import_runtime(runtime: Runtime) -> Any:
    """The runtime's Python module; raises BackendError where it is not installed or a library of it is missing."""
    try:
        return importlib.import_module(MODULES[runtime])
    except (ImportError, OSError) as error:
        extra = "gpu" if runtime == "tensorrt" else "rtx"
        raise BackendError(f"{runtime} cannot be imported ({error}); install the extra `{extra}`.") from error


class EngineExecutor:
    """A bundle's engine for the GPU of this machine.

    Inputs and outputs have device memory for the largest scan, allocated once; words are uploaded when they change. What the
    engine needs in between grows with the largest scan and prompt set met: for the most prompts that it takes it would be a
    gigabyte that a few classes never use.
    """

    def __init__(self, bundle: Bundle, runtime: Runtime) -> None:
        """Loads the engine; raises BackendError where the runtime, the GPU or a fitting engine is missing."""
        trt = import_runtime(runtime)
        key = preferred_key(bundle, runtime, trt.__version__, target_of_device())
        self.precision = key.precision
        self.name: str = runtime if key.precision == "fp32" else f"{runtime}-{key.precision}"
        self.identity = key.digest
        self.capacity = tuple(level.max for level in bundle.manifest.capacities)
        """Voxels of each level that the engine takes."""
        plan = load_plan(bundle, key)
        # The logger must outlive the engine, and the engine the context.
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        self._engine: Any = self._runtime.deserialize_cuda_engine(plan)
        memory = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self._context: Any = None if self._engine is None else self._engine.create_execution_context(memory)
        if self._context is None:
            raise BackendError(
                f"{runtime}: cannot load the engine {key.digest} here; delete {bundle.path / 'engines'} and run "
                f"`python -m export.trt {bundle.path}` on this machine."
            )
        self._stream = Stream()
        self._workspace = Workspace()
        self._words: Words | None = None
        voxels = self.capacity[0]
        self._buffers = {name: DeviceBuffer(4 * math.prod(shapes.max)) for name, shapes in key.profile.items()}
        self._buffers |= {name: DeviceBuffer(4 * voxels) for name in (BEST, SCORE, MARGIN)}
        self._buffers[SIMILARITY] = DeviceBuffer(4 * voxels * MOST_QUERIES)
        for name, buffer in self._buffers.items():
            self._context.set_tensor_address(name, buffer.address)

    def scores(self, features: NDArray[np.float32], rulebook: Rulebook, words: Words) -> VoxelScores:
        """(V, C_in) -> what each voxel scores; raises BackendError for a scan over the engine's capacity."""
        if any(voxels > most for voxels, most in zip(rulebook.voxels, self.capacity, strict=True)):
            raise BackendError(
                f"{self.name}: levels of {rulebook.voxels} voxels, the engine takes {self.capacity}; export the bundle again "
                "with scans as dense as this one, or use a CPU backend."
            )
        inputs = {FEATURES: features, **rulebook.tables()}
        if words is not self._words:
            self._words = None  # until all of them are there
            inputs |= word_inputs(words)
        inputs = {name: np.ascontiguousarray(array) for name, array in inputs.items()}  # which live until the stream is done
        for name, array in inputs.items():
            if not self._context.set_input_shape(name, array.shape):
                raise BackendError(f"{self.name}: the engine takes no {name} of shape {array.shape}; export the bundle again.")
            self._buffers[name].upload(array, self._stream)
        needed_bytes = self._context.update_device_memory_size_for_shapes()
        workspace = self._workspace.of(needed_bytes)
        self._context.set_device_memory(workspace.address, workspace.capacity_bytes)
        if not self._context.execute_async_v3(self._stream.handle):
            raise BackendError(f"{self.name}: the engine refused the scan; use another backend and report this one.")
        voxels, queries = len(features), len(words.queries)
        best = np.empty(voxels, np.int32)
        score, margin = np.empty(voxels, np.float32), np.empty(voxels, np.float32)
        similarity = np.empty((voxels, queries), np.float32)
        for name, array in ((BEST, best), (SCORE, score), (MARGIN, margin), (SIMILARITY, similarity)):
            self._buffers[name].download(array, self._stream)
        self._stream.wait()
        self._words = words
        return VoxelScores(best, score, margin, similarity)

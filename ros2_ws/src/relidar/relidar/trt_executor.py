"""The executor for TensorRT and TensorRT-RTX engines, whose Python interfaces are alike. It needs a GPU: not run without one.

It never builds an engine, which takes minutes on a vehicle: `python -m export.trt BUNDLE` does, once.
"""

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relidar.bundle import Bundle
from relidar.cuda_device import DeviceBuffer, Stream, target_of_device
from relidar.engine_cache import Runtime, plan_fault, plan_path, preferred_key
from relidar.errors import BackendError
from relidar.executor import FEATURES, UNIT_FEATURES
from relidar.rulebook import Rulebook

MODULES: dict[Runtime, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


def import_runtime(runtime: Runtime) -> Any:
    """The runtime's Python module; raises BackendError where it is not installed or a library of it is missing."""
    try:
        return importlib.import_module(MODULES[runtime])
    except (ImportError, OSError) as error:
        extra = "gpu" if runtime == "tensorrt" else "rtx"
        raise BackendError(f"{runtime} cannot be imported ({error}); install the extra `{extra}`.") from error


class EngineExecutor:
    """A bundle's engine for the GPU of this machine; device memory is allocated once, for the largest scan."""

    def __init__(self, bundle: Bundle, runtime: Runtime) -> None:
        """Loads the engine; raises BackendError where the runtime, the GPU or a fitting engine is missing."""
        trt = import_runtime(runtime)
        key = preferred_key(bundle, runtime, trt.__version__, target_of_device())
        self.precision = key.precision
        self.name: str = runtime if key.precision == "fp32" else f"{runtime}-{key.precision}"
        self.identity = key.digest
        if fault := plan_fault(bundle, key):
            raise BackendError(f"{runtime}: {fault}; run `python -m export.trt {bundle.path}` on this machine.")
        # The logger must outlive the engine, and the engine the context.
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        self._engine: Any = self._runtime.deserialize_cuda_engine(plan_path(bundle, key).read_bytes())
        self._context: Any = None if self._engine is None else self._engine.create_execution_context()
        if self._context is None:
            raise BackendError(f"{plan_path(bundle, key)}: {runtime} cannot load this engine here; delete it and export again.")
        self._capacity = {name: shapes.max for name, shapes in key.profile.items()}
        self._width = bundle.manifest.student.feature_width
        self._stream = Stream()
        self._buffers = {name: DeviceBuffer(4 * rows * width) for name, (rows, width) in self._capacity.items()}
        self._buffers[UNIT_FEATURES] = DeviceBuffer(4 * self._capacity[FEATURES][0] * self._width)
        for name, buffer in self._buffers.items():
            self._context.set_tensor_address(name, buffer.address)

    def __call__(self, features: NDArray[np.float32], rulebook: Rulebook) -> NDArray[np.float32]:
        """(V, C_in) -> (V, D) unit rows; raises BackendError for a scan over the engine's capacity."""
        inputs = {FEATURES: np.ascontiguousarray(features), **rulebook.tables()}
        for name, array in inputs.items():
            if len(array) > self._capacity[name][0]:
                raise BackendError(
                    f"{self.name}: {name} has {len(array)} rows, the engine takes {self._capacity[name][0]}; export the bundle "
                    "again with scans as dense as this one, or use the backend onnxruntime-cpu."
                )
            self._context.set_input_shape(name, array.shape)
            self._buffers[name].upload(array, self._stream)
        answer = np.empty((len(features), self._width), np.float32)
        if not self._context.execute_async_v3(self._stream.handle):
            raise BackendError(f"{self.name}: the engine refused the scan; use another backend and report this one.")
        self._buffers[UNIT_FEATURES].download(answer, self._stream)
        self._stream.wait()
        return answer

"""The CUDA device and its memory, through cuda-bindings, a thin layer over the CUDA runtime. Not run without a GPU."""

from typing import Any

from numpy.typing import NDArray

from relidar.errors import BackendError


def target_of_device() -> str:
    """The GPU class of the current device, e.g. "sm86"; raises BackendError where there is none."""
    cuda = _runtime()
    device = _check(cuda.cudaGetDevice(), "find a GPU")
    attribute = cuda.cudaDeviceAttr
    major = _check(cuda.cudaDeviceGetAttribute(attribute.cudaDevAttrComputeCapabilityMajor, device), "ask the GPU")
    minor = _check(cuda.cudaDeviceGetAttribute(attribute.cudaDevAttrComputeCapabilityMinor, device), "ask the GPU")
    return f"sm{major}{minor}"


class DeviceBuffer:
    """Memory on the device, allocated once for the largest array that will pass through it."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self._cuda = _runtime()
        self.address = int(_check(self._cuda.cudaMalloc(capacity_bytes), f"allocate {capacity_bytes} bytes on the GPU"))

    def upload(self, array: NDArray[Any], stream: "Stream") -> None:
        """Starts copying a contiguous array, which must live until the stream is waited for, to the device."""
        self._check_size(array)
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        _check(self._cuda.cudaMemcpyAsync(self.address, array.ctypes.data, array.nbytes, kind, stream.handle), "copy to the GPU")

    def download(self, array: NDArray[Any], stream: "Stream") -> None:
        """Starts copying from the device into a contiguous array; it is filled once the stream is waited for."""
        self._check_size(array)
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        _check(
            self._cuda.cudaMemcpyAsync(array.ctypes.data, self.address, array.nbytes, kind, stream.handle), "copy from the GPU"
        )

    def _check_size(self, array: NDArray[Any]) -> None:
        if array.nbytes > self.capacity_bytes:
            raise BackendError(f"{array.nbytes} bytes for {self.capacity_bytes} bytes on the GPU; report this.")

    def __del__(self) -> None:
        if hasattr(self, "address"):
            self._cuda.cudaFree(self.address)


class Workspace:
    """Memory on the device that grows to the largest size ever asked for."""

    GROWTH = 1.25
    """More than is asked for, so that scans of about one size do not make it grow each time."""

    def __init__(self) -> None:
        self._buffer: DeviceBuffer | None = None

    def of(self, size_bytes: int) -> DeviceBuffer:
        """A buffer of at least this size, valid until the next call; nothing on the device may be using the last one."""
        if self._buffer is None or self._buffer.capacity_bytes < size_bytes:
            self._buffer = None  # freed first, since both might not fit
            self._buffer = DeviceBuffer(max(1, int(self.GROWTH * size_bytes)))
        return self._buffer


class Stream:
    """A queue of device work."""

    def __init__(self) -> None:
        self._cuda = _runtime()
        self._stream = _check(self._cuda.cudaStreamCreate(), "make a CUDA stream")
        self.handle = int(self._stream)

    def wait(self) -> None:
        """Blocks until all work in the stream is done; raises BackendError if any of it failed."""
        _check(self._cuda.cudaStreamSynchronize(self._stream), "run the engine")

    def __del__(self) -> None:
        if hasattr(self, "_stream"):
            self._cuda.cudaStreamDestroy(self._stream)


def _runtime() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise BackendError(f"cuda-bindings cannot be imported ({error}); install the extra `gpu` or `rtx`.") from error
    return runtime


def _check(result: tuple[Any, ...], what: str) -> Any:
    status, *values = result
    if int(status) != 0:
        raise BackendError(f"CUDA cannot {what}: {status.name}; check the GPU and its driver with nvidia-smi.")
    return values[0] if values else None

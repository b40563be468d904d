"""How long the input of a scan takes to a GPU: what the executors there do first. Not run without a GPU."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relidar.cuda_device import Stream, Workspace


class DeviceUpload:
    """Copies arrays to memory of the device that grows to the largest ever needed; raises BackendError without a GPU."""

    def __init__(self) -> None:
        self._stream = Stream()
        self._workspaces: list[Workspace] = []

    def __call__(self, arrays: Sequence[NDArray[Any]]) -> float:
        """Milliseconds until all of them are there."""
        while len(self._workspaces) < len(arrays):
            self._workspaces.append(Workspace())
        buffers = [workspace.of(array.nbytes) for workspace, array in zip(self._workspaces, arrays, strict=False)]
        contiguous = [np.ascontiguousarray(array) for array in arrays]
        start = time.perf_counter()
        for buffer, array in zip(buffers, contiguous, strict=True):
            buffer.upload(array, self._stream)
        self._stream.wait()
        return 1e3 * (time.perf_counter() - start)

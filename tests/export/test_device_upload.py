"""The upload of a scan, with a stand-in for the CUDA runtime: the main memory as the device."""

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from export.device_upload import DeviceUpload
from relidar import cuda_device


def test_arrays_arrive_whole_and_memory_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    memory: dict[int, Any] = {}

    def allocate(size: int) -> tuple[int, int]:
        buffer = ctypes.create_string_buffer(size)
        memory[ctypes.addressof(buffer)] = buffer
        return 0, ctypes.addressof(buffer)

    def copy(target: int, source: int, size: int, kind: str, stream: int) -> tuple[int]:
        assert (kind, stream) == ("to the device", 7)
        ctypes.memmove(target, source, size)
        return (0,)

    runtime = SimpleNamespace(
        cudaMalloc=allocate,
        cudaFree=lambda address: (0, memory.pop(address)),
        cudaMemcpyKind=SimpleNamespace(cudaMemcpyHostToDevice="to the device"),
        cudaMemcpyAsync=copy,
        cudaStreamCreate=lambda: (0, 7),
        cudaStreamSynchronize=lambda stream: (0,),
        cudaStreamDestroy=lambda stream: (0,),
    )
    monkeypatch.setattr(cuda_device, "_runtime", lambda: runtime)
    upload = DeviceUpload()
    arrays = [np.arange(12, dtype=np.float32).reshape(3, 4), np.arange(20, dtype=np.int32).reshape(4, 5).T]
    assert upload(arrays) >= 0
    kept = dict(memory)
    assert [buffer.raw[: array.nbytes] for buffer, array in zip(kept.values(), arrays, strict=True)] == [
        array.tobytes() for array in arrays
    ]
    upload([arrays[0][:2], arrays[1]])
    assert memory == kept

"""The engine executor against stand-ins for TensorRT and CUDA, since neither runs without a GPU.

Device memory is host memory, and an engine runs its ONNX graph in ONNX Runtime. What is tested is all that the executor does
itself; a real engine is not run here.
"""

import ctypes
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from relidar import backends
from relidar.backends import open_executor
from relidar.bundle import CPU_PROGRAM, DENSE_ONNX, Bundle, open_bundle
from relidar.cuda_device import DeviceBuffer, Workspace
from relidar.dense_graph import SCORE_OUTPUTS
from relidar.engine_cache import EngineKey, engine_key, plan_path, store_plan
from relidar.errors import BackendError
from relidar.onnx_executor import PairsExecutor
from relidar.rulebook import Rulebook, build_rulebook
from relidar.segmenter import ClassScorer, Segmenter
from relidar.trt_executor import EngineExecutor
from relidar.voxels import voxelise
from relidar.words import Words

runtime = pytest.importorskip("cuda.bindings.runtime", reason="the extra `rtx` is not installed")


class Success(int):
    name = "cudaSuccess"


class HostDevice:
    """The few calls of the CUDA runtime that the executor makes."""

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.uploads = 0

    def malloc(self, size: int) -> tuple[Success, int]:
        block = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(block)] = block
        return Success(0), ctypes.addressof(block)

    def free(self, address: int) -> tuple[Success]:
        self.memory.pop(address, None)  # what an earlier test left to the garbage collector is of another device
        return (Success(0),)

    def copy(self, target: int, source: int, size: int, kind: Any, _stream: int) -> tuple[Success]:
        to_device = kind == runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        assert size <= len(self.memory[target if to_device else source]), "outside the memory of the device"
        ctypes.memmove(target, source, size)
        self.uploads += to_device
        return (Success(0),)

    def array(self, address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.frombuffer(self.memory[address], dtype, int(np.prod(shape))).reshape(shape)


class Context:
    """An execution context of one engine: checks shapes against the profile as TensorRT does, and needs memory by them."""

    def __init__(self, device: HostDevice, key: EngineKey, graph: bytes) -> None:
        self.device, self.profile = device, key.profile
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.address: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.workspace = (0, 0)

    def set_tensor_address(self, name: str, address: int) -> None:
        self.address[name] = address

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        limits = self.profile[name]
        self.shapes[name] = tuple(shape)
        return all(low <= size <= high for low, size, high in zip(limits.min, shape, limits.max, strict=True))

    def update_device_memory_size_for_shapes(self) -> int:
        return 4 * self.shapes["features"][0] * self.shapes["text"][0]

    def set_device_memory(self, address: int, size: int) -> None:
        assert size <= len(self.device.memory[address])
        self.workspace = (address, size)

    def execute_async_v3(self, _stream: int) -> bool:
        assert self.shapes.keys() == self.profile.keys()
        assert self.workspace[1] >= self.update_device_memory_size_for_shapes()
        kinds = {"tensor(float)": np.float32, "tensor(int32)": np.int32}
        inputs = {
            value.name: self.device.array(self.address[value.name], self.shapes[value.name], kinds[value.type])
            for value in self.session.get_inputs()
        }
        for name, array in zip(SCORE_OUTPUTS, self.session.run(list(SCORE_OUTPUTS), inputs), strict=True):
            self.device.array(self.address[name], array.shape, array.dtype)[...] = array
        return True


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> HostDevice:
    """A GPU of class sm86."""
    device = HostDevice()
    replaced = {
        "cudaGetDevice": lambda: (Success(0), 0),
        "cudaDeviceGetAttribute": lambda attribute, _device: (Success(0), 8 if "Major" in attribute.name else 6),
        "cudaMalloc": device.malloc,
        "cudaFree": device.free,
        "cudaMemcpyAsync": device.copy,
        "cudaStreamCreate": lambda: (Success(0), 1),
        "cudaStreamSynchronize": lambda _stream: (Success(0),),
        "cudaStreamDestroy": lambda _stream: (Success(0),),
    }
    for name, function in replaced.items():
        monkeypatch.setattr(runtime, name, function)
    return device


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path, device: HostDevice, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle with an engine, whose plan is its graph, and a runtime that can load it."""
    shutil.copytree(tiny_bundle, tmp_path / "b")
    bundle = open_bundle(tmp_path / "b")
    key = engine_key(bundle, "tensorrt-rtx", "1", "sm86")
    store_plan(bundle, key, (tmp_path / "b" / DENSE_ONNX).read_bytes())

    def load(plan: bytes) -> Any:
        return SimpleNamespace(create_execution_context=lambda _strategy: Context(device, key, plan))

    fake = SimpleNamespace(
        __version__="1",
        Logger=type("Logger", (), {"ERROR": 1, "__init__": lambda _self, _severity: None}),
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED=2),
        Runtime=lambda _logger: SimpleNamespace(deserialize_cuda_engine=load),
    )
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", fake)
    return bundle


Voxels = tuple[np.ndarray, Rulebook]


def voxels_of(bundle: Bundle, cloud: Any) -> Voxels:
    voxels = voxelise(cloud.xyz_m, cloud.intensity, bundle.manifest.preprocessing)
    return voxels.features, build_rulebook(voxels.coordinates, bundle.manifest.student.levels)


def test_an_engine_gives_the_scores_of_scans_of_any_size_and_of_other_words(
    bundle: Bundle, device: HostDevice, random_cloud: Callable[..., Any]
) -> None:
    engine, pairs = EngineExecutor(bundle, "tensorrt-rtx"), PairsExecutor(bundle)
    own = bundle.words()
    other = Words(own.text[:5], np.array([0, 2]), own.text[5:8])
    uploads = []
    for points, words in ((400, own), (900, own), (50, own), (900, other), (300, other), (1, own)):
        features, rulebook = voxels_of(bundle, random_cloud(points, seed=points))
        before = device.uploads
        answer, expected = engine.scores(features, rulebook, words), pairs.scores(features, rulebook, words)
        uploads.append(device.uploads - before)
        assert np.array_equal(answer.best, expected.best)
        for name in ("score", "margin", "similarity"):
            assert getattr(answer, name).shape == getattr(expected, name).shape
            np.testing.assert_allclose(getattr(answer, name), getattr(expected, name), atol=1e-5)
    scan = 1 + len(rulebook.tables())
    assert uploads == [scan + 3, scan, scan, scan + 3, scan, scan + 3], "words are copied when they change only"


def test_device_memory_is_allocated_once_and_the_workspace_grows(
    bundle: Bundle, device: HostDevice, random_cloud: Callable[..., Any]
) -> None:
    engine = EngineExecutor(bundle, "tensorrt-rtx")
    small, large = (voxels_of(bundle, random_cloud(points)) for points in (300, 3000))
    engine.scores(*small, bundle.words())
    blocks = set(device.memory)
    engine.scores(*small, bundle.words())
    assert set(device.memory) == blocks
    engine.scores(*large, bundle.words())
    grown = set(device.memory)
    assert len(grown) == len(blocks)
    assert len(grown - blocks) == 1
    engine.scores(*small, bundle.words())
    assert set(device.memory) == grown
    del engine
    assert not device.memory


def test_a_scan_over_capacity_is_refused_by_the_engine_alone(bundle: Bundle, random_cloud: Callable[..., Any]) -> None:
    features, rulebook = voxels_of(bundle, random_cloud(30_000))
    with pytest.raises(BackendError, match=r"tensorrt-rtx: levels of \(.*\) voxels, the engine takes \("):
        EngineExecutor(bundle, "tensorrt-rtx").scores(features, rulebook, bundle.words())


def test_auto_takes_the_engine_and_a_scan_over_capacity_is_answered_by_the_cpu(
    bundle: Bundle, random_cloud: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def opener(_bundle: Bundle, threads: int) -> PairsExecutor:
        opened.append(threads)
        return PairsExecutor(bundle, threads)

    for name in backends.ANY_SIZE:
        monkeypatch.setitem(backends._MAKERS, name, opener)
    proved = open_executor(bundle, threads=1)
    assert (proved.name, proved.identity) == ("tensorrt-rtx", engine_key(bundle, "tensorrt-rtx", "1", "sm86").digest)
    assert list(proved.rejected) == ["tensorrt"]
    assert proved.golden_difference < 1e-4
    assert opened == [1], "the fallback is proved at the start"
    segment = Segmenter.of_bundle(bundle, proved)
    expected = Segmenter.of_bundle(bundle, PairsExecutor(bundle, 1))
    for points, over, times in ((300, False, 1), (30_000, True, 2), (31_000, True, 2), (300, False, 2)):
        cloud = random_cloud(points, seed=points)
        answer, exact = segment(cloud.xyz_m, cloud.intensity), expected(cloud.xyz_m, cloud.intensity)
        assert answer.over_capacity is over
        assert len(opened) == times
        np.testing.assert_allclose(answer.score, exact.score, atol=1e-5)
        if over:
            assert np.array_equal(answer.score, exact.score)
            assert np.array_equal(answer.label, exact.label)


@pytest.mark.parametrize("replaced", [True, False])
def test_a_fallback_whose_file_was_changed_is_refused(bundle: Bundle, random_cloud: Callable[..., Any], replaced: bool) -> None:
    proved = open_executor(bundle, threads=1)
    file = bundle.path / CPU_PROGRAM
    file.unlink()
    if replaced:
        file.write_bytes(b"another")
    features, rulebook = voxels_of(bundle, random_cloud(30_000))
    with pytest.raises(
        BackendError, match=r"student-cpu\.safetensors (is not what it was|cannot be read).*load the bundle again"
    ):
        proved.scores(features, rulebook, bundle.words())


def test_an_engine_without_a_fallback_is_not_taken(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_bundle: Bundle, _threads: int) -> PairsExecutor:
        raise BackendError("no numba")

    for name in backends.ANY_SIZE:
        monkeypatch.setitem(backends._MAKERS, name, broken)
    with pytest.raises(BackendError, match=r"tensorrt-rtx: nothing on the CPU runs here .*no numba"):
        open_executor(bundle, "tensorrt-rtx")


def test_a_plan_that_was_changed_is_not_loaded(bundle: Bundle) -> None:
    path = plan_path(bundle, engine_key(bundle, "tensorrt-rtx", "1", "sm86"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BackendError, match=r"cut or changed; run `python -m export\.trt"):
        EngineExecutor(bundle, "tensorrt-rtx")


def test_a_wrong_engine_fails_the_golden_scan(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    execute = Context.execute_async_v3

    def swapped(context: Context, stream: int) -> bool:
        execute(context, stream)
        best = context.device.array(context.address["best"], (context.shapes["features"][0],), np.int32)
        best[...] = best[::-1].copy()
        return True

    monkeypatch.setattr(Context, "execute_async_v3", swapped)
    with pytest.raises(BackendError, match=r"% of the golden scan's voxels have the reference's class, expected 99\.9%"):
        open_executor(bundle, "tensorrt-rtx")


@pytest.mark.usefixtures("device")
def test_an_array_larger_than_its_device_memory_is_refused() -> None:
    with pytest.raises(BackendError, match="16 bytes for 12 bytes"):
        DeviceBuffer(12)._check_size(np.zeros(4, np.float32))
    workspace = Workspace()
    assert workspace.of(100).capacity_bytes >= 100
    assert workspace.of(50) is workspace.of(101)


def test_prompts_change_without_another_engine(bundle: Bundle) -> None:
    fewer = bundle.manifest.model_copy(update={"classes": bundle.manifest.classes[:2]})
    other = Bundle(bundle.path, fewer, bundle.text)
    assert engine_key(other, "tensorrt-rtx", "1", "sm86") == engine_key(bundle, "tensorrt-rtx", "1", "sm86")
    scorer = ClassScorer(fewer.classes, bundle.text, -1.0)
    golden = bundle.golden()
    answer = Segmenter.of_bundle(bundle, EngineExecutor(bundle, "tensorrt-rtx"))(golden.xyz_m, golden.intensity, scorer)
    assert set(answer.label.tolist()) <= {*(c.id for c in fewer.classes), 255}

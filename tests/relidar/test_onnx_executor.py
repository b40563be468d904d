"""What the executors refuse; that they agree with the reference is tested beside the lowerings."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnx.utils
import onnxruntime
import pytest

from relidar.bundle import DENSE_ONNX, PAIRS_ONNX, open_bundle
from relidar.errors import BackendError
from relidar.executor import FEATURES, UNIT_FEATURES, self_test
from relidar.onnx_executor import DenseExecutor, PairsExecutor
from relidar.rulebook import build_rulebook
from relidar.voxels import voxelise

TABLES = [FEATURES, *build_rulebook(np.zeros((1, 3), np.int32), 5).tables()]


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_threads_change_nothing_but_time(tiny_bundle: Path, threads: int) -> None:
    bundle = open_bundle(tiny_bundle)
    golden = bundle.golden()
    voxels = voxelise(golden.xyz_m, golden.intensity, bundle.manifest.preprocessing)
    rulebook = build_rulebook(voxels.coordinates, bundle.manifest.student.levels)
    for executor in (PairsExecutor(bundle, threads), DenseExecutor(bundle, "cpu", threads)):
        np.testing.assert_allclose(executor(voxels.features, rulebook), golden.features, atol=1e-4)


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA")
def test_cuda_is_not_replaced_in_silence(tiny_bundle: Path) -> None:
    with pytest.raises(BackendError, match=r"no CUDAExecutionProvider in this build .*onnxruntime-gpu"):
        DenseExecutor(open_bundle(tiny_bundle), "cuda")


def test_a_graph_that_cannot_be_loaded_is_named(tiny_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "b")
    bundle = open_bundle(tmp_path / "b")
    for name in (DENSE_ONNX, PAIRS_ONNX):
        (tmp_path / "b" / name).write_bytes(b"no ONNX")
    with pytest.raises(BackendError, match=r"student-pairs\.onnx: ONNX Runtime cannot load it"):
        PairsExecutor(bundle)
    with pytest.raises(BackendError, match=r"student\.onnx: ONNX Runtime cannot load it"):
        DenseExecutor(bundle, "cpu")


def test_an_opset_that_the_runtime_does_not_know_is_named(tiny_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "b")
    bundle = open_bundle(tmp_path / "b")
    for name in (DENSE_ONNX, PAIRS_ONNX):
        model = onnx.load(tmp_path / "b" / name)
        model.opset_import[0].version = 99
        onnx.save(model, tmp_path / "b" / name)
    with pytest.raises(
        BackendError, match=r"(?s)student-pairs\.onnx: ONNX Runtime cannot load it .*[Oo]pset.*export the bundle again"
    ):
        PairsExecutor(bundle)
    with pytest.raises(BackendError, match=r"(?s)student\.onnx: ONNX Runtime cannot load it .*[Oo]pset.*export the bundle"):
        DenseExecutor(bundle, "cpu")


def test_a_dense_graph_of_an_older_export_is_refused_and_the_cpu_still_answers(tiny_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "b")
    bundle = open_bundle(tmp_path / "b")
    model = onnx.load(tmp_path / "b" / DENSE_ONNX)
    onnx.save(onnx.utils.Extractor(model).extract_model(TABLES, [UNIT_FEATURES]), tmp_path / "b" / DENSE_ONNX)
    with pytest.raises(BackendError, match=r"student\.onnx: takes no prompts.*Export the bundle again .*or use a CPU backend"):
        DenseExecutor(bundle, "cpu")
    assert self_test(PairsExecutor(bundle), bundle) < 1e-4


@pytest.mark.parametrize("channels", [0, 2])
def test_features_of_another_width_are_refused(tiny_bundle: Path, channels: int) -> None:
    executor = PairsExecutor(open_bundle(tiny_bundle))
    rulebook = build_rulebook(np.zeros((1, 3), np.int32), 5)
    with pytest.raises(BackendError, match="onnxruntime-cpu: the scan failed"):
        executor(np.zeros((1, channels), np.float32), rulebook)

"""The dense and the pairs graph through the real ONNX Runtime, against PyTorch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from distill.checkpoint import StudentCheckpoint
from distill.torch_executor import TorchExecutor
from export.assemble import RawScan
from relidar.bundle import DENSE_ONNX, PAIRS_ONNX, Bundle, open_bundle
from relidar.dense_graph import OPSET, WORD_INPUTS
from relidar.executor import FeatureExecutor
from relidar.onnx_executor import DenseExecutor, PairsExecutor
from relidar.rulebook import build_rulebook
from relidar.voxels import voxelise
from relidar.words import Words

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return open_bundle(tiny_bundle)


@pytest.fixture(scope="module", params=["dense", "pairs"])
def executor(request: pytest.FixtureRequest, bundle: Bundle) -> FeatureExecutor:
    return DenseExecutor(bundle, "cpu", threads=2) if request.param == "dense" else PairsExecutor(bundle, threads=2)


def difference_to_torch(executor: FeatureExecutor, checkpoint: StudentCheckpoint, cloud: RawScan) -> float:
    voxels = voxelise(cloud.xyz_m, cloud.intensity, checkpoint.preprocessing)
    rulebook = build_rulebook(voxels.coordinates, 5)
    expected = TorchExecutor(checkpoint.student)(voxels.features, rulebook)
    answer = executor(voxels.features, rulebook)
    assert answer.shape == expected.shape == (len(voxels.coordinates), 32)
    np.testing.assert_allclose(np.linalg.norm(answer, axis=1), 1, atol=1e-5)
    return float(np.abs(answer - expected).max())


@pytest.mark.parametrize("points", [1, 2, 7, 300, 20_000])
def test_agrees_with_torch_on_clouds_of_any_size(
    executor: FeatureExecutor, points: int, tiny_checkpoint: StudentCheckpoint, random_cloud: Callable[..., RawScan]
) -> None:
    assert difference_to_torch(executor, tiny_checkpoint, random_cloud(points, seed=points)) < TOLERANCE


@pytest.mark.parametrize("name", ["nuscenes-lidarseg-range/000.npz", "semantickitti-range/000.npz"])
def test_agrees_with_torch_on_a_real_scan(
    executor: FeatureExecutor, name: str, tiny_checkpoint: StudentCheckpoint, relidar_data: Path
) -> None:
    points = np.load(relidar_data / name, allow_pickle=False)["points"]
    assert difference_to_torch(executor, tiny_checkpoint, RawScan(points[:, :3], points[:, 3])) < TOLERANCE


def test_the_same_scan_gives_the_same_bits(
    executor: FeatureExecutor, tiny_checkpoint: StudentCheckpoint, random_cloud: Callable[..., RawScan]
) -> None:
    cloud = random_cloud(8000)
    voxels = voxelise(cloud.xyz_m, cloud.intensity, tiny_checkpoint.preprocessing)
    rulebook = build_rulebook(voxels.coordinates, 5)
    first = executor(voxels.features, rulebook)
    for _ in range(3):
        assert np.array_equal(first, executor(voxels.features, rulebook))


@pytest.mark.parametrize("name", [DENSE_ONNX, PAIRS_ONNX])
def test_the_graph_is_valid_onnx_of_the_stated_opset(tiny_bundle: Path, name: str) -> None:
    model = onnx.load(tiny_bundle / name)
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert all(node.domain == "" for node in model.graph.node), "no plugin and no vendor's operator"


def test_dense_inputs_are_the_rulebook_and_any_number_of_words(tiny_bundle: Path) -> None:
    graph = onnx.load(tiny_bundle / DENSE_ONNX).graph
    tables = build_rulebook(np.zeros((1, 3), np.int32), 5).tables()
    assert {value.name for value in graph.input} == {"features", *tables, *WORD_INPUTS}
    for value in graph.input:
        rows, *columns = value.type.tensor_type.shape.dim
        assert rows.dim_param, f"{value.name} must take any number of rows"
        if value.name in tables:
            assert value.type.tensor_type.elem_type == onnx.TensorProto.INT32
            assert columns[0].dim_value == tables[value.name].shape[1]


def test_dense_graph_has_no_negative_index_and_no_scatter(tiny_bundle: Path) -> None:
    operators = {node.op_type for node in onnx.load(tiny_bundle / DENSE_ONNX).graph.node}
    network = {"Add", "Concat", "Gather", "Reshape", "MatMul", "Relu", "ReduceL2", "Max", "Div"}
    assert operators == network | {"Transpose", "TopK", "Equal", "Where", "ReduceMax", "Sub"}


WORDS = ([1], [1, 1], [3, 1, 2], [1] * 50, [2] * 1000, [4095, 1])


@pytest.mark.parametrize("prompts_by_class", WORDS, ids=lambda counts: f"{len(counts)} classes of {sum(counts)} prompts")
@pytest.mark.parametrize("queries", [0, 3])
def test_any_number_of_words_is_scored_by_the_dense_graph(
    bundle: Bundle, prompts_by_class: list[int], queries: int, random_cloud: Callable[..., RawScan]
) -> None:
    rows = np.random.default_rng(len(prompts_by_class)).normal(size=(sum(prompts_by_class) + queries, 32)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    words = Words(rows[queries:], np.cumsum([0, *prompts_by_class[:-1]]), rows[:queries])
    cloud = random_cloud(300)
    voxels = voxelise(cloud.xyz_m, cloud.intensity, bundle.manifest.preprocessing)
    rulebook = build_rulebook(voxels.coordinates, 5)
    executor = DenseExecutor(bundle, "cpu", threads=1)
    expected = words.scores(executor(voxels.features, rulebook))
    features, with_features = executor.features_and_scores(voxels.features, rulebook, words)
    np.testing.assert_array_equal(features, executor(voxels.features, rulebook))
    for answer in (executor.scores(voxels.features, rulebook, words), with_features):
        assert np.array_equal(answer.best, expected.best)
        assert answer.best.dtype == np.int32
        for name in ("score", "margin", "similarity"):
            np.testing.assert_allclose(getattr(answer, name), getattr(expected, name), atol=1e-5)


def test_classes_that_share_a_prompt_tie_to_the_first(bundle: Bundle) -> None:
    golden = bundle.golden()
    voxels = voxelise(golden.xyz_m, golden.intensity, bundle.manifest.preprocessing)
    text = bundle.text.embeddings[[3, 5, 3]]
    words = Words(text, np.arange(3), np.empty((0, text.shape[1]), np.float32))
    answer = DenseExecutor(bundle, "cpu").scores(voxels.features, build_rulebook(voxels.coordinates, 5), words)
    assert set(answer.best.tolist()) == {0, 1}
    np.testing.assert_allclose(answer.margin[answer.best == 0], 0, atol=1e-6)

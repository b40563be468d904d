"""Engines, built for real by TensorRT-RTX ahead of time, which needs no GPU."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnx.utils
import pytest

from export.engine_build import AHEAD_OF_TIME, build_engine, default_target, installed_runtime
from export.onnx_graph import FLOAT, INT64, Graph
from relidar.bundle import DENSE_FP16_ONNX, DENSE_ONNX, Bundle, Precision, open_bundle
from relidar.cuda_device import target_of_device
from relidar.dense_graph import WORD_INPUTS
from relidar.engine_cache import engine_key, plan_fault, preferred_key
from relidar.errors import BackendError, BundleError
from relidar.executor import UNIT_FEATURES
from relidar.trt_executor import EngineExecutor

trt = pytest.importorskip("tensorrt_rtx", reason="the extra `rtx` is not installed")
RUNTIME = "tensorrt-rtx"
PLAN_MAGIC = b"vtrt"


@pytest.fixture(scope="module")
def built(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, dict[str, Path]]:
    """A bundle with engines for two GPU classes."""
    path = tmp_path_factory.mktemp("engines") / "bundle"
    shutil.copytree(tiny_bundle, path)
    bundle = open_bundle(path)
    return bundle, {target: build_engine(bundle, RUNTIME, target)[0] for target in ("sm86", "sm89")}


@pytest.mark.parametrize("target", ["sm86", "sm89"])
def test_plan_is_built(built: tuple[Bundle, dict[str, Path]], target: str) -> None:
    bundle, plans = built
    plan = plans[target].read_bytes()
    assert plan.startswith(PLAN_MAGIC)
    assert len(plan) > (bundle.path / DENSE_ONNX).stat().st_size
    side_car = json.loads(plans[target].with_suffix(".json").read_text())
    assert side_car["key"]["target"] == target
    assert side_car["key"]["version"] == trt.__version__
    assert side_car["plan_bytes"] == len(plan)


def test_targets_have_plans_of_their_own(built: tuple[Bundle, dict[str, Path]]) -> None:
    _, plans = built
    assert plans["sm86"] != plans["sm89"]
    assert plans["sm86"].read_bytes() != plans["sm89"].read_bytes()


def unsupported_nodes(model: bytes) -> set[str]:
    """Names of the nodes that the real parser does not take."""
    log = trt.Logger(trt.Logger.INTERNAL_ERROR)
    network = trt.Builder(log).create_network(0)
    parser = trt.OnnxParser(network, log)
    whole = parser.supports_model_v2(model)
    supported = {
        index for i in range(parser.num_subgraphs) if parser.is_subgraph_supported(i) for index in parser.get_subgraph_nodes(i)
    }
    missing = {node.name for index, node in enumerate(onnx.load_from_string(model).graph.node) if index not in supported}
    assert whole == (not missing)
    return missing


@pytest.mark.parametrize("name", [DENSE_ONNX, DENSE_FP16_ONNX])
def test_the_parser_supports_every_node_of_the_dense_graphs(tiny_bundle: Path, name: str) -> None:
    assert unsupported_nodes((tiny_bundle / name).read_bytes()) == set()


def test_the_parser_refuses_a_node_that_needs_a_plugin() -> None:
    graph = Graph("scatter")
    graph.input("x", FLOAT, ["rows", 4])
    graph.input("target", INT64, ["rows", 1])
    graph.node("Relu", ["x"], "start")
    graph.node("ScatterND", [graph.constant("zero", np.zeros((9, 4), np.float32)), "target", "start"], "y", reduction="add")
    graph.output("y", FLOAT, [9, 4])
    assert "y:ScatterND" in unsupported_nodes(graph.model().SerializeToString())


@pytest.mark.parametrize("target", ["sm86", "sm89", "sm75"])
def test_half_precision_is_built_for_more_targets_and_preferred(
    tiny_bundle: Path, tmp_path: Path, target: str, built: tuple[Bundle, dict[str, Path]]
) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "b")
    bundle = open_bundle(tmp_path / "b")
    assert preferred_key(bundle, RUNTIME, trt.__version__, target).precision == "fp32"
    plan, is_new = build_engine(bundle, RUNTIME, target, "fp16")
    assert is_new
    assert plan.read_bytes().startswith(PLAN_MAGIC)
    side_car = json.loads(plan.with_suffix(".json").read_text())
    assert side_car["key"]["precision"] == "fp16"
    assert side_car["key"]["onnx_sha256"] == bundle.manifest.sha256[DENSE_FP16_ONNX]
    if target in built[1]:
        assert plan.stat().st_size < 0.9 * built[1][target].stat().st_size
    assert preferred_key(bundle, RUNTIME, trt.__version__, target).precision == "fp16"
    plan.write_bytes(plan.read_bytes()[:-1])
    assert preferred_key(bundle, RUNTIME, trt.__version__, target).precision == "fp32"


def test_a_bundle_without_half_precision_says_so(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    hashes = {name: digest for name, digest in bundle.manifest.sha256.items() if name != DENSE_FP16_ONNX}
    older = Bundle(bundle.path, bundle.manifest.model_copy(update={"sha256": hashes}), bundle.text)
    with pytest.raises(BundleError, match=r"no student-fp16\.onnx.*export the bundle again"):
        build_engine(older, RUNTIME, "sm86", "fp16")
    assert preferred_key(older, RUNTIME, "1", "sm86").precision == "fp32"


def test_a_whole_engine_is_kept(built: tuple[Bundle, dict[str, Path]]) -> None:
    bundle, plans = built
    before = plans["sm86"].stat().st_mtime_ns
    assert build_engine(bundle, RUNTIME, "sm86") == (plans["sm86"], False)
    assert plans["sm86"].stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["cut", "changed", "no side-car", "foreign side-car", "nonsense side-car"])
def test_a_damaged_engine_is_rebuilt(built: tuple[Bundle, dict[str, Path]], damage: str) -> None:
    bundle, plans = built
    plan, side_car = plans["sm86"], plans["sm86"].with_suffix(".json")
    whole = plan.read_bytes()
    if damage == "cut":
        plan.write_bytes(whole[: len(whole) // 2])
    elif damage == "changed":
        plan.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif damage == "no side-car":
        side_car.unlink()
    elif damage == "foreign side-car":
        shutil.copy(plans["sm89"].with_suffix(".json"), side_car)
    else:
        side_car.write_text("{")
    key = engine_key(bundle, RUNTIME, trt.__version__, "sm86")
    assert plan_fault(bundle, key)
    assert build_engine(bundle, RUNTIME, "sm86") == (plan, True)
    assert plan_fault(bundle, key) is None
    assert plan.read_bytes().startswith(PLAN_MAGIC)


@pytest.mark.parametrize("target", ["sm99", "sm75", "SM86", "", "none"])
def test_an_unknown_target_is_refused_with_the_known_ones(tiny_bundle: Path, target: str) -> None:
    with pytest.raises(BackendError, match="sm80, sm86, sm89"):
        build_engine(open_bundle(tiny_bundle), RUNTIME, target)
    assert not (tiny_bundle / "engines").exists()


def test_a_graph_that_cannot_be_parsed_names_the_reason(tiny_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, path)
    bundle = open_bundle(path)
    (path / DENSE_ONNX).write_bytes(b"no ONNX")
    with pytest.raises(BackendError, match=r"cannot parse it: .+"):
        build_engine(bundle, RUNTIME, "sm86")
    assert not (path / "engines").exists()


@pytest.mark.parametrize("fault", ["opset", "older export"])
def test_a_graph_that_no_engine_can_be_made_of_is_named_and_the_bundle_stays(
    built: tuple[Bundle, dict[str, Path]], tmp_path: Path, fault: str
) -> None:
    bundle = open_bundle(shutil.copytree(built[0].path, tmp_path / "bundle"))
    before = sorted(path.name for path in (bundle.path / "engines").iterdir())
    model = onnx.load(bundle.path / DENSE_ONNX)
    if fault == "opset":
        model.opset_import[0].version = 99
    else:
        inputs = [value.name for value in model.graph.input if value.name not in WORD_INPUTS]
        model = onnx.utils.Extractor(model).extract_model(inputs, [UNIT_FEATURES])
    onnx.save(model, bundle.path / DENSE_ONNX)
    expected = "of opset 99, expected 17" if fault == "opset" else "does not take the inputs of this version"
    with pytest.raises(BackendError, match=rf"student\.onnx: {expected}.*another version of relidar: export it again"):
        build_engine(bundle, RUNTIME, "sm80")
    assert sorted(path.name for path in (bundle.path / "engines").iterdir()) == before
    assert plan_fault(bundle, engine_key(bundle, RUNTIME, trt.__version__, "sm86")) is None


def test_another_network_capacity_or_version_has_another_key(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    manifest = bundle.manifest
    larger = manifest.capacities[0].model_copy(update={"max": 99_999})
    others = [
        manifest.model_copy(update={"sha256": {**manifest.sha256, DENSE_ONNX: "0" * 64}}),
        manifest.model_copy(update={"capacities": (larger, *manifest.capacities[1:])}),
    ]
    keys = {engine_key(Bundle(bundle.path, m, bundle.text), RUNTIME, "1", "sm86").digest for m in (manifest, *others)}
    keys |= {engine_key(bundle, RUNTIME, "2", "sm86").digest, engine_key(bundle, "tensorrt", "1", "sm86").digest}
    keys |= {engine_key(bundle, RUNTIME, "1", "sm89").digest}
    precisions: tuple[Precision, ...] = ("fp32", "fp16")
    keys |= {engine_key(bundle, RUNTIME, "1", "sm86", precision).digest for precision in precisions}
    assert len(keys) == 7


def has_gpu() -> bool:
    try:
        return bool(target_of_device())
    except BackendError:
        return False


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_without_a_gpu_rtx_builds_ahead_of_time_and_the_executor_says_why_it_cannot_run(tiny_bundle: Path) -> None:
    assert installed_runtime() in ("tensorrt", RUNTIME)
    assert default_target(RUNTIME) == AHEAD_OF_TIME
    with pytest.raises(BackendError, match=r"cuda-bindings cannot be imported|CUDA cannot find a GPU"):
        EngineExecutor(open_bundle(tiny_bundle), RUNTIME)

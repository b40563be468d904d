"""Half precision written into the program and the graph."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from distill.checkpoint import StudentCheckpoint
from export.assemble import RawScan
from export.dense import dense_onnx
from export.half import LARGEST, in_half_precision
from export.program import lower
from relidar.bundle import DENSE_FP16_ONNX, DENSE_ONNX, open_bundle
from relidar.dense_graph import word_inputs
from relidar.errors import BackendError
from relidar.executor import FEATURES, UNIT_FEATURES, self_test
from relidar.onnx_executor import DenseExecutor, PairsExecutor
from relidar.program import Cast, Convolution, Linear, Normalise, Program
from relidar.rulebook import build_rulebook
from relidar.voxels import voxelise
from relidar.words import Words


@pytest.fixture(scope="module")
def program(tiny_checkpoint: StudentCheckpoint) -> Program:
    return lower(tiny_checkpoint.student)


def half_values(program: Program) -> dict[str, bool]:
    """Which values are float16, by the rules of ONNX: a node's inputs are of one type, which is its output's."""
    half = {FEATURES: False}
    for step in program.steps:
        kinds = {half[getattr(step, field)] for field in ("input", "left", "right") if hasattr(step, field)}
        if isinstance(step, Convolution | Linear):
            kinds |= {step.weight.dtype == np.float16, step.bias.dtype == np.float16}
        assert len(kinds) == 1, f"{step.output} mixes precisions"
        half[step.output] = step.half if isinstance(step, Cast) else kinds.pop()
    return half


def test_all_but_input_and_normalisation_is_half(program: Program) -> None:
    halved = in_half_precision(program)
    half = half_values(halved)
    (normalise,) = [step for step in halved.steps if isinstance(step, Normalise)]
    assert {name for name, is_half in half.items() if not is_half} == {FEATURES, normalise.input, UNIT_FEATURES}
    assert sum(isinstance(step, Cast) for step in halved.steps) == 2
    assert half_values(program) == dict.fromkeys(half_values(program), False), "the program itself stays as it was"


@pytest.mark.parametrize("field", ["weight", "bias"])
def test_a_layer_that_does_not_fit_stays_single(program: Program, field: str) -> None:
    steps = list(program.steps)
    index = next(i for i, step in enumerate(steps) if isinstance(step, Convolution) and i > 5)
    large = getattr(steps[index], field).copy()
    large.flat[0] = 2 * LARGEST
    steps[index] = replace(steps[index], **{field: large})
    changed = replace(program, steps=tuple(steps))
    halved = in_half_precision(changed)
    half = half_values(halved)
    assert not half[steps[index].output]
    assert sum(half.values()) > 0.8 * len(half)
    onnx.checker.check_model(dense_onnx(halved), full_check=True)


def run(program: Program, cloud: RawScan, checkpoint: StudentCheckpoint) -> np.ndarray:
    voxels = voxelise(cloud.xyz_m, cloud.intensity, checkpoint.preprocessing)
    tables = build_rulebook(voxels.coordinates, 5).tables()
    session = onnxruntime.InferenceSession(dense_onnx(program).SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs() if value.name in tables]
    words = word_inputs(Words.of_classes(checkpoint.prompt_set.classes, checkpoint.text))
    (answer,) = session.run([UNIT_FEATURES], {FEATURES: voxels.features, **{name: tables[name] for name in names}, **words})
    return answer


@pytest.mark.parametrize("points", [1, 300, 8000])
def test_half_precision_is_near_single(
    program: Program, points: int, tiny_checkpoint: StudentCheckpoint, random_cloud: Callable[..., RawScan]
) -> None:
    cloud = random_cloud(points, seed=points)
    single, half = (run(p, cloud, tiny_checkpoint) for p in (program, in_half_precision(program)))
    assert half.dtype == np.float32
    assert 0 < np.abs(single - half).max() < 1e-2
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, atol=1e-5)


def test_the_graph_has_the_same_inputs_and_output_and_half_the_weights(tiny_bundle: Path) -> None:
    single, half = onnx.load(tiny_bundle / DENSE_ONNX), onnx.load(tiny_bundle / DENSE_FP16_ONNX)
    onnx.checker.check_model(half, full_check=True)
    assert list(single.graph.input) == list(half.graph.input)
    assert list(single.graph.output) == list(half.graph.output)
    assert {node.op_type for node in half.graph.node} - {node.op_type for node in single.graph.node} == {"Cast"}
    assert (tiny_bundle / DENSE_FP16_ONNX).stat().st_size < 0.6 * (tiny_bundle / DENSE_ONNX).stat().st_size


def test_the_golden_scan_has_a_tolerance_for_half_precision(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    half = DenseExecutor(bundle, "cpu", precision="fp16")
    assert half.name == "onnxruntime-cpu-dense-fp16"
    difference = self_test(half, bundle)
    assert bundle.manifest.tolerance < difference < bundle.manifest.tolerance_fp16
    half.precision = "fp32"
    with pytest.raises(BackendError, match="tolerance 1e-04"):
        self_test(half, bundle)
    assert self_test(PairsExecutor(bundle), bundle) < bundle.manifest.tolerance

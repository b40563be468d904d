"""The pairs lowering: occupied slots only, for ONNX Runtime on the CPU.

y = bias; for each kernel offset k: y[target_k] += x[source_k] @ W_k. The rows of one offset's target are distinct, so one
ScatterND(add) an offset is exact and deterministic; one over all offsets would meet a row several times, and ONNX Runtime races.
The centre of a submanifold convolution maps each row to itself and is a plain product.

Inputs: features (V_0, C_in) float32; voxels (L,) int64, V of each level; for each table T of `Rulebook.tables()`
T_source (P,) int32, T_target (P,) int32 and T_count (K,) int64, the pairs of each offset. Output: unit_features (V_0, D) float32.
"""

import numpy as np
import onnx

from export.onnx_graph import FLOAT, INT32, INT64, Graph
from export.row_steps import emit_affine, emit_row_step
from relidar.executor import FEATURES, UNIT_FEATURES
from relidar.program import Convolution, Program, output_level
from relidar.rulebook import SUBMANIFOLD_OFFSETS

CENTRE = SUBMANIFOLD_OFFSETS // 2


def pairs_onnx(program: Program) -> onnx.ModelProto:
    """Lowers a program to the pairs graph."""
    graph = Graph("relidar_pairs")
    graph.input(FEATURES, FLOAT, ["voxels_0", program.in_channels])
    graph.input("voxels", INT64, [program.levels])
    for table, offsets in program.tables.items():
        _split_by_offset(graph, table, offsets)
    for step in program.steps:
        if isinstance(step, Convolution):
            _convolution(graph, step)
        else:
            emit_row_step(graph, step)
    graph.output(UNIT_FEATURES, FLOAT, ["voxels_0", program.feature_width])
    return graph.model()


def _split_by_offset(graph: Graph, table: str, offsets: int) -> None:
    """Rows of each offset, once for all convolutions over the table."""
    pairs = f"{table}_pairs"
    source = graph.input(f"{table}_source", INT32, [pairs])
    target = graph.input(f"{table}_target", INT32, [pairs])
    count = graph.input(f"{table}_count", INT64, [offsets])
    wide = graph.node("Cast", [target], f"{table}_target_int64", to=INT64)  # ScatterND takes no int32
    column = graph.node("Unsqueeze", [wide, graph.constant("axis_1", np.array([1], np.int64))], f"{table}_target_column")
    for whole, name in ((source, "source"), (column, "target")):
        graph.node_with_outputs("Split", [whole, count], [f"{table}_{name}_{k}" for k in range(offsets)], axis=0)


def _convolution(graph: Graph, step: Convolution) -> None:
    offsets, _, outputs = step.weight.shape
    y = f"{step.output}_start"
    others = list(range(offsets))
    if offsets == SUBMANIFOLD_OFFSETS:
        emit_affine(graph, step.input, step.weight[CENTRE], step.bias, y)
        others.remove(CENTRE)
    else:
        level = graph.constant(f"level_{output_level(step.table)}", np.array([output_level(step.table)], np.int64))
        rows = graph.node("Gather", ["voxels", level], f"{step.output}_rows", axis=0)
        channels = graph.constant(f"channels_{outputs}", np.array([outputs], np.int64))
        shape = graph.node("Concat", [rows, channels], f"{step.output}_shape", axis=0)
        graph.node("Expand", [graph.constant(f"{step.output}_bias", step.bias), shape], y)
    for k in others:
        name = f"{step.output}_{k}"
        gathered = graph.node("Gather", [step.input, f"{step.table}_source_{k}"], f"{name}_gathered", axis=0)
        product = graph.node("MatMul", [gathered, graph.constant(f"{name}_weight", step.weight[k])], f"{name}_product")
        y_next = step.output if k == others[-1] else f"{name}_sum"
        graph.node("ScatterND", [y, f"{step.table}_target_{k}", product], y_next, reduction="add")
        y = y_next

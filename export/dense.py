"""The dense lowering: a sparse convolution as Gather and MatMul over every slot, for TensorRT without a plugin.

y[v] = [x[table[v, 0]], ..., x[table[v, K - 1]]] @ W with a zero row for the empty slots. Half or more of the slots are empty, yet
on a GPU one large matrix product runs well, and every node is one that TensorRT and TensorRT-RTX parse.

Inputs: features (V_0, C_in) float32 and the tables of `Rulebook.tables()`, (V_out, K) int32 with -1 = empty.
Output: unit_features (V_0, D) float32. A program in half precision (`export.half`) has the same inputs and output.
"""

import numpy as np
import onnx

from export.onnx_graph import FLOAT, INT32, Graph
from export.program import Convolution, Program
from export.row_steps import emit_affine, emit_row_step
from relidar.executor import FEATURES, UNIT_FEATURES


def dense_onnx(program: Program) -> onnx.ModelProto:
    """Lowers a program to the dense graph."""
    graph = Graph("relidar_dense")
    graph.input(FEATURES, FLOAT, ["voxels_0", program.in_channels])
    for table, offsets in program.tables.items():
        graph.input(table, INT32, [f"voxels_{output_level(table)}", offsets])
        # Row 0 of the padded features is the zero row: -1 becomes 0 and no index is negative.
        graph.node("Add", [table, graph.constant("one", np.array(1, np.int32))], f"{table}_rows")
    padded: dict[str, str] = {}
    for step in program.steps:
        if isinstance(step, Convolution):
            if step.input not in padded:
                padded[step.input] = _pad(graph, step)
            _convolution(graph, step, padded[step.input])
        else:
            emit_row_step(graph, step)
    graph.output(UNIT_FEATURES, FLOAT, ["voxels_0", program.feature_width])
    return graph.model()


def output_level(table: str) -> int:
    """The level of a table's rows: a down table has the next level's."""
    kind, level = table.rsplit("_", 1)
    return int(level) + (kind == "down")


def _pad(graph: Graph, step: Convolution) -> str:
    channels, dtype = step.weight.shape[1], step.weight.dtype
    zero = graph.constant(f"zero_{channels}_{dtype}", np.zeros((1, channels), dtype))
    return graph.node("Concat", [zero, step.input], f"{step.input}_padded", axis=0)


def _convolution(graph: Graph, step: Convolution, padded: str) -> None:
    offsets, inputs, outputs = step.weight.shape
    gathered = graph.node("Gather", [padded, f"{step.table}_rows"], f"{step.output}_gathered", axis=0)
    shape = graph.constant(f"rows_of_{offsets * inputs}", np.array([-1, offsets * inputs], np.int64))
    rows = graph.node("Reshape", [gathered, shape], f"{step.output}_slots")
    emit_affine(graph, rows, step.weight.reshape(-1, outputs), step.bias, step.output)

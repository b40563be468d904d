"""The dense lowering: a sparse convolution as Gather and MatMul over every slot, for TensorRT without a plugin.

y[v] = [x[table[v, 0]], ..., x[table[v, K - 1]]] @ W with a zero row for the empty slots. Half or more of the slots are empty, yet
on a GPU one large matrix product runs well, and every node is one that TensorRT and TensorRT-RTX parse.

Inputs: features (V_0, C_in) float32 and the tables of `Rulebook.tables()`, (V_out, K) int32 with -1 = empty; and the words of
`relidar.dense_graph`, of any number, so that other prompts need no other graph or engine. Outputs: the scores of
`relidar.dense_graph`, and unit_features (V_0, D) float32 for whoever compares; an engine is built without those. A program in
half precision (`export.half`) has the same inputs and outputs.
"""

import numpy as np
import onnx

from export.onnx_graph import FLOAT, FLOAT16, INT32, Graph
from export.row_steps import emit_affine, emit_row_step
from relidar.dense_graph import BEST, CLASS_OF_PROMPT, MARGIN, QUERIES, SCORE, SIMILARITY, TEXT
from relidar.executor import FEATURES, UNIT_FEATURES
from relidar.program import Cast, Convolution, Program, output_level
from relidar.words import LOWEST_COSINE


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
    _scores(graph, program)
    graph.output(UNIT_FEATURES, FLOAT, ["voxels_0", program.feature_width])
    return graph.model()


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


def _scores(graph: Graph, program: Program) -> None:
    """`Words.scores` over all prompts at once: a class's best prompt needs no grouping, and the second-best class is the best
    prompt of any other class."""
    for name, rows in ((TEXT, "prompts"), (QUERIES, "queries")):
        graph.input(name, FLOAT, [rows, program.feature_width])
    graph.input(CLASS_OF_PROMPT, INT32, ["prompts"])
    unit = UNIT_FEATURES
    is_half = any(isinstance(step, Cast) for step in program.steps)
    if is_half:
        # TensorRT-RTX builds no float32 product for Turing.
        unit = graph.node("Cast", [UNIT_FEATURES], f"{UNIT_FEATURES}_half", to=FLOAT16)
    cosine = _cosines(graph, unit, TEXT, "cosine", is_half)
    one, flat = graph.constant("one_prompt", np.array([1], np.int64)), graph.constant("flat", np.array([-1], np.int64))
    top, prompt = graph.node_with_outputs("TopK", [cosine, one], ["top_cosine", "top_prompt"], axis=1)
    best = graph.node("Gather", [CLASS_OF_PROMPT, prompt], "best_column", axis=0)
    is_best = graph.node("Equal", [CLASS_OF_PROMPT, best], "is_best")
    lowest = graph.constant("lowest_cosine", np.array(LOWEST_COSINE, np.float32))
    others = graph.node("Where", [is_best, lowest, cosine], "cosine_of_others")
    second = graph.node("ReduceMax", [others], "second_cosine", axes=[1], keepdims=1)
    lead = graph.node("Sub", [top, second], "lead")
    for column, name, kind in ((best, BEST, INT32), (top, SCORE, FLOAT), (lead, MARGIN, FLOAT)):
        graph.output(graph.node("Reshape", [column, flat], name), kind, ["voxels_0"])
    graph.output(_cosines(graph, unit, QUERIES, SIMILARITY, is_half), FLOAT, ["voxels_0", "queries"])


def _cosines(graph: Graph, unit: str, rows: str, output: str, is_half: bool) -> str:
    """output (V, rows) float32 = unit @ rows^T."""
    if not is_half:
        return graph.node("MatMul", [unit, graph.node("Transpose", [rows], f"{rows}_columns", perm=[1, 0])], output)
    half = graph.node("Cast", [rows], f"{rows}_half", to=FLOAT16)
    columns = graph.node("Transpose", [half], f"{rows}_columns", perm=[1, 0])
    return graph.node("Cast", [graph.node("MatMul", [unit, columns], f"{output}_half")], output, to=FLOAT)

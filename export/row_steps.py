"""The steps that treat each row by itself: both ONNX lowerings write them alike."""

import numpy as np

from export.onnx_graph import FLOAT, FLOAT16, Graph
from relidar.program import SMALLEST_NORM, Add, Cast, Concat, Linear, Normalise, Relu, Weights


def emit_row_step(graph: Graph, step: Linear | Add | Relu | Concat | Normalise | Cast) -> None:
    """Writes one step's nodes."""
    match step:
        case Linear(output, x, weight, bias):
            emit_affine(graph, x, weight, bias, output)
        case Add(output, left, right):
            graph.node("Add", [left, right], output)
        case Relu(output, x):
            graph.node("Relu", [x], output)
        case Concat(output, left, right):
            graph.node("Concat", [left, right], output, axis=1)
        case Cast(output, x, half):
            graph.node("Cast", [x], output, to=FLOAT16 if half else FLOAT)
        case Normalise(output, x):
            norm = graph.node("ReduceL2", [x], f"{output}_norm", axes=[1], keepdims=1)
            smallest = graph.constant("smallest_norm", np.array(SMALLEST_NORM, np.float32))
            divisor = graph.node("Max", [norm, smallest], f"{output}_divisor")
            graph.node("Div", [x, divisor], output)


def emit_affine(graph: Graph, x: str, weight: Weights, bias: Weights, output: str) -> str:
    """output = x @ weight (C_in, C_out) + bias."""
    product = graph.node("MatMul", [x, graph.constant(f"{output}_weight", weight)], f"{output}_product")
    return graph.node("Add", [product, graph.constant(f"{output}_bias", bias)], output)

"""Writes an ONNX graph node by node, each named for what it computes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from relidar.atomic import atomic_file
from relidar.dense_graph import OPSET

IR_VERSION = 8
"""The file format that belongs to opset 17; what `onnx` writes by default is newer than some runtimes read."""

FLOAT = TensorProto.FLOAT
FLOAT16 = TensorProto.FLOAT16
INT32 = TensorProto.INT32
INT64 = TensorProto.INT64


class Graph:
    """An ONNX graph under construction."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def input(self, name: str, element_type: int, shape: Sequence[int | str]) -> str:
        """Declares an input; a string in `shape` names a dynamic dimension."""
        self._inputs.append(helper.make_tensor_value_info(name, element_type, list(shape)))
        return name

    def output(self, name: str, element_type: int, shape: Sequence[int | str]) -> None:
        """Declares a value as an output."""
        self._outputs.append(helper.make_tensor_value_info(name, element_type, list(shape)))

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Adds a constant, or returns the one of this name."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Adds a node with one output; returns the output's name."""
        return self.node_with_outputs(op, inputs, [output], **attributes)[0]

    def node_with_outputs(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> list[str]:
        """Adds a node; returns the outputs' names."""
        self._nodes.append(helper.make_node(op, list(inputs), list(outputs), name=f"{outputs[0]}:{op}", **attributes))
        return list(outputs)

    def model(self) -> onnx.ModelProto:
        """The finished model."""
        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, list(self._constants.values()))
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="relidar")


def write_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Checks the model (types and shapes too) and writes it; raises onnx.checker.ValidationError for a lowering's fault."""
    onnx.checker.check_model(model, full_check=True)
    with atomic_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))

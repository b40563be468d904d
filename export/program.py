"""Lowers a student to a program: its layers in order, batch norm folded into the weights."""

from collections.abc import Generator
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from distill.sparse_conv import SparseConv
from distill.student import LEVELS, ConvBlock, ResidualBlock, Stage, Student
from relidar.errors import CheckpointError
from relidar.executor import FEATURES, UNIT_FEATURES
from relidar.program import Add, Concat, Convolution, Linear, Normalise, Program, Relu, Step, Weights

Layer = TypeVar("Layer", bound=nn.Module)


def lower(student: Student) -> Program:
    """Reads the student's layers into a program; running statistics are folded, so the student counts as in eval mode.

    Raises CheckpointError for a layer that no graph is known for.
    """
    steps = tuple(_Lowering(student.config.architecture).student(student))
    return Program(steps, student.in_channels, student.feature_width, LEVELS)


class _Lowering:
    """Walks the modules as their forward() does; each method yields steps and returns the name of its result."""

    def __init__(self, architecture: str) -> None:
        self._architecture = architecture
        self._values = 0

    def _name(self) -> str:
        self._values += 1
        return f"x{self._values}"

    def _layer(self, module: nn.Module, kind: type[Layer]) -> Layer:
        if not isinstance(module, kind):
            raise self._unknown(f"{type(module).__name__}, expected {kind.__name__}")
        return module

    def _unknown(self, what: str) -> CheckpointError:
        return CheckpointError(
            f"export: {self._architecture} has a layer that no graph is known for ({what}); train one of the architectures of "
            "this version, or use the relidar that wrote the checkpoint."
        )

    def student(self, student: Student) -> "Steps":
        x = yield from self.conv_block(student.stem, FEATURES)
        skips = []
        for down, stage in zip(student.down, student.encoder, strict=True):
            skips.append(x)
            x = yield from self.conv_block(down, x)
            x = yield from self.stage(stage, x)
        for up, stage in zip(student.up, student.decoder, strict=True):
            x = yield from self.conv_block(up, x)
            joined = Concat(self._name(), x, skips.pop())
            yield joined
            x = yield from self.stage(stage, joined.output)
        linear = self._layer(student.head, nn.Linear)
        head = Linear(self._name(), x, _array(linear.weight.T), _array(linear.bias))
        yield head
        yield Normalise(UNIT_FEATURES, head.output)
        return UNIT_FEATURES

    def conv_block(self, module: nn.Module, x: str) -> "Steps":
        block = self._layer(module, ConvBlock)
        x = yield from self.convolution(block.conv, block.norm, x)
        return (yield from self.relu(x))

    def convolution(self, module: nn.Module, norm: nn.Module, x: str) -> "Steps":
        conv, (scale, bias) = self._layer(module, SparseConv), self.fold(norm)
        step = Convolution(self._name(), x, conv.table, _array(conv.weight * scale), _array(bias))
        yield step
        return step.output

    def relu(self, x: str) -> "Steps":
        step = Relu(self._name(), x)
        yield step
        return step.output

    def stage(self, module: nn.Module, x: str) -> "Steps":
        for block in self._layer(module, Stage).blocks:
            x = yield from self.residual_block(block, x)
        return x

    def residual_block(self, module: nn.Module, x: str) -> "Steps":
        block = self._layer(module, ResidualBlock)
        y = yield from self.conv_block(block.first, x)
        y = yield from self.convolution(block.conv, block.norm, y)
        if not isinstance(block.project, nn.Identity):
            project = self._layer(block.project, nn.Sequential)
            if len(project) != 2:
                raise self._unknown(f"a shortcut of {len(project)} layers, expected Linear and BatchNorm1d")
            linear, (scale, bias) = self._layer(project[0], nn.Linear), self.fold(project[1])
            shortcut = Linear(self._name(), x, _array(linear.weight.T * scale), _array(bias))
            yield shortcut
            x = shortcut.output
        total = Add(self._name(), y, x)
        yield total
        return (yield from self.relu(total.output))

    def fold(self, module: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        """Batch norm in eval mode is y = x * scale + bias."""
        norm = self._layer(module, nn.BatchNorm1d)
        if norm.running_mean is None or norm.running_var is None:
            raise self._unknown("BatchNorm1d without running statistics")
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return scale, norm.bias - norm.running_mean * scale


# A method yields steps and returns the name of the value that holds its result.
Steps = Generator[Step, None, str]


def _array(tensor: torch.Tensor) -> Weights:
    return np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype=np.float32)

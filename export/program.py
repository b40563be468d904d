"""Lowers a student to a program: its layers in order, batch norm folded into the weights."""

from collections.abc import Generator

import numpy as np
import torch
from torch import nn

from distill.sparse_conv import SparseConv
from distill.student import LEVELS, ConvBlock, ResidualBlock, Stage, Student
from relidar.executor import FEATURES, UNIT_FEATURES
from relidar.program import Add, Concat, Convolution, Linear, Normalise, Program, Relu, Step, Weights


def lower(student: Student) -> Program:
    """Reads the student's layers into a program; running statistics are folded, so the student counts as in eval mode."""
    steps = tuple(_Lowering().student(student))
    return Program(steps, student.in_channels, student.feature_width, LEVELS)


class _Lowering:
    """Walks the modules as their forward() does; each method yields steps and returns the name of its result."""

    def __init__(self) -> None:
        self._values = 0

    def _name(self) -> str:
        self._values += 1
        return f"x{self._values}"

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
        head = Linear(self._name(), x, _array(student.head.weight.T), _array(student.head.bias))
        yield head
        yield Normalise(UNIT_FEATURES, head.output)
        return UNIT_FEATURES

    def conv_block(self, block: nn.Module, x: str) -> "Steps":
        assert isinstance(block, ConvBlock)  # noqa: S101
        x = yield from self.convolution(block.conv, block.norm, x)
        return (yield from self.relu(x))

    def convolution(self, conv: SparseConv, norm: nn.BatchNorm1d, x: str) -> "Steps":
        scale, bias = _fold(norm)
        step = Convolution(self._name(), x, conv.table, _array(conv.weight * scale), _array(bias))
        yield step
        return step.output

    def relu(self, x: str) -> "Steps":
        step = Relu(self._name(), x)
        yield step
        return step.output

    def stage(self, stage: nn.Module, x: str) -> "Steps":
        assert isinstance(stage, Stage)  # noqa: S101
        for block in stage.blocks:
            x = yield from self.residual_block(block, x)
        return x

    def residual_block(self, block: nn.Module, x: str) -> "Steps":
        assert isinstance(block, ResidualBlock)  # noqa: S101
        y = yield from self.conv_block(block.first, x)
        y = yield from self.convolution(block.conv, block.norm, y)
        if isinstance(block.project, nn.Sequential):
            linear, norm = block.project
            assert isinstance(linear, nn.Linear) and isinstance(norm, nn.BatchNorm1d)  # noqa: S101, PT018
            scale, bias = _fold(norm)
            shortcut = Linear(self._name(), x, _array(linear.weight.T * scale), _array(bias))
            yield shortcut
            x = shortcut.output
        total = Add(self._name(), y, x)
        yield total
        return (yield from self.relu(total.output))


# A method yields steps and returns the name of the value that holds its result.
Steps = Generator[Step, None, str]


def _fold(norm: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Batch norm in eval mode is y = x * scale + bias."""
    assert isinstance(norm, nn.BatchNorm1d) and norm.running_mean is not None and norm.running_var is not None  # noqa: S101, PT018
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def _array(tensor: torch.Tensor) -> Weights:
    return np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype=np.float32)

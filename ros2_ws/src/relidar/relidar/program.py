"""The student as a short list of steps with batch norm folded into the weights: what exports write and `relidar` runs.

Every step writes one named value once (static single assignment), so a lowering is one function per kind of step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32] | NDArray[np.float16]


@dataclass(frozen=True)
class Convolution:
    """output[v] = bias + sum over k of input[table[v, k]] @ weight[k], empty slots counting as zero."""

    output: str
    input: str
    table: str
    """A name of `Rulebook.tables()`."""
    weight: Weights
    """(K, C_in, C_out)"""
    bias: Weights
    """(C_out,)"""


@dataclass(frozen=True)
class Linear:
    """output = input @ weight + bias."""

    output: str
    input: str
    weight: Weights
    """(C_in, C_out)"""
    bias: Weights
    """(C_out,)"""


@dataclass(frozen=True)
class Add:
    """output = left + right."""

    output: str
    left: str
    right: str


@dataclass(frozen=True)
class Relu:
    """output = max(input, 0)."""

    output: str
    input: str


@dataclass(frozen=True)
class Concat:
    """The columns of left, then those of right."""

    output: str
    left: str
    right: str


@dataclass(frozen=True)
class Normalise:
    """output = input / max(|input|, SMALLEST_NORM), row by row."""

    output: str
    input: str


@dataclass(frozen=True)
class Cast:
    """output = input in half precision (float16), or in single precision again."""

    output: str
    input: str
    half: bool


SMALLEST_NORM = 1e-12
"""The eps of torch.nn.functional.normalize."""

Step = Convolution | Linear | Add | Relu | Concat | Normalise | Cast


def inputs_of(step: Step) -> list[str]:
    """The values that a step reads."""
    return [getattr(step, field) for field in ("input", "left", "right") if hasattr(step, field)]


def input_level(table: str) -> int:
    """The level whose rows a table of `Rulebook.tables()` names."""
    kind, level = table.rsplit("_", 1)
    return int(level) + (kind == "up")


def output_level(table: str) -> int:
    """The level whose rows a table has: a down table has the next level's."""
    kind, level = table.rsplit("_", 1)
    return int(level) + (kind == "down")


@dataclass(frozen=True)
class Program:
    """Steps in order; reads FEATURES, the last step writes UNIT_FEATURES."""

    steps: tuple[Step, ...]
    in_channels: int
    feature_width: int
    levels: int
    largest: Mapping[str, float] = field(default_factory=dict)
    """For int8: the value of each activation that its largest step stands for; empty where nothing was measured."""

    @property
    def tables(self) -> dict[str, int]:
        """The tables that the steps read, in order of first use, with their K."""
        return {step.table: len(step.weight) for step in self.steps if isinstance(step, Convolution)}

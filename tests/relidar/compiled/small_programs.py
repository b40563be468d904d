"""Random small programs with every kind of step, and what the steps of any program mean."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from relidar.executor import FEATURES, UNIT_FEATURES
from relidar.program import SMALLEST_NORM, Add, Concat, Convolution, Linear, Normalise, Program, Relu
from relidar.rulebook import Rulebook, build_rulebook
from relidar.words import Words


def random_program(random: np.random.Generator, in_channels: int, widths: Sequence[int], feature_width: int) -> Program:
    """A U-Net of two levels; widths: of the stem, the block below, the way up and the last block."""
    stem, below, up, last = widths

    def convolution(output: str, x: str, table: str, inputs: int, outputs: int) -> Convolution:
        offsets = 27 if table.startswith("submanifold") else 8
        weight = random.normal(size=(offsets, inputs, outputs)) / np.sqrt(inputs)
        return Convolution(output, x, table, weight.astype(np.float32), random.normal(size=outputs).astype(np.float32))

    def linear(output: str, x: str, inputs: int, outputs: int) -> Linear:
        weight = random.normal(size=(inputs, outputs)) / np.sqrt(inputs)
        return Linear(output, x, weight.astype(np.float32), random.normal(size=outputs).astype(np.float32))

    steps = (
        convolution("a0", FEATURES, "submanifold_0", in_channels, stem),
        Relu("a", "a0"),
        convolution("b0", "a", "down_0", stem, stem),
        Relu("b", "b0"),
        convolution("c0", "b", "submanifold_1", stem, below),
        Relu("c", "c0"),
        convolution("d0", "c", "submanifold_1", below, below),
        linear("d1", "b", stem, below),
        Add("d2", "d0", "d1"),
        Relu("d", "d2"),
        convolution("e0", "d", "submanifold_1", below, below),
        Add("e1", "e0", "d"),
        Relu("e", "e1"),
        linear("m0", "e", below, up),
        Relu("m", "m0"),
        convolution("f0", "m", "up_0", up, up),
        Relu("f", "f0"),
        Concat("g", "f", "a"),
        convolution("h0", "g", "submanifold_0", up + stem, last),
        linear("h1", "g", up + stem, last),
        Add("h2", "h1", "h0"),
        Relu("h", "h2"),
        linear("i", "h", last, feature_width),
        Normalise(UNIT_FEATURES, "i"),
    )
    return Program(steps, in_channels, feature_width, levels=2)


def random_scan(random: np.random.Generator, voxels: int, in_channels: int, levels: int = 2) -> tuple[np.ndarray, Rulebook]:
    """Features and tables of so many distinct cells, some alone and some in crowds."""
    side = max(3, round(voxels ** (1 / random.uniform(1.5, 3.5))) + 1)
    spread = np.stack(np.unravel_index(random.permutation(side**3), (side,) * 3), axis=1)[:voxels]
    while len(spread) < voxels:
        spread = np.unique(np.vstack([spread, random.integers(-99, 99, (voxels, 3))]), axis=0)[:voxels]
    features = random.normal(size=(len(spread), in_channels)).astype(np.float32)
    return features, build_rulebook(spread.astype(np.int32), levels)


def interpret(
    program: Program,
    features: np.ndarray,
    rulebook: Rulebook,
    rounded: Callable[[str, np.ndarray], np.ndarray] = lambda name, value: value,
) -> np.ndarray:
    """What the steps mean, in float64 and without any trick; `rounded` changes values by their name."""
    tables = rulebook.tables()
    values = {FEATURES: features.astype(np.float64)}
    for step in program.steps:
        match step:
            case Convolution(output, x, table, weight, bias):
                padded = np.vstack([values[x], np.zeros((1, weight.shape[1]))])  # index -1 is the last row
                values[output] = np.einsum("vki,kio->vo", padded[tables[table]], weight) + bias
            case Linear(output, x, weight, bias):
                values[output] = values[x] @ weight + bias
            case Add(output, left, right):
                values[output] = values[left] + values[right]
            case Relu(output, x):
                values[output] = np.maximum(values[x], 0)
            case Concat(output, left, right):
                values[output] = np.hstack([values[left], values[right]])
            case Normalise(output, x):
                values[output] = values[x] / np.maximum(np.linalg.norm(values[x], axis=1, keepdims=True), SMALLEST_NORM)
        values[step.output] = rounded(step.output, values[step.output])
    return values[UNIT_FEATURES]


def interpret_int8(program: Program, features: np.ndarray, rulebook: Rulebook) -> np.ndarray:
    """As `interpret`, with whole steps for the activations and weights that int8 has steps for."""
    head = next(step for step in program.steps if step.output == "i")
    step_of = {name: np.float64(largest) / 255 for name, largest in program.largest.items() if name != head.input}
    channel_steps = {}
    steps = []
    for step in program.steps:
        match step:
            case Concat(output, left, right):
                channel_steps[output] = np.concatenate([channel_steps[left], channel_steps[right]])
            case Convolution(_, x, _, weight, _) | Linear(_, x, weight, _) if x in channel_steps:
                scaled = weight * channel_steps[x][:, None]
                weight_step = np.abs(scaled).max(axis=tuple(range(weight.ndim - 1))) / 63
                steps.append(replace(step, weight=np.round(scaled / weight_step) * weight_step / channel_steps[x][:, None]))
                continue
            case Relu(output, _) if output in step_of:
                width = len(next(s.bias for s in reversed(steps) if isinstance(s, Convolution | Linear)))
                channel_steps[output] = np.full(width, step_of[output])
        steps.append(step)

    def rounded(name: str, value: np.ndarray) -> np.ndarray:
        return np.minimum(np.floor(value / step_of[name] + 0.5), 255) * step_of[name] if name in step_of else value

    return interpret(replace(program, steps=tuple(steps)), features, rulebook, rounded)


def random_words(random: np.random.Generator, prompts: int, queries: int, width: int) -> Words:
    """Words of unit length for so many prompts of some classes, and queries."""
    rows = random.normal(size=(prompts + queries, width)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    starts = np.flatnonzero(random.uniform(size=prompts) < 0.6)
    return Words(rows[:prompts], np.unique(np.append(0, starts)).astype(np.int64), rows[prompts:])


def small(seed: int = 0, feature_width: int = 20) -> tuple[Program, list[tuple[np.ndarray, Rulebook]]]:
    """A program of small layers and scans of several sizes for it."""
    random = np.random.default_rng(seed)
    program = random_program(random, 2, (24, 40, 17, 33), feature_width)
    return program, [random_scan(random, voxels, 2) for voxels in (300, 1, 900, 20, 901, 300)]

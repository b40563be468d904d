"""A program as a file: its steps as JSON in the metadata of a safetensors file, its weights as the tensors.

The file may come from anywhere: every name, table and shape is checked on reading, so that whoever runs the program need not.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from relidar.atomic import atomic_file
from relidar.errors import BundleError
from relidar.executor import FEATURES, UNIT_FEATURES
from relidar.program import Add, Concat, Convolution, Linear, Normalise, Program, Relu, Step, inputs_of
from relidar.rulebook import STRIDED_OFFSETS, SUBMANIFOLD_OFFSETS

FORMAT = "relidar program 1"
KINDS: dict[str, type[Step]] = {kind.__name__: kind for kind in (Convolution, Linear, Add, Relu, Concat, Normalise)}
MOST_CHANNELS = 65536
MOST_LEVELS = 16
HINT = "export the bundle again from its checkpoint"


def save_program(program: Program, path: Path) -> None:
    """Writes a program in single precision; raises BundleError for one that `load_program` would refuse."""
    tensors: dict[str, NDArray[np.float32]] = {}
    steps: list[dict[str, str]] = []
    for index, step in enumerate(program.steps):
        names = {}
        for field in dataclasses.fields(step):
            value = getattr(step, field.name)
            if isinstance(value, str):
                names[field.name] = value
            else:
                tensors[f"{index}.{field.name}"] = np.ascontiguousarray(value, dtype=np.float32)
        steps.append({"kind": type(step).__name__, **names})
    check_program(program, str(path))
    sizes = {name: getattr(program, name) for name in ("in_channels", "feature_width", "levels")}
    content = {**sizes, "largest": dict(program.largest), "steps": steps}
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, {"format": FORMAT, "program": json.dumps(content)})


def load_program(path: Path) -> Program:
    """Reads and checks a program; raises BundleError naming the file, the step and what to do."""
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
        if metadata.get("format") != FORMAT:
            raise BundleError(f"{path}: format {metadata.get('format')!r}, this relidar reads {FORMAT!r}; {HINT}.")
        content = json.loads(metadata["program"])
        steps = tuple(_step(index, entry, tensors) for index, entry in enumerate(content["steps"]))
        in_channels, feature_width, levels = (int(content[name]) for name in ("in_channels", "feature_width", "levels"))
        largest = {str(name): float(value) for name, value in content.get("largest", {}).items()}
        program = Program(steps, in_channels, feature_width, levels, largest)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(f"{path}: not a program ({type(error).__name__}: {error}); {HINT}.") from error
    check_program(program, str(path))
    return program


def _step(index: int, entry: Mapping[str, str], tensors: Mapping[str, NDArray[Any]]) -> Step:
    kind = KINDS[entry["kind"]]
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        values[field.name] = tensors[f"{index}.{field.name}"] if field.name in ("weight", "bias") else str(entry[field.name])
    return kind(**values)


def check_program(program: Program, where: str) -> None:
    """Raises BundleError unless every step reads values that are there, of rows and widths that fit, and writes a new one."""
    if not 1 <= program.levels <= MOST_LEVELS or not 1 <= program.in_channels <= MOST_CHANNELS:
        raise BundleError(f"{where}: {program.levels} levels, {program.in_channels} channels; {HINT}.")
    known = {FEATURES: (0, program.in_channels)}  # level and channels of each value
    for index, step in enumerate(program.steps):
        problem = f"writes {step.output!r} a second time" if step.output in known else _add_result(step, known, program.levels)
        if problem:
            raise BundleError(f"{where}: step {index}, {type(step).__name__}, {problem}; {HINT}.")
    if not program.steps or program.steps[-1].output != UNIT_FEATURES or known[UNIT_FEATURES] != (0, program.feature_width):
        raise BundleError(f"{where}: does not end with {UNIT_FEATURES} of {program.feature_width} channels; {HINT}.")
    activations = {step.output for step in program.steps if isinstance(step, Relu)}
    for name, value in program.largest.items():
        if name not in activations or not 0 < value < np.inf:
            raise BundleError(f"{where}: the calibration says {value} of {name!r}, expected a positive number of a ReLU; {HINT}.")


def _add_result(step: Step, known: dict[str, tuple[int, int]], levels: int) -> str:
    """Adds level and channels of what a step writes; returns what is wrong with it, if anything is."""
    inputs = inputs_of(step)
    missing = [name for name in inputs if name not in known]
    if missing:
        return f"reads {missing[0]!r}, which no earlier step writes"
    level, channels = known[inputs[0]]
    match step:
        case Convolution(_, x, table, weight, bias):
            kind, _, number = table.rpartition("_")
            if kind not in ("submanifold", "down", "up") or number not in map(str, range(levels - (kind != "submanifold"))):
                return f"uses the table {table!r}, which a pyramid of {levels} levels has not"
            if level != int(number) + (kind == "up"):
                return f"reads {x!r} of level {level} through {table!r}"
            known[step.output] = (int(number) + (kind == "down"), bias.size)
            return _problem_of(weight, bias, (SUBMANIFOLD_OFFSETS if kind == "submanifold" else STRIDED_OFFSETS, channels))
        case Linear(_, _, weight, bias):
            known[step.output] = (level, bias.size)
            return _problem_of(weight, bias, (channels,))
        case Add(_, left, right) | Concat(_, left, right):
            other_level, other_channels = known[right]
            if level != other_level or (isinstance(step, Add) and channels != other_channels):
                return f"joins {known[left]} and {known[right]} (level, channels)"
            known[step.output] = (level, channels + (0 if isinstance(step, Add) else other_channels))
        case _:
            known[step.output] = (level, channels)
    return ""


def _problem_of(weight: NDArray[Any], bias: NDArray[Any], shape: tuple[int, ...]) -> str:
    if bias.ndim != 1 or not 1 <= len(bias) <= MOST_CHANNELS or weight.shape != (*shape, len(bias)):
        return f"has weights {weight.shape} and bias {bias.shape}, expected {(*shape, 'C_out')} and ('C_out',)"
    for values in (weight, bias):
        if values.dtype != np.float32 or not np.isfinite(values).all():
            return f"has weights of type {values.dtype} or not finite, expected finite float32"
    return ""

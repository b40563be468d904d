"""A program in half precision: float16 weights and values, with casts where a step needs float32.

TensorRT 11 and TensorRT-RTX take the precision from the graph and from nowhere else, so it is written into it. Kept in float32:
- the normalisation: its smallest norm is 0 in float16, and squares of large values overflow;
- a layer with a weight that float16 cannot hold.
Keeping the stem or the head in float32 as well gains a tenth of an error that is far below the tolerance, and TensorRT-RTX builds
no float32 product for Turing (SM75).
"""

from dataclasses import replace
from typing import Any

import numpy as np

from relidar.executor import FEATURES
from relidar.program import Cast, Convolution, Linear, Normalise, Program, Step, Weights

LARGEST = float(np.finfo(np.float16).max)


def in_half_precision(program: Program) -> Program:
    """The same program in half precision; features in and unit features out stay float32."""
    steps: list[Step] = []
    half: dict[str, bool] = {FEATURES: False}
    for step in program.steps:
        wanted = _may_be_half(step)
        changes: dict[str, Any] = {}
        for field in ("input", "left", "right"):
            name = getattr(step, field, None)
            if name is None or half[name] == wanted:
                continue
            cast = f"{name}_{'half' if wanted else 'single'}"
            if cast not in half:
                steps.append(Cast(cast, name, wanted))
                half[cast] = wanted
            changes[field] = cast
        if wanted and isinstance(step, Convolution | Linear):
            changes |= {"weight": step.weight.astype(np.float16), "bias": step.bias.astype(np.float16)}
        steps.append(replace(step, **changes))
        half[step.output] = wanted
    return replace(program, steps=tuple(steps))


def _may_be_half(step: Step) -> bool:
    if isinstance(step, Convolution | Linear):
        return _fits(step.weight) and _fits(step.bias)
    return not isinstance(step, Normalise)


def _fits(weights: Weights) -> bool:
    return bool(np.abs(weights).max() <= LARGEST)

"""What a network's activations are like on scans: how large they become, and how much they go together."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relidar.errors import CloudError
from relidar.executor import FEATURES
from relidar.program import SMALLEST_NORM, Add, Concat, Convolution, Linear, Normalise, Program, Relu, Step
from relidar.rulebook import Rulebook

Input = tuple[NDArray[np.float32], Rulebook]
"""Features (V, C_in) and the tables of the same voxels."""

QUANTILE = 0.99999
"""The rare values above it are cut off, so that the steps of all others are finer."""
SMALLEST_RANGE = 1e-6
"""Of an activation that never fires: it still needs a step."""


@dataclass(frozen=True)
class Calibration:
    """What was measured over all voxels of all scans."""

    scans: int
    largest: dict[str, float]
    """Of each ReLU's output, the mean over the scans of each scan's quantile, weighted by voxels."""
    moments: dict[str, NDArray[np.float64]]
    """(C, C) of each value that a convolution or linear layer reads: the mean of x x^T over its rows x."""


def calibrate(program: Program, scans: Iterable[Input]) -> Calibration:
    """Runs scans through a network; raises CloudError where there are none."""
    quantiles: dict[str, list[float]] = defaultdict(list)
    voxels: list[int] = []
    sums: dict[str, NDArray[np.float64]] = {}
    rows: dict[str, int] = defaultdict(int)
    read = {step.input for step in program.steps if isinstance(step, Convolution | Linear)}
    for features, rulebook in scans:
        voxels.append(len(features))
        for step, values in values_of(program, features, rulebook):
            if isinstance(step, Relu):
                quantiles[step.output].append(float(np.quantile(values, QUANTILE)))
            if step.output in read:
                sums[step.output] = sums.get(step.output, 0.0) + (values.T @ values).astype(np.float64)
                rows[step.output] += len(values)
    if not voxels:
        raise CloudError("quantise: no scans; give scans of the vehicle's sensor.")
    largest = {name: max(float(np.average(each, weights=voxels)), SMALLEST_RANGE) for name, each in quantiles.items()}
    return Calibration(len(voxels), largest, {name: total / rows[name] for name, total in sums.items()})


def values_of(program: Program, features: NDArray[np.float32], rulebook: Rulebook) -> Iterator[tuple[Step, NDArray[np.float32]]]:
    """Each step and the rows (V of its level, C) that it writes, in order."""
    values = {FEATURES: features}
    for step in program.steps:
        match step:
            case Convolution(output, x, table, weight, bias):
                pairs = rulebook.pairs[table]
                total = np.tile(bias, (len(rulebook.tables()[table]), 1)).astype(np.float32)
                for offset, (start, end) in enumerate(zip(pairs.splits, pairs.splits[1:], strict=False)):
                    # The targets of one offset are distinct, so no sum is lost.
                    total[pairs.target[start:end]] += values[x][pairs.source[start:end]] @ weight[offset]
                values[output] = total
            case Linear(output, x, weight, bias):
                values[output] = values[x] @ weight + bias
            case Add(output, left, right):
                values[output] = values[left] + values[right]
            case Concat(output, left, right):
                values[output] = np.hstack([values[left], values[right]])
            case Normalise(output, x):
                values[output] = values[x] / np.maximum(np.linalg.norm(values[x], axis=1, keepdims=True), SMALLEST_NORM)
            case Relu(output, x):
                values[output] = np.maximum(values[x], 0)
        yield step, values[step.output]

"""The weights of int8, in whole steps whose errors cancel in the products.

To round each weight to its nearest step is not the best: activations follow a ReLU, so they are positive and rise and fall
together, and the small errors of many channels add up. As in GPTQ (Frantar et al. 2022, arXiv:2210.17323) one input channel after
the other is rounded, and the channels still to come make up for its error as far as the second moment H of the activations lets
them: what becomes small is the expected square of x (weight - rounded), which is (weight - rounded)^T H (weight - rounded). Each
kernel offset is rounded by itself, since it changes from voxel to voxel which neighbours there are.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from export.calibration import Calibration
from relidar.compiled.kernel import LARGEST_WEIGHT
from relidar.compiled.weights import activation_steps
from relidar.executor import FEATURES
from relidar.program import Concat, Convolution, Linear, Program, Relu, Step, Weights, inputs_of

DAMPING = 0.01
"""Share of the mean second moment that every channel gets on top, so that one that never fires does no harm."""


def in_whole_steps(program: Program, calibration: Calibration) -> Program:
    """The program with what was measured, and with weights in whole steps wherever it then runs in int8.

    The layers that read the raw features or make the answer stay as they are, since `relidar.compiled.plan` runs those in single
    precision; so do layers after an activation without a ReLU, which has no steps.
    """
    head = next(step for step in reversed(program.steps) if isinstance(step, Convolution | Linear))
    widths = {FEATURES: program.in_channels}
    steps_of: dict[str, NDArray[np.float32]] = {}
    steps: list[Step] = []
    for step in program.steps:
        match step:
            case Convolution(output, x, _, weight, bias) | Linear(output, x, weight, bias):
                widths[output] = len(bias)
                if x in steps_of and step is not head:
                    step = replace(step, weight=rounded(weight, calibration.moments[x], steps_of[x]))
            case Concat(output, left, right):
                widths[output] = widths[left] + widths[right]
                if left in steps_of and right in steps_of:
                    steps_of[output] = np.concatenate([steps_of[left], steps_of[right]])
            case _:
                widths[step.output] = widths[inputs_of(step)[0]]
                if isinstance(step, Relu):
                    steps_of[step.output] = activation_steps(calibration.largest[step.output], widths[step.output])
        steps.append(step)
    return replace(program, steps=tuple(steps), largest=calibration.largest)


def rounded(weight: Weights, moment: NDArray[np.float64], activation_step: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights of which `relidar.compiled.weights.pack_int8` rounds none.

    Args:
        weight: (..., C_in, C_out).
        moment: (C_in, C_in) mean of x x^T over the rows x that are multiplied.
        activation_step: (C_in,) what one step of each input channel stands for.
    """
    unit = activation_step.astype(np.float64)
    left = weight.reshape(-1, *weight.shape[-2:]) * unit[:, None]  # what is still to be rounded, in steps of activations
    weight_step = np.abs(left).max(axis=(0, 1)) / LARGEST_WEIGHT
    weight_step[weight_step == 0] = 1
    share = _shares(moment / np.outer(unit, unit))
    whole = np.empty_like(left)
    for channel in range(len(unit)):
        whole[:, channel] = np.clip(np.round(left[:, channel] / weight_step), -LARGEST_WEIGHT, LARGEST_WEIGHT)
        error = left[:, channel] - whole[:, channel] * weight_step
        left[:, channel + 1 :] -= share[channel, channel + 1 :, None] * error[:, None]
    _reach_the_largest(whole)
    values: NDArray[np.float32] = (whole * weight_step / unit[:, None]).astype(np.float32).reshape(weight.shape)
    return values


def _shares(moment: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C_in, C_in): for an error of 1 in row's channel, each channel to its right gives so much of its own weight."""
    damped = moment + (DAMPING * np.trace(moment) / len(moment) or 1.0) * np.eye(len(moment))
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    shares: NDArray[np.float64] = upper / np.diag(upper)[:, None]
    return shares


def _reach_the_largest(whole: NDArray[np.float64]) -> None:
    """Every column's largest weight defines its step, so one has to be of LARGEST_WEIGHT steps; whole: (K, C_in, C_out)."""
    columns = whole.reshape(-1, whole.shape[-1])
    largest = np.abs(columns).argmax(axis=0), np.arange(columns.shape[1])
    columns[largest] = LARGEST_WEIGHT * np.sign(columns[largest])

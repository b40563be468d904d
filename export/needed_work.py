"""How much arithmetic a scan needs: the matrix products over occupied pairs, which no executor can do without."""

import numpy as np

from relidar.executor import FEATURES
from relidar.program import Convolution, Linear, Program, inputs_of
from relidar.rulebook import Rulebook


def gflop(program: Program, rulebook: Rulebook) -> float:
    """10^9 floating-point operations of a scan's matrix products over the occupied pairs only, a multiply-add being two."""
    rows = {FEATURES: rulebook.voxels[0]}
    total = 0
    for step in program.steps:
        source = inputs_of(step)[0]
        rows[step.output] = rows[source]
        if isinstance(step, Convolution):
            table = rulebook.tables()[step.table]
            rows[step.output] = len(table)
            total += 2 * int(np.count_nonzero(table >= 0)) * step.weight.shape[1] * step.weight.shape[2]
        elif isinstance(step, Linear):
            total += 2 * rows[source] * step.weight.size
    return total / 1e9

"""Weights in whole steps: what int8 runs, and that they are better than each rounded by itself."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from export.calibration import calibrate
from export.whole_steps import in_whole_steps, rounded
from relidar.compiled.places import Place
from relidar.compiled.weights import pack_int8
from relidar.program import Convolution, Linear
from tests.relidar.compiled.small_programs import random_program, random_scan


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), offsets=st.integers(1, 3), inputs=st.integers(1, 20), outputs=st.integers(1, 20))
def test_the_packer_rounds_none_of_them(seed: int, offsets: int, inputs: int, outputs: int) -> None:
    random = np.random.default_rng(seed)
    weight = (random.normal(size=(offsets, inputs, outputs)) * random.choice([0.01, 1, 30], outputs)).astype(np.float32)
    weight[:, :, : random.integers(0, 2)] = 0
    rows = np.maximum(random.normal(size=(9, inputs)), 0)
    unit = random.choice([1e-3, 0.1], inputs).astype(np.float32)
    whole = rounded(weight, rows.T @ rows / 9, unit)
    packed, scale = pack_int8(whole, Place(0, 0, 0, np.arange(inputs)), unit)
    unpacked = packed.transpose(0, 2, 4, 1, 3).reshape(offsets, -1, len(scale)).astype(np.float64) * scale
    np.testing.assert_allclose(unpacked[:, :inputs, :outputs], whole * unit[:, None], rtol=1e-5)
    # The steps are those that rounding each weight by itself would take.
    largest = np.abs(weight * unit[:, None]).max(axis=(0, 1))
    np.testing.assert_allclose(np.abs(whole * unit[:, None]).max(axis=(0, 1)), largest, rtol=1e-5)


def test_errors_cancel_where_activations_go_together() -> None:
    random = np.random.default_rng(0)
    few, own = np.abs(random.normal(size=(500, 4))), np.abs(random.normal(size=(500, 32)))
    rows = few @ np.abs(random.normal(size=(4, 32))) + 0.1 * own
    weight = random.normal(size=(27, 32, 16)).astype(np.float32)
    unit = np.full(32, rows.max() / 255, np.float32)
    step = np.abs(weight).max(axis=(0, 1)) / 63
    nearest = np.round(weight / step) * step
    whole = rounded(weight, rows.T @ rows / len(rows), unit)
    errors = [np.square(rows @ (other - weight)).mean() for other in (whole, nearest)]
    assert errors[0] < 0.25 * errors[1]


def test_the_layers_of_single_precision_stay_as_they_are() -> None:
    random = np.random.default_rng(0)
    program = random_program(random, 2, (5, 6, 7, 8), 9)
    measured = calibrate(program, [random_scan(random, 60, 2)])
    whole = in_whole_steps(program, measured)
    assert whole.largest == measured.largest
    same = {
        step.output
        for step, other in zip(program.steps, whole.steps, strict=True)
        if isinstance(step, Convolution | Linear) and isinstance(other, type(step)) and np.array_equal(step.weight, other.weight)
    }
    assert same == {"a0", "i"}  # the first and the last

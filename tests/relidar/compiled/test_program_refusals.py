"""Networks and scans that a compiled program does not take."""

from dataclasses import replace

import numpy as np
import pytest

from relidar.compiled.program import CompiledProgram
from relidar.errors import BackendError, BundleError
from relidar.executor import FEATURES, UNIT_FEATURES
from relidar.program import Add, Cast, Concat, Convolution, Linear, Normalise, Relu, Step
from tests.relidar.compiled.small_programs import random_scan, random_words, small


def test_a_row_that_does_not_exist_is_told() -> None:
    program, scans = small()
    features, rulebook = scans[0]
    table = rulebook.submanifold[1].copy()
    table[3, 5] = len(table)
    with pytest.raises(BackendError, match="1 entries of the rulebook name rows that do not exist"):
        CompiledProgram(program, 2)(features, replace(rulebook, submanifold=(rulebook.submanifold[0], table)))


def test_a_scan_that_does_not_fit_is_refused() -> None:
    program, scans = small()
    features, rulebook = scans[0]
    compiled = CompiledProgram(program, 1)
    with pytest.raises(BackendError, match=r"features \(300, 3\), expected \(300, 2\)"):
        compiled(np.zeros((300, 3), np.float32), rulebook)
    with pytest.raises(BackendError, match=r"features \(299, 2\)"):
        compiled(features[1:], rulebook)
    with pytest.raises(BackendError, match="rulebook of 3 levels, the network has 2"):
        compiled(*random_scan(np.random.default_rng(0), 9, 2, levels=3))
    wide = (rulebook.submanifold[0].astype(np.int64), rulebook.submanifold[1])
    with pytest.raises(BackendError, match=r"submanifold_0 \(300, 27\) int64"):
        compiled(features, replace(rulebook, submanifold=wide))
    with pytest.raises(BackendError, match="words 21 wide, features 20"):
        compiled.scores(features, rulebook, random_words(np.random.default_rng(0), 3, 0, 21))


def test_a_level_without_voxels_is_refused() -> None:
    program, scans = small()
    features, rulebook = scans[0]
    empty = replace(
        rulebook,
        submanifold=(rulebook.submanifold[0], rulebook.submanifold[1][:0]),
        down=(rulebook.down[0][:0],),
    )
    with pytest.raises(BackendError, match=r"levels of \(300, 0\) voxels, expected at least one each"):
        CompiledProgram(program, 1)(features, empty)


def linear(output: str, inputs: int, outputs: int, x: str) -> Linear:
    return Linear(output, x, np.ones((inputs, outputs), np.float32), np.zeros(outputs, np.float32))


def unit_rows() -> tuple[Step, ...]:
    return linear("wide", 24, 20, "a"), Normalise("early", "wide")


def two_halves() -> tuple[Step, ...]:
    return linear("left", 24, 24, "a"), linear("right", 24, 24, "a"), Concat("pair", "left", "right")


def sum_with(name: str, residual: str, channels: int) -> tuple[Step, ...]:
    convolution = Convolution(
        "as wide", "a", "submanifold_0", np.ones((27, 24, channels), np.float32), np.zeros(channels, np.float32)
    )
    return convolution, Add(f"sum with {name}", "as wide", residual)


@pytest.mark.parametrize(
    "steps",
    [
        lambda steps: (*steps[:2], Cast("half", "a", True), *steps[2:]),
        lambda steps: (*steps[:2], Relu("again", "a"), *steps[2:]),
        lambda steps: (*steps[:2], Add("sum", "a", "a"), *steps[2:]),
        lambda steps: (*steps[:1], Concat("pair", FEATURES, "a0"), *steps[1:]),
        lambda steps: (*steps[:-2], replace(steps[-2], output=UNIT_FEATURES)),
        lambda steps: (*steps[:2], Normalise("unit", "a"), *steps[2:]),
        lambda steps: (*steps[:2], *unit_rows(), *steps[2:]),
        lambda steps: (*steps[:2], *sum_with("input", FEATURES, 2), *steps[2:]),
        lambda steps: (*steps[:2], *two_halves(), *sum_with("pair", "pair", 48), *steps[2:]),
        lambda steps: (
            *steps[:-2],
            replace(steps[-2], output="j"),
            linear("k", 33, 20, "h"),
            Add("l", "j", "k"),
            Normalise(UNIT_FEATURES, "l"),
        ),
    ],
)
def test_a_network_of_another_form_is_refused(steps: object) -> None:
    program, _ = small()
    with pytest.raises(BackendError, match="take another backend"):
        CompiledProgram(replace(program, steps=steps(program.steps)), 1)  # type: ignore[operator]


def test_steps_that_do_not_fit_together_are_refused() -> None:
    program, _ = small()
    with pytest.raises(BundleError, match="compiled-cpu: does not end with unit_features"):
        CompiledProgram(replace(program, steps=program.steps[:-1]), 1)


def test_int8_needs_a_calibration() -> None:
    program, _ = small()
    with pytest.raises(BackendError, match=r"not calibrated; run `python -m export.quantise`"):
        CompiledProgram(program, 1, "int8")
    with pytest.raises(BackendError, match="inputs of both kinds"):
        CompiledProgram(replace(program, largest={"a": 1.0}), 1, "int8")

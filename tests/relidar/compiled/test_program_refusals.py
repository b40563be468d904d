"""Networks and scans that a compiled program does not take."""

import re
from collections.abc import Callable
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


def head_of_two(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The head's rows are of a sum."""
    sums = linear("k", 33, 20, "h"), Add("l", "j", "k"), Normalise(UNIT_FEATURES, "l")
    return *steps[:-2], replace(steps[-2], output="j"), *sums


def three_summands() -> tuple[Step, ...]:
    return *sum_with("left", "a", 24), Add("sum of three", "sum with left", "a")


def sum_with(name: str, residual: str, channels: int) -> tuple[Step, ...]:
    convolution = Convolution(
        "as wide", "a", "submanifold_0", np.ones((27, 24, channels), np.float32), np.zeros(channels, np.float32)
    )
    return convolution, Add(f"sum with {name}", "as wide", residual)


NOT_BY_ITSELF = "{} does not follow a product of its own, which this executor cannot run"
IN_TWO = "a value is part of two concatenations"


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ((Cast("half", "a", True),), "no Cast in this executor"),
        ((Relu("again", "a"),), NOT_BY_ITSELF.format("Relu 'again'")),
        ((Add("sum", "a", "a"),), NOT_BY_ITSELF.format("Add 'sum'")),
        ((Normalise("unit", "a"),), NOT_BY_ITSELF.format("Normalise 'unit'")),
        (three_summands(), "'sum of three' adds more than two values"),
        (unit_rows(), "'early' has unit rows before the end"),
        (sum_with("input", FEATURES, 2), "'sum with input' adds 'features', no product's"),
        ((*two_halves(), *sum_with("pair", "pair", 48)), "'sum with pair' adds 'pair', no product's"),
        ((linear("left", 24, 24, "a"), Concat("pair", FEATURES, "left")), IN_TWO),
        ((linear("left", 24, 24, "a"), Concat("pair", "left", "a")), IN_TWO),  # as `a` is of "g"
        ((*two_halves(), linear("third", 24, 24, "a"), Concat("three", "pair", "third")), IN_TWO),
    ],
)
def test_a_network_of_another_form_is_refused(added: tuple[Step, ...], said: str) -> None:
    program, _ = small()
    steps = *program.steps[:2], *added, *program.steps[2:]
    with pytest.raises(BackendError, match=f"^compiled-cpu: {re.escape(said)}; take another backend.$"):
        CompiledProgram(replace(program, steps=steps), 1)


@pytest.mark.parametrize(
    "changed", [lambda steps: (*steps[:-2], replace(steps[-2], output=UNIT_FEATURES)), head_of_two], ids=["no unit rows", "a sum"]
)
def test_a_network_with_another_head_is_refused(changed: Callable[[tuple[Step, ...]], tuple[Step, ...]]) -> None:
    program, _ = small()
    with pytest.raises(BackendError, match="does not end with a linear head of unit rows; take another backend"):
        CompiledProgram(replace(program, steps=changed(program.steps)), 1)


def test_steps_that_do_not_fit_together_are_refused() -> None:
    program, _ = small()
    with pytest.raises(BundleError, match="compiled-cpu: does not end with unit_features"):
        CompiledProgram(replace(program, steps=program.steps[:-1]), 1)


def test_int8_needs_a_calibration() -> None:
    program, _ = small()
    with pytest.raises(BackendError, match=r"not calibrated; run `python -m export\.quantise BUNDLE --scans FOLDER`"):
        CompiledProgram(program, 1, "int8")
    with pytest.raises(BackendError, match="inputs of both kinds"):
        CompiledProgram(replace(program, largest={"a": 1.0}), 1, "int8")

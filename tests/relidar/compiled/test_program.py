"""The compiled executor against naive loops and PyTorch."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.student import Architecture, Student, StudentConfig
from distill.torch_executor import TorchExecutor
from export.program import lower
from export.quantise import calibrated
from relidar.compiled.program import CompiledProgram
from relidar.errors import BackendError, BundleError
from relidar.executor import FEATURES, UNIT_FEATURES
from relidar.program import Add, Cast, Concat, Convolution, Linear, Normalise, Program, Relu, Step
from relidar.rulebook import Rulebook
from relidar.words import Words
from tests.relidar.compiled.small_programs import interpret, interpret_int8, random_program, random_scan

WIDTH = st.integers(1, 40)


def random_words(random: np.random.Generator, prompts: int, queries: int, width: int) -> Words:
    rows = random.normal(size=(prompts + queries, width)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    starts = np.flatnonzero(random.uniform(size=prompts) < 0.6)
    return Words(rows[:prompts], np.unique(np.append(0, starts)).astype(np.int64), rows[prompts:])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 200), st.tuples(WIDTH, WIDTH, WIDTH, WIDTH), WIDTH, st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_it_computes_what_the_steps_mean(
    voxels: int, widths: tuple[int, ...], feature_width: int, in_channels: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    program = random_program(random, in_channels, widths, feature_width)
    features, rulebook = random_scan(random, voxels, in_channels)
    compiled = CompiledProgram(program, threads=2)
    expected = interpret(program, features, rulebook)
    answer = compiled(features, rulebook)
    assert (answer.shape, answer.dtype, answer.flags.c_contiguous) == (expected.shape, np.float32, True)
    np.testing.assert_allclose(answer, expected, atol=1e-4)
    words = random_words(random, prompts=int(random.integers(1, 70)), queries=int(random.integers(0, 4)), width=feature_width)
    scores, reference = compiled.scores(features, rulebook, words), words.scores(answer)
    np.testing.assert_allclose(scores.score, reference.score, atol=1e-5)
    np.testing.assert_allclose(scores.margin, reference.margin, atol=1e-5)
    np.testing.assert_allclose(scores.similarity, reference.similarity, atol=1e-5)
    clear = reference.margin > 1e-4
    np.testing.assert_array_equal(scores.best[clear], reference.best[clear])


@pytest.mark.parametrize("architecture", ["minkunet14", "minkunet18", "minkunet34"])
def test_it_agrees_with_torch(architecture: Architecture) -> None:
    torch.manual_seed(1)
    student = Student(StudentConfig(architecture=architecture, width=0.5), in_channels=2, feature_width=48)
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean, std=0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.bias, std=0.2)
    features, rulebook = random_scan(np.random.default_rng(0), 700, 2, levels=5)
    answer = CompiledProgram(lower(student), threads=2)(features, rulebook)
    np.testing.assert_allclose(answer, TorchExecutor(student)(features, rulebook), atol=2e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 200), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_tables_of_any_pattern_mean_what_they_say(voxels: int, occupied: float, seed: int) -> None:
    """Rows without a pair, or without themselves, as well; on several threads to the bit as on one."""
    random = np.random.default_rng(seed)
    program = random_program(random, 2, (24, 40, 17, 33), 20)
    features, rulebook = random_scan(random, voxels, 2)

    def changed(table: np.ndarray, sources: int) -> np.ndarray:
        kept = random.uniform(size=table.shape) < occupied
        return np.where(kept, random.integers(0, sources, table.shape), -1).astype(np.int32)

    fine, coarse = rulebook.voxels
    submanifold = (changed(rulebook.submanifold[0], fine), changed(rulebook.submanifold[1], coarse))
    down, up = (changed(rulebook.down[0], fine),), (changed(rulebook.up[0], coarse),)
    patterned = replace(rulebook, submanifold=submanifold, down=down, up=up)
    compiled = CompiledProgram(program, threads=1)
    answer = compiled(features, patterned)
    np.testing.assert_allclose(answer, interpret(program, features, patterned), atol=1e-4)
    compiled._memory.view(np.uint8)[:] = 0xFF  # as float32 a NaN everywhere
    np.testing.assert_array_equal(compiled(features, patterned), answer)
    np.testing.assert_array_equal(CompiledProgram(program, threads=3)(features, patterned), answer)


def test_an_answers_memory_serves_again_once_nobody_holds_it() -> None:
    program, scans = small(feature_width=32)
    compiled = CompiledProgram(program, threads=2)
    kept = compiled(*scans[0])
    before = kept.copy()
    place = compiled(*scans[0]).ctypes.data
    assert place != kept.ctypes.data
    assert compiled(*scans[0]).ctypes.data == place
    np.testing.assert_array_equal(kept, before)


def small(seed: int = 0, feature_width: int = 20) -> tuple[Program, list[tuple[np.ndarray, Rulebook]]]:
    random = np.random.default_rng(seed)
    program = random_program(random, 2, (24, 40, 17, 33), feature_width)
    return program, [random_scan(random, voxels, 2) for voxels in (300, 1, 900, 20, 901, 300)]


def test_the_answer_is_the_same_to_the_bit_for_any_number_of_threads() -> None:
    program, scans = small()
    words = random_words(np.random.default_rng(1), 40, 2, 20)
    for features, rulebook in scans:
        answers = [CompiledProgram(program, threads) for threads in (1, 2, 3, 7)]
        first, *others = [(each(features, rulebook), each.scores(features, rulebook, words)) for each in answers]
        for answer, scores in others:
            np.testing.assert_array_equal(answer, first[0])
            for name in ("best", "score", "margin", "similarity"):
                np.testing.assert_array_equal(getattr(scores, name), getattr(first[1], name))


def test_memory_is_used_again_and_answers_are_not() -> None:
    program, scans = small()
    compiled = CompiledProgram(program, threads=2)
    answers = [compiled(*scan) for scan in scans]
    for answer, scan in zip(answers, scans, strict=True):
        np.testing.assert_array_equal(answer, CompiledProgram(program, threads=2)(*scan))
    memory = compiled._memory.ctypes.data
    for scan in scans:
        compiled(*scan)
    assert compiled._memory.ctypes.data == memory


def test_leftovers_in_memory_change_nothing() -> None:
    program, scans = small()
    compiled = CompiledProgram(program, threads=2)
    before = compiled(*scans[2])
    compiled._memory.view(np.uint8)[:] = 0xFF  # as float32 a NaN everywhere
    np.testing.assert_array_equal(compiled(*scans[2]), before)


def test_other_words_take_effect_at_once() -> None:
    program, scans = small()
    compiled = CompiledProgram(program, threads=1)
    features = compiled(*scans[0])
    for seed in range(3):
        words = random_words(np.random.default_rng(seed), 10 + seed, seed, 20)
        np.testing.assert_allclose(compiled.scores(*scans[0], words).score, words.scores(features).score, atol=1e-5)


def test_equal_classes_the_first_wins_and_one_class_leads_by_its_distance_from_minus_one() -> None:
    program, scans = small()
    compiled = CompiledProgram(program, threads=1)
    row = random_words(np.random.default_rng(0), 1, 0, 20).text
    twins = compiled.scores(*scans[0], Words(np.vstack([row, row]), np.array([0, 1]), row[:0]))
    assert not twins.best.any()
    assert not twins.margin.any()
    single = compiled.scores(*scans[0], Words(row, np.array([0]), row[:0]))
    np.testing.assert_allclose(single.margin, single.score + 1, atol=1e-6)


def test_callers_of_one_program_do_not_disturb_each_other() -> None:
    program, scans = small()
    compiled = CompiledProgram(program, threads=2)
    expected = [compiled(*scan) for scan in scans]
    wrong: list[int] = []

    def call(index: int) -> None:
        wrong.extend(index for _ in range(10) if not np.array_equal(compiled(*scans[index]), expected[index]))

    callers = [threading.Thread(target=call, args=(index,)) for index in range(len(scans))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


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


def test_a_sum_of_a_sum_loses_nothing() -> None:
    random = np.random.default_rng(0)
    features, rulebook = random_scan(random, 50, 2)
    weight = random.normal(size=(27, 2, 12)).astype(np.float32)
    square = random.normal(size=(12, 12)).astype(np.float32)
    bias = random.normal(size=12).astype(np.float32)
    steps = (
        Convolution("a0", FEATURES, "submanifold_0", weight, bias),
        Relu("a", "a0"),
        Linear("b", "a", square, bias),
        Add("c", "a", "b"),
        Convolution("d", FEATURES, "submanifold_0", weight[::-1].copy(), bias),
        Add("e", "d", "c"),
        Linear("f", "e", square, bias),
        Normalise(UNIT_FEATURES, "f"),
    )
    program = Program(steps, 2, 12, levels=2)
    np.testing.assert_allclose(CompiledProgram(program, 1)(features, rulebook), interpret(program, features, rulebook), atol=1e-5)


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


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 200), st.tuples(WIDTH, WIDTH, WIDTH, WIDTH), st.integers(0, 2**32 - 1))
def test_int8_computes_what_whole_steps_mean(voxels: int, widths: tuple[int, ...], seed: int) -> None:
    random = np.random.default_rng(seed)
    features, rulebook = random_scan(random, voxels, 2)
    program = calibrated(random_program(random, 2, widths, 20), [(features, rulebook)])
    int8 = CompiledProgram(program, 2, "int8")
    answer = int8(features, rulebook)
    cosine = (answer * interpret_int8(program, features, rulebook)).sum(axis=1)
    # Where a value lies between two steps, rounding in float32 may choose the other one.
    assert np.median(cosine) > 0.9999
    assert cosine.min() > 0.99
    np.testing.assert_array_equal(CompiledProgram(program, 3, "int8")(features, rulebook), answer)
    words = random_words(random, 9, 2, 20)
    np.testing.assert_allclose(int8.scores(features, rulebook, words).score, words.scores(answer).score, atol=1e-5)


def test_int8_needs_a_calibration() -> None:
    program, _ = small()
    with pytest.raises(BackendError, match=r"not calibrated; run `python -m export.quantise`"):
        CompiledProgram(program, 1, "int8")
    with pytest.raises(BackendError, match="inputs of both kinds"):
        CompiledProgram(replace(program, largest={"a": 1.0}), 1, "int8")

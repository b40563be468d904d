"""The compiled executor against naive loops and PyTorch."""

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
from relidar.executor import FEATURES, UNIT_FEATURES
from relidar.program import Add, Convolution, Linear, Normalise, Program, Relu
from relidar.words import Words
from tests.relidar.compiled.small_programs import interpret, interpret_int8, random_program, random_scan, random_words, small

WIDTH = st.integers(1, 40)


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
    for block in compiled._memory._blocks:
        block[:] = 0xFF  # as float32 a NaN everywhere
    np.testing.assert_array_equal(compiled(features, patterned), answer)
    np.testing.assert_array_equal(CompiledProgram(program, threads=3)(features, patterned), answer)


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

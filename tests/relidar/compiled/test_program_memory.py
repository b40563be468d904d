"""What callers of a compiled program share, and that they do not notice."""

import threading

import numpy as np
from numpy.typing import NDArray

from relidar.compiled.program import CompiledProgram
from relidar.reused_memory import MOST_WASTE
from relidar.rulebook import Rulebook
from tests.relidar.compiled.small_programs import random_words, small


def test_an_answers_memory_serves_again_once_nobody_holds_it() -> None:
    program, scans = small(feature_width=32)
    compiled = CompiledProgram(program, threads=2)
    kept = compiled(*scans[0])
    before = kept.copy()
    place = compiled(*scans[0]).ctypes.data
    assert place != kept.ctypes.data
    assert compiled(*scans[0]).ctypes.data == place
    np.testing.assert_array_equal(kept, before)


def test_a_scan_leaves_nothing_behind_for_the_next() -> None:
    program, scans = small()
    compiled = CompiledProgram(program, threads=2)
    answers = [compiled(*scan) for scan in scans]
    for answer, scan in zip(answers, scans, strict=True):
        np.testing.assert_array_equal(answer, CompiledProgram(program, threads=2)(*scan))


def test_the_next_scan_takes_the_memory_of_the_last_and_far_too_much_is_let_go() -> None:
    program, scans = small()
    small_scan, large_scan = sorted(scans, key=lambda scan: len(scan[0]))[:: len(scans) - 1]
    compiled = CompiledProgram(program, threads=2)

    def memory_after(features: NDArray[np.float32], rulebook: Rulebook) -> tuple[int, int]:
        compiled(features, rulebook)
        (block,) = compiled._memory._blocks
        return block.ctypes.data, len(block)

    place, most = memory_after(*large_scan)
    assert memory_after(*large_scan) == (place, most)
    assert memory_after(*small_scan)[1] < most / MOST_WASTE


def test_leftovers_in_memory_change_nothing() -> None:
    program, scans = small()
    compiled = CompiledProgram(program, threads=2)
    before = compiled(*scans[2])
    for block in compiled._memory._blocks:
        block[:] = 0xFF  # as float32 a NaN everywhere
    np.testing.assert_array_equal(compiled(*scans[2]), before)


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

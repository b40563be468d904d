"""Scores of voxels against words, held against a loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relidar.errors import TextError
from relidar.prompts import ClassPrompts
from relidar.text_bank import TextBank
from relidar.words import LOWEST_COSINE, MOST_PROMPTS, MOST_QUERIES, Words


def unit_rows(count: int, width: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def words_of(prompts_by_class: list[int], width: int = 8, queries: int = 0, seed: int = 0) -> Words:
    first = np.cumsum([0, *prompts_by_class[:-1]])
    return Words(unit_rows(sum(prompts_by_class), width, seed), first, unit_rows(queries, width, seed + 1))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 3), st.integers(1, 12), st.integers(0, 9))
def test_the_best_two_classes_and_all_queries(prompts_by_class: list[int], queries: int, voxels: int, seed: int) -> None:
    words = words_of(prompts_by_class, queries=queries, seed=seed)
    features = unit_rows(voxels, 8, seed + 2)
    answer = words.scores(features)
    assert answer.best.dtype == np.int32
    assert {part.dtype for part in (answer.score, answer.margin, answer.similarity)} == {np.dtype(np.float32)}
    assert answer.similarity.shape == (voxels, queries)
    for v, feature in enumerate(features):
        by_class, row = [], 0
        for count in prompts_by_class:
            by_class.append(max(float(feature @ words.text[row + i]) for i in range(count)))
            row += count
        ranked = sorted([*by_class, LOWEST_COSINE], reverse=True)
        assert answer.score[v] == pytest.approx(ranked[0], abs=1e-6)
        assert by_class[answer.best[v]] == pytest.approx(ranked[0], abs=1e-6)
        assert answer.margin[v] == pytest.approx(ranked[0] - ranked[1], abs=1e-6)
        assert answer.similarity[v].tolist() == pytest.approx([float(feature @ query) for query in words.queries], abs=1e-6)


def test_of_classes_that_score_alike_the_first_is_best() -> None:
    row = unit_rows(1, 4, 0)
    words = Words(np.repeat(row, 3, axis=0), np.array([0, 1, 2]), np.empty((0, 4), np.float32))
    answer = words.scores(row)
    assert (answer.best[0], answer.margin[0]) == (0, 0)


def test_prompts_come_in_the_order_of_the_classes() -> None:
    bank = TextBank("unit", tuple("abcd"), np.eye(4, dtype=np.float32))
    classes = [
        ClassPrompts(id=7, name="x", prompts=("c", "a"), rgb=(0, 0, 0)),
        ClassPrompts(id=2, name="y", prompts=("d",), rgb=(0, 0, 0)),
    ]
    words = Words.of_classes(classes, bank, ["b"])
    assert words.text.argmax(axis=1).tolist() == [2, 0, 3]
    assert words.first.tolist() == [0, 2]
    assert words.class_of_prompt.tolist() == [0, 0, 1]
    assert words.class_of_prompt.dtype == np.int32
    assert words.queries.argmax(axis=1).tolist() == [1]


@pytest.mark.parametrize(
    ("prompts", "first", "queries", "message"),
    [
        ((MOST_PROMPTS + 1, 4), [0], (0, 4), f"{MOST_PROMPTS + 1} prompts and 0 queries, expected at most {MOST_PROMPTS}"),
        ((2, 4), [0], (MOST_QUERIES + 1, 4), f"{MOST_QUERIES + 1} queries"),
        ((2, 4), [], (0, 4), "every class needs a prompt"),
        ((2, 4), [0, 2], (0, 4), "every class needs a prompt"),
        ((2, 4), [0, 0], (0, 4), "every class needs a prompt"),
        ((2, 4), [1], (0, 4), "every class needs a prompt"),
        ((2, 4), [0], (1, 5), r"expected \(C, D\) and \(Q, D\)"),
        ((2,), [0], (0, 4), r"expected \(C, D\) and \(Q, D\)"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    prompts: tuple[int, ...], first: list[int], queries: tuple[int, int], message: str
) -> None:
    with pytest.raises(TextError, match=message):
        Words(np.zeros(prompts, np.float32), np.array(first, np.int64), np.zeros(queries, np.float32))


def test_the_most_prompts_are_taken() -> None:
    assert len(words_of([1] * MOST_PROMPTS, width=2, queries=MOST_QUERIES).class_of_prompt) == MOST_PROMPTS

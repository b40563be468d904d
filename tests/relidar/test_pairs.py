"""Pairs against a walk through all slots."""

import re
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relidar import row_parts
from relidar.errors import CloudError
from relidar.pairs import LEAST_OFFSETS, MOST_OFFSETS, Pairs, table_pairs
from relidar.rulebook import build_rulebook


@pytest.fixture(autouse=True, scope="module")
def small_parts() -> Iterator[None]:
    """Even a few rows are shared among threads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_parts, "SMALLEST_PART", 1)
        yield


def assert_pairs_of(table: np.ndarray, pairs: Pairs) -> None:
    expected = [(table[v, k], v) for k in range(table.shape[1]) for v in range(len(table)) if table[v, k] >= 0]
    assert list(zip(pairs.source, pairs.target, strict=True)) == expected
    assert pairs.splits[0] == 0
    assert np.diff(pairs.splits).tolist() == (table >= 0).sum(axis=0).tolist()


@settings(deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(0, 40), st.integers(LEAST_OFFSETS, MOST_OFFSETS)), min_size=1, max_size=4),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 1000),
    threads=st.integers(1, 4),
)
def test_pairs_are_the_occupied_slots_in_order(shapes: list[tuple[int, int]], share: float, seed: int, threads: int) -> None:
    random = np.random.default_rng(seed)
    tables = [np.where(random.random(shape) < share, random.integers(0, 99, shape), -1).astype(np.int32) for shape in shapes]
    for table, pairs in zip(tables, table_pairs(tables, threads), strict=True):
        assert_pairs_of(table, pairs)


@pytest.mark.parametrize("rows", [254, 255, 256, 511])
def test_full_rows_are_counted_however_many_there_are(rows: int) -> None:
    table = np.arange(rows * 27, dtype=np.int32).reshape(rows, 27)
    (pairs,) = table_pairs([table], 1)
    assert pairs.splits.tolist() == list(range(0, 28 * rows, rows))
    assert np.array_equal(pairs.source, table.T.ravel())


def test_pairs_of_a_rulebook_are_those_of_its_tables() -> None:
    cells = np.unique(np.random.default_rng(0).integers(-5, 5, (300, 3)), axis=0).astype(np.int32)
    rulebook = build_rulebook(cells, 3, threads=2)
    assert rulebook.pairs.keys() == rulebook.tables().keys()
    for name, table in rulebook.tables().items():
        assert_pairs_of(table, rulebook.pairs[name])


def test_pairs_outlive_those_listed_after_them() -> None:
    tables = [np.full((50, 8), number, np.int32) for number in range(5)]
    kept = [table_pairs([table])[0] for table in tables]
    assert [np.unique(pairs.source).tolist() for pairs in kept] == [[number] for number in range(5)]


@pytest.mark.parametrize("offsets", [LEAST_OFFSETS - 1, MOST_OFFSETS + 1])
def test_a_table_of_too_few_or_too_many_offsets_is_refused(offsets: int) -> None:
    with pytest.raises(CloudError, match=f"{offsets}"):
        table_pairs([np.zeros((3, offsets), np.int32)])


@pytest.mark.parametrize("shape", [(), (27,), (3, 27, 1)])
def test_a_table_of_other_dimensions_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(CloudError, match=re.escape(f"tables [(3, 27), {shape}]")):
        table_pairs([np.zeros((3, 27), np.int32), np.zeros(shape, np.int32)])


def test_no_tables_have_no_pairs() -> None:
    assert table_pairs([]) == []

"""The rulebook against dictionaries and loops."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relidar import row_parts, rulebook
from relidar.errors import CloudError
from relidar.rulebook import MAX_CELL, MAX_SCANS, Rulebook, build_rulebook

threads = st.integers(1, 4)
Cell = tuple[int, int, int, int]  # scan, x, y, z


@pytest.fixture(autouse=True, scope="module", params=[0, rulebook.FEW])
def small_parts(request: pytest.FixtureRequest) -> Iterator[None]:
    """Even a few voxels are shared among threads, and the coarsest level is searched with and without being halved further."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_parts, "SMALLEST_PART", 1)
        patch.setattr(rulebook, "FEW", request.param)
        yield


def naive_tables(cells: list[Cell], levels: int) -> dict[str, list[list[int]]]:
    """All tables, written down from their definition."""
    tables: dict[str, list[list[int]]] = {}
    for level in range(levels):
        row = {cell: index for index, cell in enumerate(cells)}
        tables[f"submanifold_{level}"] = [
            [row.get((scan, x + k // 9 - 1, y + k // 3 % 3 - 1, z + k % 3 - 1), -1) for k in range(27)] for scan, x, y, z in cells
        ]
        if level + 1 < levels:
            parents = list(dict.fromkeys((scan, x >> 1, y >> 1, z >> 1) for scan, x, y, z in cells))
            corners = [(k >> 2, k >> 1 & 1, k & 1) for k in range(8)]
            tables[f"down_{level}"] = [
                [row.get((scan, 2 * x + i, 2 * y + j, 2 * z + k), -1) for i, j, k in corners] for scan, x, y, z in parents
            ]
            parent_row = {cell: index for index, cell in enumerate(parents)}
            tables[f"up_{level}"] = [
                [parent_row[scan, x >> 1, y >> 1, z >> 1] if (x & 1, y & 1, z & 1) == corner else -1 for corner in corners]
                for scan, x, y, z in cells
            ]
            cells = parents
    return tables


def build(cells: list[Cell], levels: int, threads: int = 1) -> Rulebook:
    array = np.array(cells, np.int32).reshape(-1, 4)
    return build_rulebook(array[:, 1:], levels, array[:, 0], threads)


small = st.integers(-4, 4)
edge = st.sampled_from([-MAX_CELL, -MAX_CELL + 1, -1, 0, MAX_CELL - 1, MAX_CELL])
scan = st.sampled_from([0, 1, MAX_SCANS - 1])


@settings(deadline=None)
@given(
    cells=st.lists(st.tuples(scan, small, small, small), max_size=60, unique=True)
    | st.lists(st.tuples(scan, edge, edge, edge), max_size=30, unique=True),
    levels=st.integers(1, 5),
    threads=threads,
)
def test_tables_are_those_of_the_definition(cells: list[Cell], levels: int, threads: int) -> None:
    book = build(cells, levels, threads)
    tables = book.tables()
    expected = naive_tables(cells, levels)
    assert tables.keys() == expected.keys()
    for name, table in tables.items():
        assert table.dtype == np.int32
        assert table.tolist() == expected[name], name
    for level in range(levels - 1):
        parent_row = book.up[level].max(axis=1)
        assert np.array_equal(book.coordinates[level + 1][parent_row], book.coordinates[level] >> 1)


def test_scans_of_a_batch_do_not_meet() -> None:
    cells = np.array([[0, 0, 0], [0, 0, 1]], np.int32)
    together = build_rulebook(cells, 2)
    apart = build_rulebook(cells, 2, np.array([0, 1], np.int32))
    assert (together.submanifold[0] >= 0).sum() == 4
    assert (apart.submanifold[0] >= 0).sum() == 2
    assert together.voxels == (2, 1)
    assert apart.voxels == (2, 2)


def test_a_batch_is_its_scans_one_after_the_other() -> None:
    random = np.random.default_rng(0)
    first, second = (np.unique(random.integers(-9, 9, (200, 3)), axis=0).astype(np.int32) for _ in range(2))
    scans = np.repeat(np.array([0, 1], np.int32), [len(first), len(second)])
    batch = build_rulebook(np.concatenate([first, second]), 4, scans)
    alone = build_rulebook(second, 4)
    for level, table in enumerate(alone.submanifold):
        offset = batch.voxels[level] - alone.voxels[level]
        shifted = np.where(table >= 0, table + offset, -1)
        assert np.array_equal(batch.submanifold[level][offset:], shifted)


def test_an_empty_cloud_has_empty_tables() -> None:
    book = build_rulebook(np.empty((0, 3), np.int32), 3)
    assert book.voxels == (0, 0, 0)
    assert all(table.shape[0] == 0 for table in book.tables().values())
    assert all(len(pairs.source) == 0 for pairs in book.pairs.values())


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([[0, 0, 0], [1, 0, 0], [0, 0, 0]], "occurs twice"),
        ([[MAX_CELL + 1, 0, 0]], "larger voxels"),
        ([[0, -MAX_CELL - 1, 0]], "larger voxels"),
        ([[0, 0, np.iinfo(np.int32).min]], "larger voxels"),
    ],
)
def test_impossible_cells_are_refused(cells: list[list[int]], message: str) -> None:
    for levels in (1, 3):
        with pytest.raises(CloudError, match=message):
            build_rulebook(np.array(cells, np.int32), levels)


@pytest.mark.parametrize("scan", [-1, MAX_SCANS])
def test_impossible_scans_are_refused(scan: int) -> None:
    with pytest.raises(CloudError, match="smaller batch"):
        build_rulebook(np.zeros((1, 3), np.int32), 1, np.array([scan], np.int32))


@pytest.mark.parametrize(
    ("cells", "scans"), [((4, 2), (4,)), ((4,), (4,)), ((4, 3), (3,)), ((4, 3), (5,)), ((4, 3), (4, 1)), ((), ())]
)
def test_arrays_that_do_not_belong_together_are_refused(cells: tuple[int, ...], scans: tuple[int, ...]) -> None:
    with pytest.raises(CloudError, match=r"expected int32 \(V, 3\) and \(V,\)"):
        build_rulebook(np.zeros(cells, np.int32), 2, np.zeros(scans, np.int32))


@pytest.mark.parametrize(("cells", "scans"), [(np.int64, np.int32), (np.int32, np.int64), (np.float32, np.int32)])
def test_other_types_which_int32_would_wrap_or_cut_are_refused(cells: type, scans: type) -> None:
    with pytest.raises(CloudError, match=r"expected int32 \(V, 3\) and \(V,\)"):
        build_rulebook(np.zeros((1, 3), cells), 2, np.zeros(1, scans))


def test_no_level_is_refused() -> None:
    with pytest.raises(CloudError, match="0 levels, expected at least 1"):
        build_rulebook(np.zeros((1, 3), np.int32), 0)

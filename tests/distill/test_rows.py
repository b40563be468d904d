"""Which rows are drawn: all there are, at most as many as asked for, evenly, and paired with the right feature."""

import numpy as np
import pytest

from distill.rows import draw_rows
from distill.teacher_cache import Pairing, TeacherView


def a_view(superpixels: int = 40, pairs: int = 3000) -> TeacherView:
    random = np.random.default_rng(0)
    superpixel = np.concatenate([np.arange(superpixels), random.integers(0, superpixels, pairs - superpixels)])
    features = random.normal(size=(superpixels, 4)).astype(np.float16)
    crowd = np.ones(superpixels, np.float32)
    return TeacherView(features, np.arange(pairs, dtype=np.int32), superpixel.astype(np.int32), crowd)


def voxels_of(view: TeacherView) -> np.ndarray:
    """Each pair in a voxel of its own, but every third in none."""
    voxel = np.arange(len(view.point), dtype=np.int32)
    return np.where(voxel % 3 == 2, -1, voxel)


@pytest.mark.parametrize("pairing", ["superpixels", "pixels"])
@pytest.mark.parametrize("limit", [1, 7, 100_000])
@pytest.mark.parametrize("even", [False, True])
def test_every_row_has_the_feature_of_its_own_points(pairing: Pairing, limit: int, even: bool) -> None:
    view = a_view()
    voxel = voxels_of(view)
    rows = draw_rows(view, voxel, pairing, limit, even, np.random.default_rng(0))
    there = len(view.features) if pairing == "superpixels" else int((voxel >= 0).sum())
    assert len(rows.teacher) == min(limit, there)
    assert set(rows.row.tolist()) == set(range(len(rows.teacher)))
    # A pair's number is its voxel here.
    np.testing.assert_array_equal(rows.teacher[rows.row], view.features[view.superpixel[rows.voxel]])
    assert len(set(rows.voxel.tolist())) == len(rows.voxel)
    if pairing == "superpixels":
        drawn = np.unique(view.superpixel[rows.voxel])
        np.testing.assert_array_equal(rows.voxel, np.flatnonzero((voxel >= 0) & np.isin(view.superpixel, drawn)))
    else:
        np.testing.assert_array_equal(rows.row, np.arange(len(rows.voxel)))


@pytest.mark.parametrize("pairing", ["superpixels", "pixels"])
def test_even_rows_find_what_is_rare(pairing: Pairing) -> None:
    """One superpixel in forty is of another kind than the rest, which all crowd together."""
    view = a_view()
    view.crowd[1:] = 39
    shares = []
    for even in (False, True):
        drawn = [draw_rows(view, voxels_of(view), pairing, 1, even, np.random.default_rng(seed)) for seed in range(400)]
        shares.append(np.mean([view.superpixel[rows.voxel[0]] == 0 for rows in drawn]))
    assert shares[0] < 0.08
    assert 0.4 < shares[1] < 0.6

"""Hidden points against a naive loop, and in a cache."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.config import TrainConfig
from distill.datasets import read_cloud, read_keyframes
from distill.occlusion import OcclusionConfig, visible
from distill.teacher_cache import view_keyframe
from distill.teachers import make_teacher


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.floats(0.3, 1.0), st.floats(0.0, 2.0))
def test_a_point_is_hidden_where_another_nearby_is_nearer(seed: int, radius_px: int, nearer: float, margin_m: float) -> None:
    generator = np.random.default_rng(seed)
    height, width = 11, 17
    pixel = generator.integers(0, height * width, 40)
    distance_m = generator.uniform(1, 50, 40)
    config = OcclusionConfig(radius_px=radius_px, nearer=nearer, margin_m=margin_m)
    row, column = np.divmod(pixel, width)
    for i, seen in enumerate(visible(distance_m, pixel, height, width, config)):
        near = (abs(row - row[i]) <= radius_px) & (abs(column - column[i]) <= radius_px)
        assert seen == all(distance_m[near] >= nearer * distance_m[i] - margin_m)


def test_no_point_at_all() -> None:
    assert visible(np.empty(0), np.empty(0, np.intp), 4, 5, OcclusionConfig()).shape == (0,)


def test_a_view_without_hidden_points_keeps_the_near_and_loses_some_of_the_far(config: TrainConfig) -> None:
    frame = read_keyframes(config.data, "train")[0]
    teacher = make_teacher(config.teacher)
    everything = view_keyframe(frame, teacher, config.superpixels)
    shown = view_keyframe(frame, teacher, config.superpixels, OcclusionConfig())
    lost = np.setdiff1d(everything.point, shown.point)
    assert 0 < len(lost) < len(np.unique(everything.point)) / 2
    assert set(shown.point) < set(everything.point)
    assert set(shown.superpixel) == set(range(len(shown.features)))
    range_m = np.linalg.norm(read_cloud(frame.cloud)[0], axis=1)
    assert np.median(range_m[lost]) > np.median(range_m[np.unique(shown.point)])


def test_a_radius_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="radius_px"):
        OcclusionConfig(radius_px=0)

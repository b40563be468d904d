"""Changes of a scan keep its pairs true: a point keeps its number, and so its pixel, or falls away."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.augmentation import AugmentConfig, augment, crop_box, flip, in_box, in_cuboid, rotate, scale, shift_height
from distill.cache_filling import open_cache
from distill.config import TrainConfig
from distill.datasets import read_cloud, read_keyframes
from distill.images import read_image, superpixels
from distill.keyframe import CameraView, image_pairs
from distill.scans import TrainingScans, in_crops
from distill.teachers import make_teacher
from relidar.errors import DatasetError

SEEDS = st.integers(0, 2**32 - 1)


def cloud(seed: int, points: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-30, 30, (points, 3)).astype(np.float32)


@given(SEEDS, st.floats(-7, 7))
def test_a_turn_is_about_the_vertical_axis(seed: int, angle: float) -> None:
    xyz_m = cloud(seed)
    turned = rotate(xyz_m, angle)
    np.testing.assert_array_equal(turned[:, 2], xyz_m[:, 2])
    before, after = (points[:, 0] + 1j * points[:, 1] for points in (xyz_m, turned))
    np.testing.assert_allclose(after, before * np.exp(1j * angle), atol=1e-4)


def test_flips_scaling_and_raising() -> None:
    xyz_m = cloud(0)
    np.testing.assert_array_equal(flip(xyz_m, True, False), xyz_m * [-1, 1, 1])
    np.testing.assert_array_equal(flip(xyz_m, True, True), xyz_m * [-1, -1, 1])
    np.testing.assert_array_equal(flip(xyz_m, False, False), xyz_m)
    np.testing.assert_allclose(scale(xyz_m, 1.5), 1.5 * xyz_m)
    np.testing.assert_allclose(shift_height(xyz_m, 0.5) - xyz_m, np.tile([0, 0, 0.5], (len(xyz_m), 1)), atol=1e-6)


@given(SEEDS)
def test_all_together_move_the_scene_as_one_and_drop_the_rest(seed: int) -> None:
    xyz_m = cloud(seed)
    config = AugmentConfig(scale=0.2, drop_points=0.5, shift_height_m=0.4, drop_cuboid=0.5)
    changed = augment(xyz_m, config, np.random.default_rng(seed))
    assert changed.dtype == np.float32
    assert changed.shape == xyz_m.shape
    left = np.isfinite(changed).all(axis=1)
    assert np.isnan(changed[~left]).all()
    if left.sum() > 1:
        # Distances between the points that are left grow by one factor.
        before, after = (np.linalg.norm(p[left][:, None] - p[left][None], axis=2) for p in (xyz_m, changed))
        factor = after.max() / before.max()
        assert 0.8 - 1e-3 <= factor <= 1.2 + 1e-3
        np.testing.assert_allclose(after, factor * before, atol=1e-3)


@given(SEEDS, st.floats(0.01, 1))
def test_a_cuboid_is_one_and_no_larger_than_asked(seed: int, largest: float) -> None:
    xyz_m = cloud(seed)
    xyz_m[:5] = np.nan
    inside = in_cuboid(xyz_m, largest, np.random.default_rng(seed))
    assert inside.any()
    assert not inside[:5].any()
    low, high = xyz_m[inside].min(axis=0), xyz_m[inside].max(axis=0)
    assert (high - low <= largest * np.ptp(xyz_m[5:], axis=0) * 1.0001).all()
    between = ((xyz_m >= low) & (xyz_m <= high)).all(axis=1)
    np.testing.assert_array_equal(inside & between, between)


def test_an_empty_cloud_has_no_cuboid() -> None:
    nothing = np.full((4, 3), np.nan, np.float32)
    assert not in_cuboid(nothing, 0.5, np.random.default_rng(0)).any()


@given(SEEDS, st.floats(0.05, 1))
def test_a_crop_lies_in_the_image_and_keeps_its_share(seed: int, smallest: float) -> None:
    top, left, bottom, right = crop_box(smallest, np.random.default_rng(seed))
    assert 0 <= top < bottom <= 1 + 1e-9
    assert 0 <= left < right <= 1 + 1e-9
    height, width = bottom - top, right - left
    assert smallest - 1e-6 <= height * width <= 1 + 1e-6
    assert 3 / 4 - 1e-6 <= height / width <= 4 / 3 + 1e-6


def test_pixels_in_a_box_equal_a_loop() -> None:
    height, width, box = 7, 11, (0.2, 0.1, 0.8, 0.65)
    found = in_box(np.arange(height * width), height, width, box).reshape(height, width)
    for row in range(height):
        for column in range(width):
            inside = 0.2 <= (row + 0.5) / height < 0.8 and 0.1 <= (column + 0.5) / width < 0.65
            assert found[row, column] == inside


@settings(deadline=None)
@given(SEEDS)
def test_a_pair_still_shows_the_same_content_and_only_dropped_ones_are_gone(seed: int) -> None:
    """Each pixel of a made-up image has a content of its own; pairs are numbers of points, so changing the points keeps them."""
    height, width = 24, 40
    xyz_m = cloud(seed, 300)
    camera_from_lidar = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    intrinsics = np.array([[20, 0, width / 2], [0, 20, height / 2], [0, 0, 1]])
    view = CameraView("front", Path("none.jpg"), camera_from_lidar, intrinsics)
    point, pixel = image_pairs(xyz_m, view, height, width, None)
    content = np.random.default_rng(0).permutation(height * width)
    generator = np.random.default_rng(seed)
    changed = augment(xyz_m, AugmentConfig(scale=0.0, drop_points=0.3, drop_cuboid=0.4), generator)
    cropped = in_box(pixel, height, width, crop_box(0.3, generator))
    alive = np.isfinite(changed[point]).all(axis=1)
    kept = alive & cropped
    # Undo the change: where the point that is left was is where it projects, onto the content that its pair says.
    left = np.isfinite(changed).all(axis=1)
    if left.sum() < 4:
        return
    undo, *_ = np.linalg.lstsq(changed[left], xyz_m[left], rcond=None)
    restored = np.full_like(xyz_m, np.nan)
    restored[left] = changed[left] @ undo
    again_point, again_pixel = image_pairs(restored[left], view, height, width, None)
    content_of = dict(zip(np.flatnonzero(left)[again_point].tolist(), content[again_pixel].tolist(), strict=True))
    same = [content_of.get(p) == c for p, c in zip(point[kept].tolist(), content[pixel[kept]].tolist(), strict=True)]
    # A point at the border of two pixels may fall on either side after the arithmetic.
    assert sum(not s for s in same) <= 0.02 * len(same) + 1
    assert kept.sum() == len(point) - (~alive).sum() - (alive & ~cropped).sum()


def test_image_crops_of_a_scan_drop_pairs_and_change_no_other(config: TrainConfig) -> None:
    cache = open_cache(config, make_teacher(config.teacher).fingerprint)
    frame = read_keyframes(config.data, "train")[0]
    view, (xyz_m, _) = cache.read(frame), read_cloud(frame.cloud)
    cropped = config.model_copy(update={"augment": AugmentConfig(image_crop=0.3)})
    inside = in_crops(frame, xyz_m, view, cropped, np.random.default_rng(0))
    assert inside.shape == view.point.shape
    assert 0.3 < inside.mean() < 0.95
    # What is left is one rectangle an image, and every superpixel is still the one that the image shows there.
    start = 0
    for camera in frame.views:
        image = read_image(camera.image)
        height, width = image.shape[:2]
        point, pixel = image_pairs(xyz_m, camera, height, width, None)
        part = slice(start, start + len(point))
        start += len(point)
        kept = pixel[inside[part]]
        row, column = kept // width, kept % width
        within = (pixel // width >= row.min()) & (pixel // width <= row.max())
        within &= (pixel % width >= column.min()) & (pixel % width <= column.max())
        np.testing.assert_array_equal(within, inside[part])
        segment = superpixels(image, config.superpixels).ravel()[kept]
        rows = view.superpixel[part][inside[part]]
        assert len(set(zip(segment.tolist(), rows.tolist(), strict=True))) == len(set(rows.tolist()))
    assert start == len(inside)
    with pytest.raises(DatasetError, match="not those of the cache"):
        in_crops(frame, xyz_m[::-1], view, cropped, np.random.default_rng(0))


def test_a_cropped_training_scan_has_fewer_pairs_of_the_same_features(config: TrainConfig) -> None:
    cache = open_cache(config, make_teacher(config.teacher).fingerprint)
    frames = read_keyframes(config.data, "train")[:1]
    schedule = config.schedule.model_copy(update={"rows": 5000})
    still = AugmentConfig(rotate=False, flip=False, scale=0.0)
    whole, cropped = (
        TrainingScans(frames, cache, config.model_copy(update={"schedule": schedule, "augment": changes}))[3]
        for changes in (still, still.model_copy(update={"image_crop": 0.3}))
    )
    assert 0 < len(cropped.voxel) < len(whole.voxel)
    known = {row.tobytes() for row in whole.teacher}
    assert {row.tobytes() for row in cropped.teacher} <= known
    assert len(cropped.teacher) < len(whole.teacher)


def test_a_scan_without_a_pair_left_is_told(config: TrainConfig) -> None:
    cache = open_cache(config, make_teacher(config.teacher).fingerprint)
    nothing = config.preprocessing.model_copy(update={"min_range_m": 60.0, "max_range_m": 60.001})
    scans = TrainingScans(read_keyframes(config.data, "train"), cache, config.model_copy(update={"preprocessing": nothing}))
    with pytest.raises(DatasetError, match="no pair of a point and an image is left"):
        scans[0]

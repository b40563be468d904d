"""Pooling against a naive loop; the cache is complete, resumable, and notices damage."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from distill.cache import fill_cache, open_cache
from distill.config import TrainConfig
from distill.images import SuperpixelConfig, read_image, superpixels
from distill.nuscenes_frames import project, read_cloud, read_keyframes
from distill.teacher_cache import TENSORS, _pool, view_keyframe
from distill.teachers import make_teacher
from relidar.errors import DatasetError


def test_pooling_is_the_mean_over_a_superpixels_pixels() -> None:
    generator = np.random.default_rng(0)
    segments = generator.integers(0, 5, (13, 17))
    features = torch.from_numpy(generator.normal(size=(3, 4, 5)).astype(np.float32))
    pooled = _pool(features, segments)
    for number in range(5):
        inside = np.argwhere(segments == number)
        mean = np.mean([features[:, r * 4 // 13, c * 5 // 17].numpy() for r, c in inside], axis=0)
        np.testing.assert_allclose(pooled[number].numpy(), mean, atol=1e-6)


def test_a_view_pairs_each_point_with_the_superpixel_it_falls_into(config: TrainConfig) -> None:
    frame = read_keyframes(config.data, "train")[0]
    teacher = make_teacher(config.teacher)
    view = view_keyframe(frame, teacher, config.superpixels)
    xyz_m, _ = read_cloud(frame.cloud)
    np.testing.assert_allclose(np.linalg.norm(view.features.astype(np.float32), axis=1), 1, atol=2e-3)
    assert set(view.superpixel) == set(range(len(view.features)))
    image = read_image(frame.views[0].image)
    segments = superpixels(image, config.superpixels)
    point, pixel = project(xyz_m, frame.views[0], *image.shape[:2])
    first = len(point)
    np.testing.assert_array_equal(view.point[:first], point)
    # Rows number the occupied superpixels in order.
    rows = view.superpixel[:first]
    for row in np.unique(rows)[:10]:
        assert len(set(segments.ravel()[pixel[rows == row]])) == 1


def test_nothing_whole_is_computed_again_and_damage_is_mended(config: TrainConfig) -> None:
    assert fill_cache(config, workers=0) == 0
    cache = open_cache(config, make_teacher(config.teacher).fingerprint)
    frame = read_keyframes(config.data, "train")[0]
    path = cache.path(frame)
    whole, view = path.read_bytes(), cache.read(frame)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DatasetError, match="does not fit its hash"):
        cache.read(frame)
    assert fill_cache(config, workers=0) == 1
    mended = cache.read(frame)
    for name in TENSORS:
        np.testing.assert_array_equal(getattr(mended, name), getattr(view, name))
    path.write_bytes(whole[:100])
    with pytest.raises(DatasetError, match="no teacher features"):
        cache.read(frame)
    assert fill_cache(config, workers=0) == 1
    assert [file.suffix for file in cache.folder.iterdir()] == [".safetensors"] * 2


def test_a_keyframe_that_was_made_anew_is_viewed_anew(config: TrainConfig) -> None:
    cache = open_cache(config, make_teacher(config.teacher).fingerprint)
    frame = read_keyframes(config.data, "train")[0]
    cloud, image = frame.cloud.read_bytes(), frame.views[2].image.read_bytes()
    try:
        frame.cloud.write_bytes(cloud[:-20])
        assert not cache.has(frame)
        with pytest.raises(DatasetError, match="made from another cloud"):
            cache.read(frame)
        frame.cloud.write_bytes(cloud)
        frame.views[2].image.write_bytes(frame.views[3].image.read_bytes())
        assert not cache.has(frame)
    finally:
        frame.cloud.write_bytes(cloud)
        frame.views[2].image.write_bytes(image)
    assert cache.has(frame)


def test_other_superpixels_are_another_cache(config: TrainConfig) -> None:
    other = config.model_copy(update={"superpixels": SuperpixelConfig(segments=61, sigma_px=0.5)})
    assert open_cache(config, "a").folder != open_cache(other, "a").folder
    assert open_cache(config, "a").folder != open_cache(config, "b").folder


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(path)
    assert read_image(path).shape == (64, 64, 3)
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DatasetError, match=r"image\.jpg: image cannot be read"):
        read_image(path)
    with pytest.raises(DatasetError, match=r"absent\.jpg"):
        read_image(tmp_path / "absent.jpg")

"""Pooling against a naive loop; the cache is complete, resumable, and notices damage."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from distill.augmentation import AugmentConfig
from distill.cache_filling import fill_cache, open_cache
from distill.config import TrainConfig
from distill.datasets import read_cloud, read_keyframes
from distill.images import MaskConfig, SuperpixelConfig, mask_path, read_image, superpixels
from distill.keyframe import project
from distill.scans import TrainingScans
from distill.teacher_cache import TENSORS, _pool, view_keyframe
from distill.teachers import make_teacher
from relidar.config_file import validate
from relidar.errors import DatasetError

ROOT = Path(__file__).parents[2]


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


def test_a_killed_cache_goes_on_where_it_stopped(config_values: dict, config: TrainConfig, tmp_path: Path) -> None:
    values = config_values | {"cache": str(tmp_path)}
    # One thread as in the tests, since the order of sums depends on it.
    code = """
import os, sys, torch, yaml
from distill import cache_filling, teacher_cache
from distill.config import TrainConfig
from relidar.config_file import validate
torch.set_num_threads(1)
save, files = teacher_cache.save_file, []
def killed(tensors, file, metadata):
    files.append(file)
    save(tensors, file, metadata)
    if len(files) == 2:
        os.truncate(file, os.path.getsize(file) // 2)
        os.kill(os.getpid(), 9)
teacher_cache.save_file = killed
cache_filling.fill_cache(validate(yaml.safe_load(sys.argv[1]), TrainConfig, "test"), workers=0)
"""
    command = [sys.executable, "-c", code, yaml.safe_dump(values)]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert fill_cache(validate(values, TrainConfig, "test"), workers=0) == 1
    same_views(config, tmp_path)


def test_torchrun_spreads_the_keyframes(config_values: dict, config: TrainConfig, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config_values | {"cache": str(tmp_path / "cache")}))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "distill.cache"]
    done = subprocess.run([*launch, "--config", path, "--workers", "0"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    same_views(config, tmp_path / "cache")


def same_views(config: TrainConfig, folder: Path) -> None:
    """The views in `folder` are those of `config`'s cache, from which they were made apart."""
    fingerprint = make_teacher(config.teacher).fingerprint
    expected, found = open_cache(config, fingerprint), open_cache(config.model_copy(update={"cache": str(folder)}), fingerprint)
    for frame in read_keyframes(config.data, "train"):
        for name in TENSORS:
            np.testing.assert_array_equal(getattr(found.read(frame), name), getattr(expected.read(frame), name))


def test_a_pixels_feature_is_the_teachers_at_that_pixel(config: TrainConfig) -> None:
    frame = read_keyframes(config.data, "train")[0]
    teacher = make_teacher(config.teacher)
    view = view_keyframe(frame, teacher, config.superpixels, pairing="pixels")
    xyz_m, _ = read_cloud(frame.cloud)
    image = read_image(frame.views[0].image)
    height, width = image.shape[:2]
    features = teacher(image).numpy()
    h, w = features.shape[1:]
    point, pixel = project(xyz_m, frame.views[0], height, width)
    np.testing.assert_array_equal(view.point[: len(point)], point)
    for pair in range(0, len(point), 17):
        expected = features[:, pixel[pair] // width * h // height, pixel[pair] % width * w // width]
        np.testing.assert_allclose(view.features[view.superpixel[pair]], expected, atol=2e-3)


def test_the_mirrored_images_have_features_of_their_own_in_the_same_rows(config: TrainConfig, tmp_path: Path) -> None:
    frame = read_keyframes(config.data, "train")[0]
    teacher = make_teacher(config.teacher)
    plain = view_keyframe(frame, teacher, config.superpixels, pairing="pixels")
    view = view_keyframe(frame, teacher, config.superpixels, pairing="pixels", mirrored=True)
    for name in TENSORS:
        np.testing.assert_array_equal(getattr(view, name), getattr(plain, name))
    assert view.mirrored is not None
    assert not np.array_equal(view.mirrored, view.features)
    image = read_image(frame.views[0].image)
    height, width = image.shape[:2]
    features = teacher(image[:, ::-1].copy()).numpy()
    h, w = features.shape[1:]
    _, pixel = project(read_cloud(frame.cloud)[0], frame.views[0], height, width)
    for pair in range(0, len(pixel), 17):
        expected = features[:, pixel[pair] // width * h // height, w - 1 - pixel[pair] % width * w // width]
        np.testing.assert_allclose(view.mirrored[view.superpixel[pair]], expected, atol=2e-3)
    # Of a superpixel the mean over its pixels.
    view = view_keyframe(frame, teacher, config.superpixels, mirrored=True)
    assert view.mirrored is not None
    segments = superpixels(image, config.superpixels)
    rows = view.superpixel[: len(pixel)]
    for row in np.unique(rows)[:10]:
        inside = np.argwhere(segments == segments.ravel()[pixel[rows == row][0]])
        mean = np.mean([features[:, r * h // height, w - 1 - c * w // width] for r, c in inside], axis=0)
        np.testing.assert_allclose(view.mirrored[row], mean / np.linalg.norm(mean), atol=2e-3)
    # Kept, and learned from in half of the scans.
    augment = AugmentConfig(rotate=False, flip=False, scale=0.0, image_flip=True)
    flipping = config.model_copy(update={"cache": str(tmp_path), "augment": augment})
    assert fill_cache(flipping, workers=0) == 2
    cache = open_cache(flipping, teacher.fingerprint)
    scans = TrainingScans([frame], cache, flipping)
    kept = cache.read(frame)
    assert kept.mirrored is not None
    known = [{row.tobytes() for row in rows} for rows in (kept.features, kept.mirrored)]
    learned = [{row.tobytes() for row in scans[number].teacher} for number in range(40)]
    mirrored = sum(rows <= known[1] for rows in learned)
    assert mirrored + sum(rows <= known[0] for rows in learned) == 40
    assert 8 <= mirrored <= 32


def test_a_mask_that_was_changed_is_noticed(config: TrainConfig, tmp_path: Path) -> None:
    frame = read_keyframes(config.data, "train")[0]
    teacher = make_teacher(config.teacher)
    masks = MaskConfig(masks=str(tmp_path / "masks"))
    for camera in frame.views:
        path = mask_path(camera.image, masks)
        path.parent.mkdir(parents=True)
        Image.fromarray(np.tile(np.arange(1, 161, dtype=np.uint8), (96, 1))).save(path)
    cache = open_cache(config.model_copy(update={"superpixels": masks, "cache": str(tmp_path)}), teacher.fingerprint)
    cache.write(frame, view_keyframe(frame, teacher, masks))
    assert cache.has(frame)
    Image.fromarray(np.ones((96, 160), np.uint8)).save(path)
    assert not cache.has(frame)


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


def test_a_config_that_is_not_there_is_bad_usage() -> None:
    command = [sys.executable, "-m", "distill.cache", "--config", "nowhere.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "nowhere.yaml: no such file or folder" in done.stderr) == (2, True)

"""Superpixels from given masks: each mask is one, what no mask holds is divided by SLIC, what does not fit is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.config import TrainConfig
from distill.images import MaskConfig, SuperpixelConfig, mask_path, superpixels
from relidar.config_file import validate
from relidar.errors import ConfigError, DatasetError

IMAGE = Path("/data/nuscenes/samples/CAM_FRONT/n015__CAM_FRONT__153.jpg")


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)


@pytest.fixture
def config(tmp_path: Path) -> MaskConfig:
    return MaskConfig(masks=str(tmp_path), segments=12, sigma_px=0.5)


def write(mask: np.ndarray, config: MaskConfig) -> None:
    path = mask_path(IMAGE, config)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def test_masks_are_found_by_the_name_of_their_image(config: MaskConfig) -> None:
    assert mask_path(IMAGE, config) == Path(config.masks, "samples/CAM_FRONT/n015__CAM_FRONT__153.png")
    kitti = Path("/data/sequences/08/image_2/000004.png")
    assert mask_path(kitti, config) == Path(config.masks, "08/image_2/000004.png")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_each_mask_is_a_superpixel(image: np.ndarray, config: MaskConfig, dtype: type) -> None:
    mask = np.ones((40, 60), dtype)
    mask[:, 20:] = 7
    mask[30:, 50:] = np.iinfo(dtype).max
    write(mask, config)
    segments = superpixels(image, config, IMAGE)
    assert segments.dtype == np.int64
    assert len(np.unique(segments)) == segments.max() + 1 == 3
    assert len(set(zip(mask.ravel().tolist(), segments.ravel().tolist(), strict=True))) == 3


def test_slic_divides_what_no_mask_holds(image: np.ndarray, config: MaskConfig) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 10:30] = 1  # a number that SLIC gives, too
    write(mask, config)
    segments = superpixels(image, config, IMAGE)
    held = np.unique(segments[mask > 0])
    assert len(held) == 1
    assert (segments == held[0]).sum() == (mask > 0).sum()
    slic = superpixels(image, SuperpixelConfig(segments=12, sigma_px=0.5))
    pairs = set(zip(slic[mask == 0].tolist(), segments[mask == 0].tolist(), strict=True))
    assert len(pairs) == len(np.unique(slic[mask == 0])) == len(np.unique(segments)) - 1


def test_masks_that_do_not_fit_are_refused(image: np.ndarray, config: MaskConfig) -> None:
    with pytest.raises(DatasetError, match=r"153\.png: mask cannot be read"):
        superpixels(image, config, IMAGE)
    write(np.ones((40, 59), np.uint8), config)
    with pytest.raises(DatasetError, match="uint8 40 x 59, expected whole numbers 40 x 60"):
        superpixels(image, config, IMAGE)
    write(np.ones((40, 60, 3), np.uint8), config)
    with pytest.raises(DatasetError, match="40 x 60 x 3"):
        superpixels(image, config, IMAGE)


def test_the_configuration_chooses(config_values: dict) -> None:
    given = validate(config_values | {"superpixels": {"masks": "folder"}}, TrainConfig, "test").superpixels
    assert given == MaskConfig(masks="folder")
    assert type(validate(config_values, TrainConfig, "test").superpixels) is SuperpixelConfig
    with pytest.raises(ConfigError, match="did you mean 'masks'"):
        validate(config_values | {"superpixels": {"mask": "folder"}}, TrainConfig, "test")

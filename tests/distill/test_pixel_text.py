"""The teacher: its shipped weights name what they see, training learns, other weights are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from distill.images import read_image
from distill.nuscenes_frames import NuScenesConfig, read_keyframes
from distill.teachers.pixel_text import WEIGHTS, PixelTextNetwork, PixelTextTeacher
from distill.teachers.train_pixel_text import SKY_PIXEL, LabelWords, evaluate, train
from relidar.errors import CheckpointError

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def words() -> LabelWords:
    return LabelWords(CONFIGS / "prompts/nuscenes16.yaml", CONFIGS / "label_maps/nuscenes32.yaml")


def test_the_shipped_weights_are_small_and_give_unit_features(street: Path) -> None:
    assert WEIGHTS.stat().st_size < 3e6
    image = read_image(read_keyframes(NuScenesConfig(root=str(street), splits="file"), "train")[0].views[0].image)
    features = PixelTextTeacher()(image)
    assert features.shape == (384, -(-image.shape[0] // 4), -(-image.shape[1] // 4))
    torch.testing.assert_close(features.norm(dim=0), torch.ones(features.shape[1:]))


def test_label_words_cover_the_classes_and_the_sky(words: LabelWords) -> None:
    assert words.names[words.row_of_category[17]] == "car"
    assert words.names[words.row_of_category[SKY_PIXEL]] == "sky"
    assert words.row_of_category[0] == 255
    own = torch.stack([words.embeddings[first] for first in words.first[:-1]])
    assert words.logits(own).argmax(dim=1).tolist() == list(range(len(words.names)))


def test_training_learns_to_tell_two_colours(words: LabelWords) -> None:
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    images, labels = [], []
    for _ in range(4):
        label = np.full((192, 320), words.row_of_category[24], np.uint8)
        column = int(generator.integers(80, 240))
        label[:, column:] = words.row_of_category[SKY_PIXEL]
        image = np.where(label[..., None] == words.row_of_category[24], (60, 60, 60), (120, 170, 240)).astype(np.uint8)
        images.append(image)
        labels.append(label)
    network = PixelTextNetwork()
    train(network, words, images, labels, steps=8, lr=4e-3)
    iou = evaluate(words, network, images, labels)
    assert set(iou) == {"driveable_surface", "sky"}
    assert min(iou.values()) > 70


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(CheckpointError, match=r"train_pixel_text"):
        PixelTextTeacher(str(path))
    path.write_bytes(WEIGHTS.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="not weights of the pixel_text teacher"):
        PixelTextTeacher(str(path))

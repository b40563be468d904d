"""Words move out of the image features by the length asked for, and answers under several sets of words are the segmenter's."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.checkpoint import StudentCheckpoint
from distill.compare.moved_words import move_words, text_gap, words_of, zero_shots
from distill.zero_shot import zero_shot
from export.assemble import RawScan
from relidar.config_file import validate
from relidar.errors import ConfigError
from relidar.label_map import LabelMap
from relidar.words import Words

IMAGE, CLASSES, SPARE = 12, 4, 6


def some_words(seed: int = 0) -> Words:
    """Five prompts of four classes in the first IMAGE dimensions of a space with SPARE more."""
    text = np.zeros((5, IMAGE + SPARE), np.float32)
    text[:, :IMAGE] = np.random.default_rng(seed).normal(size=(5, IMAGE))
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    return Words(text, np.array([0, 2, 3, 4]), np.zeros((0, IMAGE + SPARE), np.float32))


@given(shift=st.floats(0.01, 20), seed=st.integers(0, 99))
def test_each_class_gets_its_share_in_a_dimension_of_its_own(shift: float, seed: int) -> None:
    words = some_words(seed)
    moved = move_words(words, shift, SPARE)
    np.testing.assert_allclose(np.linalg.norm(moved.text, axis=1), 1.0, rtol=1e-5)
    # A feature of an image has nothing in the spare dimensions, so its order of the words stays.
    image = np.zeros(IMAGE + SPARE, np.float32)
    image[:IMAGE] = np.random.default_rng(seed + 1).normal(size=IMAGE)
    np.testing.assert_allclose(moved.text @ image * np.hypot(1, shift), words.text @ image, rtol=1e-3, atol=1e-5)
    outside = moved.text[:, IMAGE:]
    assert ((outside != 0).sum(axis=1) == 1).all()
    assert outside.argmax(axis=1).tolist() == [0, 0, 1, 2, 3]
    np.testing.assert_allclose(outside.max(axis=1), shift / np.hypot(1, shift), rtol=1e-4)


def test_no_shift_is_no_change_and_too_little_room_is_told() -> None:
    words = some_words()
    assert move_words(words, 0.0, 0) is words
    with pytest.raises(ConfigError, match="set it to 4"):
        move_words(words, 1.0, CLASSES - 1)


def test_the_gap_grows_with_the_shift_from_none_where_image_features_fill_their_space() -> None:
    words, energy = some_words(), torch.eye(IMAGE) / IMAGE
    gaps = [text_gap(move_words(words, shift, SPARE), energy) for shift in (0.0, 0.5, 1.0, 2.0)]
    assert gaps[0] == pytest.approx(0.0, abs=1e-5)
    assert gaps == sorted(gaps)
    # Differences of words: (1 - s) inside and s outside of their square, with s = shift^2 / (1 + shift^2), up to the words' mean.
    assert 0.6 < gaps[3] < 0.95


def test_a_student_scores_under_its_own_words_what_the_segmenter_scores(
    tiny_checkpoint: StudentCheckpoint, random_cloud: Callable[..., RawScan]
) -> None:
    clouds = Clouds([random_cloud(400, seed) for seed in range(3)])
    label_map = label_map_of(tiny_checkpoint)
    words = words_of(tiny_checkpoint)
    turned = Words(words.text[::-1].copy(), words.first, words.queries)
    both = zero_shots(tiny_checkpoint, {0.0: words, 1.0: turned}, clouds, label_map, "test")
    expected = zero_shot(tiny_checkpoint, clouds, label_map)
    assert both[0.0] == {name: expected[name] for name in ("miou", "class_iou")}
    assert both[1.0] != both[0.0]


def label_map_of(checkpoint: StudentCheckpoint) -> LabelMap:
    """Two numbers a class."""
    classes = [
        {"name": c.name, "truth": [2 * number, 2 * number + 1], "predicted": [c.name]}
        for number, c in enumerate(checkpoint.prompt_set.classes[:15])
    ]
    return validate({"name": "test", "classes": classes}, LabelMap, "test")


class Clouds:
    """Clouds with labels drawn at random."""

    def __init__(self, scans: Sequence[RawScan]) -> None:
        self._scans = scans

    def __len__(self) -> int:
        return len(self._scans)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        scan = self._scans[number]
        label = np.random.default_rng(number).integers(0, 31, len(scan.xyz_m)).astype(np.uint8)
        return scan.xyz_m, scan.intensity, label

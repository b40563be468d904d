"""What a network gets to see: the whole picture, in its size and its numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.teachers.image_input import network_input


@given(st.integers(1, 90), st.integers(1, 90), st.one_of(st.none(), st.integers(1, 60)), st.sampled_from([1, 4, 14, 16, 32]))
@settings(max_examples=40, deadline=None)
def test_sides_are_multiples_of_the_stride_nearest_to_the_size_asked_for(
    height: int, width: int, short_side_px: int | None, stride: int
) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    pixels = network_input(image, short_side_px, stride, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    scale = 1.0 if short_side_px is None else short_side_px / min(height, width)
    for given_px, got_px in zip((height, width), pixels.shape[2:], strict=True):
        assert got_px % stride == 0
        assert got_px >= stride
        assert got_px == stride or abs(got_px - given_px * scale) <= stride / 2


def test_an_image_of_fitting_size_is_normalised_and_nothing_else() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    expected = ((image / 255.0 - mean) / std).transpose(2, 0, 1)[None]
    np.testing.assert_allclose(network_input(image, None, 16, mean, std).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("short_side_px", [16, 64])
def test_colours_survive_scaling(short_side_px: int) -> None:
    image = np.zeros((32, 64, 3), np.uint8)
    image[:, 32:] = (255, 128, 0)
    pixels = network_input(image, short_side_px, 16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert pixels.shape == (1, 3, short_side_px, 2 * short_side_px)
    torch.testing.assert_close(pixels[0, :, 0, -1], torch.tensor([1.0, 128 / 255, 0.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(pixels[0, :, -1, 0], torch.zeros(3), atol=1e-3, rtol=0)

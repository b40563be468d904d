"""A picture as an image network wants it: scaled, its sides multiples of the network's stride, normalised."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def network_input(
    image: NDArray[np.uint8], short_side_px: int | None, stride: int, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """The whole picture, slightly stretched where its sides are no multiples of the stride, so that every pixel has a feature.

    Args:
        image: (H, W, 3) RGB.
        short_side_px: the shorter side is scaled to this; None leaves the size as it is.
        stride: pixels a feature, along each side.
        mean: of each channel, for values in 0..1.
        std: of each channel, for values in 0..1.

    Returns:
        (1, 3, h, w) float32; h and w are multiples of the stride, and at least one.
    """
    scale = 1.0 if short_side_px is None else short_side_px / min(image.shape[:2])
    height, width = (max(1, round(side * scale / stride)) * stride for side in image.shape[:2])
    return normalised(resized(image, height, width), mean, std)


def resized(image: NDArray[np.uint8], height: int, width: int) -> Tensor:
    """(H, W, 3) RGB -> (1, 3, height, width) float32 in 0..1."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255.0
    if pixels.shape[2:] == (height, width):
        return pixels
    return torch.nn.functional.interpolate(pixels, (height, width), mode="bicubic", antialias=True).clamp(0.0, 1.0)


def normalised(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(B, 3, H, W) in 0..1 -> (x - mean) / std of each channel."""
    centre, spread = (torch.tensor(list(values), dtype=torch.float32)[:, None, None] for values in (mean, std))
    return (pixels - centre) / spread

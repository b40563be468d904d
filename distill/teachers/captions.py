"""Regions of a labelled street image and captions for them: short, of varied wording, naming one thing or the few largest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TEMPLATES = ("{}", "{}", "a photo of {}", "a picture of {}", "{} in the street", "a street with {}")
MIN_CELLS = 4
"""A region of fewer cells is not captioned."""
NAMED_AT_MOST = 3
NAMED_SHARE = 0.08
"""A caption of a window leaves out what fills less of it."""


@dataclass(frozen=True)
class Region:
    """A part of an image and what is said of it."""

    mask: NDArray[np.bool_]
    """(h, w) over the network's cells."""
    caption: str


def captioned_regions(
    labels: NDArray[np.uint8], words: Sequence[Sequence[str]], windows: int, generator: np.random.Generator
) -> list[Region]:
    """Regions of one image.

    Args:
        labels: (h, w) class of each cell, 255 where unknown.
        words: the names of each class, of which a caption takes one at random.
        windows: how many windows that hold several classes are tried.
        generator: of the windows and the wording.

    Returns:
        For each class that the image shows, its mask within a random window; and windows with two classes or more.
    """
    regions = []
    for row in np.flatnonzero(np.bincount(labels.ravel(), minlength=256)[: len(words)] >= MIN_CELLS):
        mask = (labels == row) & _window(labels.shape, generator)
        mask = mask if mask.sum() >= MIN_CELLS else labels == row
        regions.append(Region(mask, _caption([words[row]], generator)))
    for _ in range(windows):
        mask = _window(labels.shape, generator)
        counts = np.bincount(labels[mask], minlength=256)[: len(words)]
        largest = [row for row in np.argsort(-counts, kind="stable")[:NAMED_AT_MOST] if counts[row] >= NAMED_SHARE * mask.sum()]
        if len(largest) >= 2:
            regions.append(Region(mask, _caption([words[row] for row in largest], generator)))
    return regions


def _window(shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.bool_]:
    """(h, w) mask of a rectangle, a quarter to all of the image along each side."""
    size = [int(np.ceil(n * generator.uniform(0.25, 1.0))) for n in shape]
    top, left = (int(generator.integers(0, n - m + 1)) for n, m in zip(shape, size, strict=True))
    mask = np.zeros(shape, np.bool_)
    mask[top : top + size[0], left : left + size[1]] = True
    return mask


def _caption(names: Sequence[Sequence[str]], generator: np.random.Generator) -> str:
    drawn = [group[generator.integers(len(group))] for group in names]
    listed = drawn[0] if len(drawn) == 1 else f"{', '.join(drawn[:-1])} and {drawn[-1]}"
    return TEMPLATES[generator.integers(len(TEMPLATES))].format(listed)

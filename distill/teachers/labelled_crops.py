"""Random crops of labelled street images, drawn so that rare classes are seen as often as the road."""

import numpy as np
from numpy.typing import NDArray

from distill.teachers.street_network import STRIDE

Images = list[NDArray[np.uint8]]
"""(H, W, 3) pictures, or (H, W) rows of the label words, 255 being ignored."""
CROP = (192, 320)
MIN_PIXELS = 50


def draw_crops(
    images: Images, labels: Images, images_of_row: list[NDArray[np.intp]], count: int, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Crops around pixels of `count` classes drawn evenly: (count, h, w, 3) and (count, h, w) rows of the words."""
    rows_present = [row for row, indices in enumerate(images_of_row) if len(indices)]
    drawn_rows = generator.choice(rows_present, count)
    drawn_images = [generator.choice(images_of_row[row]) for row in drawn_rows]
    crops = [_crop(images[i], labels[i], row, generator) for i, row in zip(drawn_images, drawn_rows, strict=True)]
    return np.stack([crop for crop, _ in crops]), np.stack([label for _, label in crops])


def cell_labels(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(..., H, W) labels -> (..., h, w): that of the pixel in the middle of each of the network's cells."""
    height, width = labels.shape[-2:]
    row, column = (np.minimum(STRIDE * np.arange(-(-n // STRIDE)) + STRIDE // 2, n - 1) for n in (height, width))
    return labels[..., row[:, None], column]


def images_by_row(labels: Images, rows: int) -> list[NDArray[np.intp]]:
    """For each row of the words the images that show it on at least MIN_PIXELS pixels."""
    counts = np.stack([np.bincount(label.ravel(), minlength=256)[:rows] for label in labels])
    return [np.flatnonzero(counts[:, row] >= MIN_PIXELS) for row in range(rows)]


def _crop(
    image: NDArray[np.uint8], label: NDArray[np.uint8], row: int, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A crop around a random pixel of `row`, so that rare classes are seen as often as the road."""
    seen = np.flatnonzero(label == row)
    pixel = np.array(divmod(int(seen[generator.integers(len(seen))]), label.shape[1]))
    size = np.array(CROP)
    top, left = np.clip(pixel - generator.integers(0, size), 0, np.array(label.shape) - size)
    image, label = (array[top : top + size[0], left : left + size[1]] for array in (image, label))
    if generator.random() < 0.5:
        image, label = image[:, ::-1], label[:, ::-1]
    gain = generator.uniform(0.8, 1.2) * generator.uniform(0.93, 1.07, 3)
    return np.clip(image * gain, 0, 255).astype(np.uint8), label

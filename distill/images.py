"""Camera images as arrays, and their superpixels."""

from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from skimage.segmentation import slic

from relidar.config_file import Model
from relidar.errors import DatasetError


class SuperpixelConfig(Model):
    """SLIC's settings; the defaults are SLidR's at 1600 x 900 pixels."""

    segments: Annotated[int, Field(ge=2, le=5000)] = 150
    compactness: Annotated[float, Field(gt=0)] = 6.0
    sigma_px: Annotated[float, Field(ge=0)] = 3.0
    """Blur before clustering."""


def read_image(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB; raises DatasetError if the file is missing or cut short."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: image cannot be read ({error}); restore the file.") from error


def superpixels(image: NDArray[np.uint8], config: SuperpixelConfig) -> NDArray[np.int64]:
    """(H, W) superpixel numbers from 0, by skimage's SLIC (Achanta et al., 2012)."""
    return slic(
        image, n_segments=config.segments, compactness=config.compactness, sigma=config.sigma_px, start_label=0, channel_axis=2
    )

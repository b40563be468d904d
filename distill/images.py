"""Camera images as arrays, and their superpixels."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Discriminator, Field, Tag
from skimage.segmentation import slic

from relidar.config_file import Model
from relidar.errors import DatasetError


class SuperpixelConfig(Model):
    """SLIC's settings (Achanta et al., 2012); the defaults are SLidR's at 1600 x 900 pixels."""

    segments: Annotated[int, Field(ge=2, le=5000)] = 150
    compactness: Annotated[float, Field(gt=0)] = 6.0
    sigma_px: Annotated[float, Field(ge=0)] = 3.0
    """Blur before clustering."""


class MaskConfig(SuperpixelConfig):
    """Given masks, such as a segmentation model makes; SLIC divides only the pixels that no mask holds."""

    masks: Annotated[str, Field(min_length=1)]
    """Folder of PNG files, named as the images from the third-last part of their paths on: MASKS/samples/CAM_FRONT/NAME.png,
    MASKS/08/image_2/000000.png. Equal numbers (8 or 16 bits) are one mask, 0 is none; as many pixels as the image."""


def _superpixel_kind(value: Any) -> str:
    return "masks" if (isinstance(value, dict) and "masks" in value) or isinstance(value, MaskConfig) else "slic"


SuperpixelsConfig = Annotated[
    Annotated[SuperpixelConfig, Tag("slic")] | Annotated[MaskConfig, Tag("masks")], Discriminator(_superpixel_kind)
]


def read_image(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB; raises DatasetError if the file is missing or cut short."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: image cannot be read ({error}); restore the file.") from error


def image_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels, without reading the pixels; raises DatasetError."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: image cannot be read ({error}); restore the file.") from error


def superpixels(image: NDArray[np.uint8], config: SuperpixelConfig, path: Path | None = None) -> NDArray[np.int64]:
    """(H, W) superpixel numbers from 0: skimage's SLIC, or the mask of the image at `path` where `config` has masks.

    Raises:
        DatasetError: the mask is missing, damaged or of another size.
    """
    if isinstance(config, MaskConfig):
        if path is None:
            raise ValueError("masks are found by the path of the image; give it")
        mask = _read_mask(mask_path(path, config), image.shape[:2])
        if mask.all():
            return np.unique(mask, return_inverse=True)[1].reshape(mask.shape)
        segments = np.where(mask > 0, mask, mask.max() + 1 + _slic(image, config))
        return np.unique(segments, return_inverse=True)[1].reshape(mask.shape)
    return _slic(image, config)


def mask_path(image: Path, config: MaskConfig) -> Path:
    """Where the mask of an image lies."""
    return Path(config.masks, *image.parts[-3:]).with_suffix(".png")


def _slic(image: NDArray[np.uint8], config: SuperpixelConfig) -> NDArray[np.int64]:
    return slic(
        image, n_segments=config.segments, compactness=config.compactness, sigma=config.sigma_px, start_label=0, channel_axis=2
    )


def _read_mask(path: Path, shape: tuple[int, ...]) -> NDArray[np.int64]:
    try:
        with Image.open(path) as image:
            mask = np.asarray(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: mask cannot be read ({error}); make it, or leave superpixels.masks out for SLIC.") from error
    if mask.shape != shape or mask.dtype.kind not in "ui" or mask.min() < 0:
        raise DatasetError(
            f"{path}: {mask.dtype} {' x '.join(map(str, mask.shape))}, expected whole numbers {' x '.join(map(str, shape))}, "
            "one a pixel of the image; write an 8 or 16 bit grey PNG."
        )
    return mask.astype(np.int64)

"""Which LiDAR points a camera really sees.

LiDAR and camera sit in different places, so a point may project onto an image of something nearer that hides it, and would be
paired with the features of the wrong thing. SLidR's protocol pairs it all the same; with an `OcclusionConfig` it is left out.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import minimum_filter

from relidar.config_file import Model


class OcclusionConfig(Model):
    """A point is hidden where another point within `radius_px` is nearer than `nearer` times its distance less `margin_m`."""

    radius_px: Annotated[int, Field(ge=1)] = 8
    """About the gap between the LiDAR's beams in the image; half the side of a square."""
    nearer: Annotated[float, Field(gt=0, le=1)] = 0.85
    margin_m: Annotated[float, Field(ge=0)] = 0.3


def visible(
    distance_m: NDArray[np.float64], pixel: NDArray[np.intp], height: int, width: int, config: OcclusionConfig
) -> NDArray[np.bool_]:
    """(P,) which points nothing nearer hides.

    Args:
        distance_m: (P,) from the camera.
        pixel: (P,) row * W + column.
        height: H of the image, pixels.
        width: W of the image, pixels.
        config: when a point counts as hidden.
    """
    nearest = np.full(height * width, np.inf)
    np.minimum.at(nearest, pixel, distance_m)
    around = minimum_filter(nearest.reshape(height, width), size=2 * config.radius_px + 1, mode="constant", cval=np.inf)
    return around.ravel()[pixel] >= config.nearer * distance_m - config.margin_m

"""Random changes of a training scan; every one keeps the pairs of points and superpixels true.

Points keep their numbers, and those that are dropped become NaN, which lies in no voxel: so a pair stays the same point in the
same superpixel, or falls away. SLidR (Sautier et al., CVPR 2022) changes the images, too. Here the teacher is frozen and has seen
each image beforehand, whole, its features kept per superpixel. What that leaves of SLidR's two changes of an image:

- A crop: pairs outside of it fall away. A superpixel that it cuts keeps its feature, the mean over all of its pixels, and only
  its points inside. The teacher does not see the crop enlarged, as SLidR's network does, and a crop that keeps few pairs is not
  drawn again; nor is a cuboid, which SLidR takes back where it leaves an image fewer than 1,024 pairs.
- A flip (`image_flip`): the teacher has seen the mirrored images, too. Superpixels and pairs are those of the image as it is.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from relidar.config_file import Model

Cloud = NDArray[np.float32]
"""(N, 3) in the LiDAR frame, metres."""
Box = tuple[float, float, float, float]
"""Top, left, bottom, right as shares of an image's height and width."""
MOST_OBLONG = 4 / 3
"""A crop is at most so much wider or higher, next to its image, than it would be in proportion."""


class AugmentConfig(Model):
    """What is changed at random, anew for each training scan."""

    rotate: bool = True
    """About the vertical axis, by any angle."""
    flip: bool = True
    """Left-right and front-back."""
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Sizes vary by up to this share."""
    drop_points: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Up to this share of the points is dropped at random."""
    shift_height_m: Annotated[float, Field(ge=0)] = 0.0
    """The sensor's height varies by up to this."""
    drop_cuboid: Annotated[float, Field(ge=0, le=1)] = 0.0
    """A cuboid of up to this share of the scan's length, width and height is cut out (SLidR: 0.2); 0: none."""
    image_crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The least share of an image's area that a random crop of it keeps (SLidR: 0.3); 1: no crops."""
    image_flip: bool = False
    """Half of the scans learn from the mirrored images. The cache then holds the teacher's features of both, and takes twice the
    time to fill. SLidR mirrors each image by itself, here all of a keyframe are."""


def augment(xyz_m: Cloud, config: AugmentConfig, generator: np.random.Generator) -> Cloud:
    """(N, 3) points, changed at random as `config` says, all but the images; dropped points become NaN."""
    changed = xyz_m
    if config.rotate:
        changed = rotate(changed, generator.uniform(-np.pi, np.pi))
    if config.flip:
        changed = flip(changed, *(generator.random(2) < 0.5))
    changed = scale(changed, generator.uniform(1 - config.scale, 1 + config.scale))
    changed = shift_height(changed, generator.uniform(-config.shift_height_m, config.shift_height_m))
    dropped = generator.random(len(xyz_m)) < generator.uniform(0.0, config.drop_points)
    if config.drop_cuboid > 0:
        dropped |= in_cuboid(changed, config.drop_cuboid, generator)
    changed[dropped] = np.nan
    return changed


def rotate(xyz_m: Cloud, angle_rad: float) -> Cloud:
    """Turned about the vertical axis, counter-clockwise from above."""
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]], np.float32)
    return xyz_m @ turn.T


def flip(xyz_m: Cloud, front_back: bool, left_right: bool) -> Cloud:
    """Mirrored across the plane x = 0, y = 0 or both."""
    return xyz_m * np.array([-1 if front_back else 1, -1 if left_right else 1, 1], np.float32)


def scale(xyz_m: Cloud, factor: float) -> Cloud:
    """Grown about the sensor."""
    return xyz_m * np.float32(factor)


def shift_height(xyz_m: Cloud, height_m: float) -> Cloud:
    """Raised."""
    return xyz_m + np.array([0, 0, height_m], np.float32)


def in_cuboid(xyz_m: Cloud, largest: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """(N,) which points lie in a random upright cuboid about one of them.

    Args:
        xyz_m: finite points, or NaN for those that were dropped.
        largest: its size is drawn from 0 to this share of the cloud's extent along each axis.
        generator: of random numbers.
    """
    finite = np.flatnonzero(np.isfinite(xyz_m).all(axis=1))
    if not len(finite):
        return np.zeros(len(xyz_m), bool)
    extent_m = np.ptp(xyz_m[finite], axis=0)
    half_m = extent_m * np.float32(generator.uniform(0.0, largest) / 2)
    centre_m = xyz_m[generator.choice(finite)]
    inside: NDArray[np.bool_] = (np.abs(xyz_m - centre_m) <= half_m).all(axis=1)
    return inside


def crop_box(smallest: float, generator: np.random.Generator) -> Box:
    """A random crop of at least `smallest` of an image's area, of about its proportions, anywhere in it."""
    area = generator.uniform(smallest, 1.0)
    # A crop that is wider than 1 / area times its height, in shares, would not fit into the image.
    most = min(MOST_OBLONG, 1.0 / area)
    oblong = np.exp(generator.uniform(-np.log(most), np.log(most)))
    height, width = min(1.0, np.sqrt(area / oblong)), min(1.0, np.sqrt(area * oblong))
    top, left = generator.uniform(0.0, 1.0 - height), generator.uniform(0.0, 1.0 - width)
    return top, left, top + height, left + width


def in_box(pixel: NDArray[np.intp], height: int, width: int, box: Box) -> NDArray[np.bool_]:
    """(P,) which pixels, row * W + column of an image of H x W, have their centres inside the box."""
    top, left, bottom, right = box
    row, column = (pixel // width + 0.5) / height, (pixel % width + 0.5) / width
    return (row >= top) & (row < bottom) & (column >= left) & (column < right)

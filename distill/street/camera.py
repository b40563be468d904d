"""A camera image of the street: primary rays, sun shadows, procedural texture, sky and haze."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image

from distill.street.categories import SKY
from distill.street.raycast import Caster
from distill.street.shading import develop, outward, shade, smoothed, sunny

_CORNER_M = 2.5  # what stands nearer than this keeps sky light off a surface


@lru_cache(maxsize=16)
def _local_rays(focal_x: float, focal_y: float, centre_x: float, centre_y: float, width: int, height: int) -> np.ndarray:
    column, row = np.meshgrid((np.arange(width) + 0.5 - centre_x) / focal_x, (np.arange(height) + 0.5 - centre_y) / focal_y)
    rays = np.stack([column, row, np.ones_like(row)], -1).reshape(-1, 3)
    return np.asarray(rays / np.linalg.norm(rays, axis=1, keepdims=True), np.float32)


def pixel_rays(intrinsic: np.ndarray, width: int, height: int, world_from_camera: np.ndarray) -> np.ndarray:
    """World directions (H*W, 3) float32 through the pixels' middles, row by row, unit length; `intrinsic` has no skew."""
    k = intrinsic.tolist()
    rays = _local_rays(k[0][0], k[1][1], k[0][2], k[1][2], width, height)
    return np.asarray(rays @ world_from_camera[:3, :3].T.astype(np.float32))


def photograph(
    caster: Caster,
    look: tuple[np.ndarray, np.ndarray, np.ndarray],
    intrinsic: np.ndarray,
    size: tuple[int, int],
    world_from_camera: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Takes one picture.

    Args:
        caster: the street at that moment.
        look: the tables of light (16,), facades (K, 12) and marks (M, 5).
        intrinsic: (3, 3). size: width, height in pixels. world_from_camera: 4x4.
        seed: of the sensor noise.

    Returns:
        rgb (H, W, 3) uint8 and category (H, W) uint8, SKY where nothing is met.
    """
    light, facades, marks = look
    width, height = size
    directions = pixel_rays(intrinsic, width, height, world_from_camera)
    origin = world_from_camera[:3, 3].astype(np.float32)
    triangle, distance = caster.first(np.broadcast_to(origin, directions.shape).copy(), directions)
    starts, wanted = sunny(triangle, distance, origin, directions, caster.normals, light[:3])
    lit = wanted.copy()
    lit[wanted] = ~caster.blocked(starts[wanted], light[None, :3].astype(np.float32))
    starts, away, pixels = outward(triangle, distance, origin, directions, caster.normals, width)
    free = np.full(len(triangle), -1, np.int8)
    free[pixels] = ~caster.blocked(starts, away, _CORNER_M)
    soup = caster.soup
    linear = shade(
        triangle, distance, lit, smoothed(free, distance, width), origin, directions, soup.corners, soup.uv, caster.normals,
        soup.rgb, soup.material, soup.style, light, facades, marks,
    )  # fmt: skip
    rgb = develop(linear.reshape(height, width, 3), triangle.reshape(height, width), light[15], seed)
    category = np.where(triangle >= 0, soup.category[triangle], np.uint8(SKY)).astype(np.uint8)
    return rgb, category.reshape(height, width)


def jpeg(rgb: np.ndarray, quality: int) -> bytes:
    """The image (H, W, 3) uint8 as JPEG."""
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=quality)
    return stream.getvalue()

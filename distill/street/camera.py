"""A camera image of the street: primary rays, sun shadows, procedural texture, sky and haze."""

import io

import numpy as np
from numba import njit
from PIL import Image

from distill.street.categories import SKY
from distill.street.light import sky
from distill.street.materials import GLASS, LEAF, texture
from distill.street.noise import hashed
from distill.street.raycast import Caster


def pixel_rays(intrinsic: np.ndarray, width: int, height: int, world_from_camera: np.ndarray) -> np.ndarray:
    """World directions (H*W, 3) float32 through the pixels' middles, row by row, unit length."""
    column, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([column, row, np.ones_like(row)], -1).reshape(-1, 3) @ np.linalg.inv(intrinsic).T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    return np.asarray(rays @ world_from_camera[:3, :3].T, np.float32)


@njit(cache=True)
def _sunny(triangle, distance, origin, directions, normals, sun):
    """Starts of shadow rays (R, 3) and which rays need one (R,): surfaces that face the sun on the seen side."""
    starts = np.zeros((len(triangle), 3), np.float32)
    wanted = np.zeros(len(triangle), np.bool_)
    for i in range(len(triangle)):
        if triangle[i] < 0:
            continue
        n = normals[triangle[i]]
        facing = n[0] * directions[i, 0] + n[1] * directions[i, 1] + n[2] * directions[i, 2]
        side = -1.0 if facing > 0 else 1.0
        if side * (n[0] * sun[0] + n[1] * sun[1] + n[2] * sun[2]) > 0:
            wanted[i] = True
            for k in range(3):
                starts[i, k] = origin[k] + distance[i] * directions[i, k] + side * 0.01 * n[k]
    return starts, wanted


@njit(cache=True)
def _shade(triangle, distance, lit, origin, directions, corners, uvs, normals, rgb, material, style, light, facades, marks):
    """Linear colours (R, 3) float32 of all rays."""
    image = np.empty((len(triangle), 3), np.float32)
    for i in range(len(triangle)):
        dx, dy, dz = directions[i, 0], directions[i, 1], directions[i, 2]
        f = triangle[i]
        if f < 0:
            image[i, 0], image[i, 1], image[i, 2] = sky(dx, dy, dz, light, True)
            continue
        d = distance[i]
        x, y, z = origin[0] + d * dx, origin[1] + d * dy, origin[2] + d * dz
        # Barycentric coordinates of the hit by areas projected on the plane's steepest axis.
        a, b, c = corners[f, 0], corners[f, 1], corners[f, 2]
        nx, ny, nz = normals[f, 0], normals[f, 1], normals[f, 2]
        p, q, px, py = 0, 1, x, y
        if abs(nx) > abs(ny) and abs(nx) > abs(nz):
            p, q, px, py = 1, 2, y, z
        elif abs(ny) > abs(nz):
            p, q, px, py = 0, 2, x, z
        area = (b[p] - a[p]) * (c[q] - a[q]) - (b[q] - a[q]) * (c[p] - a[p])
        area = area if abs(area) > 1e-12 else 1e-12
        wb = ((px - a[p]) * (c[q] - a[q]) - (py - a[q]) * (c[p] - a[p])) / area
        wc = ((b[p] - a[p]) * (py - a[q]) - (b[q] - a[q]) * (px - a[p])) / area
        wa = 1 - wb - wc
        u = wa * uvs[f, 0, 0] + wb * uvs[f, 1, 0] + wc * uvs[f, 2, 0]
        v = wa * uvs[f, 0, 1] + wb * uvs[f, 1, 1] + wc * uvs[f, 2, 1]
        r, g, b_, gloss, glow, _ = texture(
            material[f], u, v, x, y, z, style[f], rgb[f, 0], rgb[f, 1], rgb[f, 2], d, facades, marks
        )
        if nx * dx + ny * dy + nz * dz > 0:
            nx, ny, nz = -nx, -ny, -nz
        sun = nx * light[0] + ny * light[1] + nz * light[2]
        direct = max(0.0, sun) if lit[i] else 0.0
        if material[f] == LEAF:  # light shines through leaves, and a leaf stands for many at all angles
            direct = (0.45 + 0.4 * abs(sun)) if lit[i] else 0.1
        up = 0.5 + 0.5 * nz
        ambient_r = (light[6] * 0.55 + light[9] * 0.45) * up + 0.2 * (1 - up) * (0.35 + 0.2 * light[3])
        ambient_g = (light[7] * 0.55 + light[10] * 0.45) * up + 0.2 * (1 - up) * (0.35 + 0.2 * light[4])
        ambient_b = (light[8] * 0.55 + light[11] * 0.45) * up + 0.2 * (1 - up) * (0.32 + 0.2 * light[5])
        r *= ambient_r + direct * light[3] + 3 * glow
        g *= ambient_g + direct * light[4] + 3 * glow
        b_ *= ambient_b + direct * light[5] + 3 * glow
        if gloss > 0:
            into = -(nx * dx + ny * dy + nz * dz)
            mirror = gloss + (1 - gloss) * 0.6 * (1 - into) ** 4 if material[f] == GLASS else gloss * (1 + (1 - into) ** 3)
            mx, my, mz = dx + 2 * into * nx, dy + 2 * into * ny, dz + 2 * into * nz
            sr, sg, sb = sky(mx, my, mz, light, True)
            if mz < 0.05:  # what is mirrored below the horizon is street, not sky
                k = min(1.0, (0.05 - mz) * 6)
                sr, sg, sb = sr * (1 - k) + 0.16 * k, sg * (1 - k) + 0.16 * k, sb * (1 - k) + 0.16 * k
            mirror = min(0.9, mirror)
            r, g, b_ = r * (1 - mirror) + sr * mirror, g * (1 - mirror) + sg * mirror, b_ * (1 - mirror) + sb * mirror
            toward = mx * light[0] + my * light[1] + mz * light[2]
            if lit[i] and toward > 0.96:
                k = ((toward - 0.96) / 0.04) ** 2 * 0.5
                r, g, b_ = r + k * light[3], g + k * light[4], b_ + k * light[5]
        haze = 1 - np.exp(-d / light[12])
        image[i, 0] = r * (1 - haze) + light[9] * haze * 0.95
        image[i, 1] = g * (1 - haze) + light[10] * haze * 0.95
        image[i, 2] = b_ * (1 - haze) + light[11] * haze * 0.95
    return image


@njit(cache=True)
def _develop(linear, triangle, exposure, seed):
    """Softens edges between triangles, then film curve, gamma and sensor noise: (H, W, 3) uint8."""
    height, width = triangle.shape
    out = np.empty((height, width, 3), np.uint8)
    for i in range(height):
        for j in range(width):
            r, g, b, weight = linear[i, j, 0], linear[i, j, 1], linear[i, j, 2], 1.0
            for k in range(4):
                m, n = i + (k == 0) - (k == 1), j + (k == 2) - (k == 3)
                if 0 <= m < height and 0 <= n < width and triangle[m, n] != triangle[i, j]:
                    r += 0.3 * linear[m, n, 0]
                    g += 0.3 * linear[m, n, 1]
                    b += 0.3 * linear[m, n, 2]
                    weight += 0.3
            grain = 0.012 * (hashed(j + 7919 * seed, i + 104729 * seed) - 0.5)
            for c in range(3):
                value = (r if c == 0 else g if c == 1 else b) / weight * exposure
                value = value * (1 + value * 0.12) / (1 + value)  # keeps highlights from clipping
                value = (value * 1.25) ** (1 / 2.2) + grain
                out[i, j, c] = np.uint8(min(255.0, max(0.0, value * 255 + 0.5)))
    return out


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
    starts, wanted = _sunny(triangle, distance, origin, directions, caster.normals, light[:3])
    lit = wanted.copy()
    lit[wanted] = ~caster.blocked(starts[wanted], light[None, :3].astype(np.float32))
    soup = caster.soup
    linear = _shade(
        triangle, distance, lit, origin, directions, soup.corners, soup.uv, caster.normals, soup.rgb, soup.material,
        soup.style, light, facades, marks,
    )  # fmt: skip
    rgb = _develop(linear.reshape(height, width, 3), triangle.reshape(height, width), light[15], seed)
    category = np.where(triangle >= 0, soup.category[triangle], np.uint8(SKY)).astype(np.uint8)
    return rgb, category.reshape(height, width)


def jpeg(rgb: np.ndarray, quality: int) -> bytes:
    """The image (H, W, 3) uint8 as JPEG."""
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=quality)
    return stream.getvalue()

"""Shading, compiled: sun, shadow, sky light that corners keep out, texture, gloss, haze, and the film."""

import numpy as np

from distill.street.light import sky
from distill.street.materials import GLASS, LEAF, texture
from distill.street.noise import hashed
from relidar.cached_kernel import cached_kernel


@cached_kernel()
def sunny(
    triangle: np.ndarray, distance: np.ndarray, origin: np.ndarray, directions: np.ndarray, normals: np.ndarray, sun: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
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


@cached_kernel()
def outward(
    triangle: np.ndarray, distance: np.ndarray, origin: np.ndarray, directions: np.ndarray, normals: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A ray into a random direction off the surface for every second pixel: starts, directions (R, 3), and pixels (R,)."""
    starts = np.zeros((len(triangle) // 2 + 1, 3), np.float32)
    away = np.zeros_like(starts)
    pixels = np.zeros(len(starts), np.int64)
    count = 0
    for i in range(len(triangle)):
        if triangle[i] < 0 or (i // width + i % width) % 2 or count == len(starts):
            continue
        n = normals[triangle[i]]
        facing = n[0] * directions[i, 0] + n[1] * directions[i, 1] + n[2] * directions[i, 2]
        side = -1.0 if facing > 0 else 1.0
        # A point on the unit sphere around the normal's tip gives directions spread by the cosine law. A lattice of
        # irrational steps spreads neighbouring pixels' directions evenly, so that little smoothing is needed; a little
        # chance on top keeps the lattice from showing.
        row, column = i // width, i % width
        turn = 2 * np.pi * ((0.7548776662466927 * column + 0.5698402909980532 * row + 0.2 * hashed(i, 3)) % 1.0)
        height = 2 * ((0.8191725133961645 * column + 0.6710436067037893 * row + 0.2 * hashed(i, 11)) % 1.0) - 1
        flat = np.sqrt(1 - height * height)
        ball = (flat * np.cos(turn), flat * np.sin(turn), height)
        for k in range(3):
            starts[count, k] = origin[k] + distance[i] * directions[i, k] + side * 0.02 * n[k]
            away[count, k] = side * 1.01 * n[k] + ball[k]
        pixels[count] = i
        count += 1
    return starts[:count], away[:count], pixels[:count]


@cached_kernel()
def smoothed(free: np.ndarray, distance: np.ndarray, width: int) -> np.ndarray:
    """Averages free (1 open, 0 shut, -1 unknown), (H*W,), over 5 x 5 neighbours at about the same distance."""
    height = len(free) // width
    result = np.ones(len(free), np.float32)
    for i in range(height):
        for j in range(width):
            total, weight, d = 0.0, 0.0, distance[i * width + j]
            for m in range(max(0, i - 2), min(height, i + 3)):
                for n in range(max(0, j - 2), min(width, j + 3)):
                    k = m * width + n
                    if free[k] >= 0 and abs(distance[k] - d) < 0.04 * d:
                        total += free[k]
                        weight += 1
            if weight > 0:
                result[i * width + j] = total / weight
    return result


@cached_kernel()
def shade(
    triangle: np.ndarray, distance: np.ndarray, lit: np.ndarray, openness: np.ndarray, origin: np.ndarray, directions: np.ndarray,
    corners: np.ndarray, uvs: np.ndarray, normals: np.ndarray, rgb: np.ndarray, material: np.ndarray, style: np.ndarray,
    light: np.ndarray, facades: np.ndarray, marks: np.ndarray,
) -> np.ndarray:  # fmt: skip
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
        up, shut = 0.5 + 0.5 * nz, 0.35 + 0.65 * openness[i]
        ambient_r = (light[6] * 0.55 + light[9] * 0.45) * up + 0.2 * (1 - up) * (0.35 + 0.2 * light[3])
        ambient_g = (light[7] * 0.55 + light[10] * 0.45) * up + 0.2 * (1 - up) * (0.35 + 0.2 * light[4])
        ambient_b = (light[8] * 0.55 + light[11] * 0.45) * up + 0.2 * (1 - up) * (0.32 + 0.2 * light[5])
        r *= shut * ambient_r + direct * light[3] + 3 * glow
        g *= shut * ambient_g + direct * light[4] + 3 * glow
        b_ *= shut * ambient_b + direct * light[5] + 3 * glow
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


@cached_kernel()
def develop(linear: np.ndarray, triangle: np.ndarray, exposure: float, seed: int) -> np.ndarray:
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
            grey = (0.3 * r + 0.6 * g + 0.1 * b) / weight
            for c in range(3):
                value = (r if c == 0 else g if c == 1 else b) / weight
                value = max(0.0, grey + 1.15 * (value - grey)) * exposure
                # A film-like curve (Narkowicz's fit of ACES): deep shadows, soft highlights.
                value = value * (2.51 * value + 0.03) / (value * (2.43 * value + 0.59) + 0.14)
                out[i, j, c] = np.uint8(min(255.0, max(0.0, (value ** (1 / 2.2) + grain) * 255 + 0.5)))
    return out

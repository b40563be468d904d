"""Materials: what a surface looks like at a point, to the cameras and to the LiDAR. Compiled, one point at a time.

`texture` returns the albedo (linear rgb), gloss (share of mirrored sky), glow (emitted light) and `near_infrared`, the
reflectance at the LiDAR's 905 nm (1 = white; more for retroreflectors; 0 = glass, which mostly gives no return).
"""

import numpy as np

from distill.street.noise import hashed, noise
from relidar.cached_kernel import cached_kernel

(
    PLAIN, ASPHALT, PAVING, GRASS, FACADE, BRICK, LEAF, BARK, CAR_PAINT, GLASS, METAL, RUBBER, CLOTH, SKIN, STRIPES, SIGN,
    ROOF, LAMP, DIRT, CONCRETE, TILES,
) = range(21)  # fmt: skip

# Reflectance at 905 nm of a grey surface of albedo 0.5; vegetation is bright there, asphalt dark. Together with the sensor's
# response in `lidar`, median intensities come near those of real nuScenes scans: at 5 to 10 m road 17, sidewalk 40, vegetation
# 42, at 20 to 40 m 5, 12 and 17.
_NEAR_INFRARED = np.array(
    [0.34, 0.16, 0.42, 0.55, 0.4, 0.4, 0.42, 0.3, 0.34, 0.0, 0.38, 0.06, 0.34, 0.4, 0.5, 1.6, 0.24, 0.34, 0.3, 0.4, 0.42]
)
# How rough the surface is to a range measurement, metres of standard deviation: grass and leaves have depth.
ROUGHNESS_M = np.zeros(21)
ROUGHNESS_M[[GRASS, LEAF, DIRT, CLOTH]] = (0.035, 0.05, 0.02, 0.015)

# Columns of the table of facade styles and of the table of road marks, kept as plain arrays for compiled code.
FLOOR_M, BAY_M, WINDOW_W_M, WINDOW_H_M, SILL_M, PATTERN, SHOP, FRAME, SEED, TRIM_R, TRIM_G, TRIM_B = range(12)
SOLID, DASHED, ZEBRA, YELLOW, PATCH, ZEBRA_ACROSS, DASHED_ACROSS, MANHOLE, YELLOW_DASHED = range(9)


@cached_kernel()
def _brick(u: float, v: float, r: float, g: float, b: float, fine: float) -> tuple[float, float, float]:
    row = np.floor(v / 0.075)
    shifted = u / 0.22 + 0.5 * (row % 2)
    column = np.floor(shifted)
    tone = 0.8 + 0.4 * hashed(int(column), int(row) + 91)
    joint = (v / 0.075 - row) < 0.14 or (shifted - column) < 0.05
    if joint and fine > 0.3:
        k = fine * 0.7
        return r * tone * (1 - k) + 0.42 * k, g * tone * (1 - k) + 0.40 * k, b * tone * (1 - k) + 0.37 * k
    tone = tone * fine + 1.0 * (1 - fine)
    return r * tone, g * tone, b * tone


@cached_kernel()
def _facade(
    u: float, v: float, r: float, g: float, b: float, style: np.ndarray, fine: float
) -> tuple[float, float, float, float, float]:
    """Wall, windows and shop front; style is a row of the facade table. The last value is 1 on glass."""
    floor, bay = style[FLOOR_M], style[BAY_M]
    seed = int(style[SEED])
    tone = 0.9 + 0.2 * noise(u * 0.35 + seed, v * 0.35)
    # Rain leaves streaks, and the foot of a wall is dirty.
    tone *= 1 - 0.12 * noise(u * 2.3 + seed, v * 0.12) - 0.25 * max(0.0, 1 - v / 0.8)
    shop_h = 3.6 if style[SHOP] > 0 else 0.0
    if v < shop_h:
        if v > 2.85:  # the shop's sign board
            shade = hashed(int(np.floor(u / (2 * bay))) + 17, seed)
            letters = noise(u * 7.0, 3.1 + seed) > 0.62 and 3.05 < v < 3.4
            k = 0.75 if letters else 0.0
            base_r, base_g, base_b = 0.05 + 0.55 * shade, 0.08 + 0.3 * ((shade * 7) % 1), 0.1 + 0.5 * ((shade * 13) % 1)
            return base_r * (1 - k) + k, base_g * (1 - k) + k, base_b * (1 - k) + k * 0.9, 0.05, 0.0
        position = (u % bay) / bay
        if v < 0.45 or position < 0.05 or position > 0.95:
            return style[TRIM_R] * tone, style[TRIM_G] * tone, style[TRIM_B] * tone, 0.02, 0.0
        goods = noise(u * 2.2 + seed, v * 2.6)
        return 0.05 + 0.22 * goods * goods, 0.05 + 0.17 * goods, 0.05 + 0.13 * (1 - goods), 0.3, 1.0
    w = v - shop_h
    level, column = np.floor(w / floor), np.floor(u / bay)
    x, y = u - (column + 0.5) * bay, w - level * floor - style[SILL_M]
    half = style[WINDOW_W_M] / 2
    if abs(x) < half and 0 < y < style[WINDOW_H_M]:
        edge = min(half - abs(x), min(y, style[WINDOW_H_M] - y))
        middle = min(abs(x), abs(y - 0.62 * style[WINDOW_H_M]))
        if edge < 0.07 or (middle < 0.035 and style[PATTERN] < 2.5):
            f = style[FRAME]
            return f, f, f * 0.97, 0.02, 0.0
        inside = hashed(int(column) + 31 * seed, int(level) + 7)
        if inside > 0.72 and y > style[WINDOW_H_M] * (1.6 * inside - 1.0):  # curtains and blinds
            return 0.5, 0.47, 0.4, 0.2, 1.0
        depth = 0.02 + 0.05 * inside
        return depth, depth * 1.1, depth * 1.25, 0.42, 1.0
    if abs(x) < half + 0.12 and (-0.14 < y <= 0 or style[WINDOW_H_M] <= y < style[WINDOW_H_M] + 0.1):
        return style[TRIM_R] * tone, style[TRIM_G] * tone, style[TRIM_B] * tone, 0.0, 0.0
    if style[PATTERN] == 1:
        r, g, b = _brick(u, v, r, g, b, fine)
    elif style[PATTERN] == 2:  # concrete panels with dark joints
        if (u % bay) < 0.06 or (w % floor) < 0.06:
            tone *= 0.6
    elif style[PATTERN] == 3:
        tone *= 0.75
    elif w % floor < 0.12 and floor > 0:  # a plaster band at each storey
        tone *= 1.12
    return r * tone, g * tone, b * tone, 0.0, 0.0


@cached_kernel()
def _road_mark(s: float, t: float, marks: np.ndarray) -> int:
    """What is painted at (s, t): 0 nothing, 1 white, 2 yellow, 3 a darker patch, 4 a manhole cover."""
    found = 0
    for i in range(len(marks)):
        if marks[i, 0] <= s < marks[i, 1] and marks[i, 2] <= t < marks[i, 3]:
            kind = int(marks[i, 4])
            if kind == SOLID:
                return 1
            if kind == DASHED and s % 9.0 < 3.5:
                return 1
            if kind == DASHED_ACROSS and t % 6.0 < 3.0:
                return 1
            if kind == ZEBRA and (t - marks[i, 2]) % 1.1 < 0.55:
                return 1
            if kind == ZEBRA_ACROSS and (s - marks[i, 0]) % 1.1 < 0.55:
                return 1
            if kind == YELLOW or (kind == YELLOW_DASHED and s % 9.0 < 4.0):
                return 2
            if kind == PATCH:
                found = 3
            if kind == MANHOLE:
                ds, dt = s - 0.5 * (marks[i, 0] + marks[i, 1]), t - 0.5 * (marks[i, 2] + marks[i, 3])
                if ds * ds + dt * dt < 0.1:
                    found = 4
    return found


@cached_kernel()
def _asphalt(
    u: float, v: float, r: float, g: float, b: float, fine: float, marks: np.ndarray
) -> tuple[float, float, float, float]:
    mark = _road_mark(u, v, marks)
    tone = 0.82 + 0.3 * noise(u * 0.22, v * 0.5) + 0.25 * fine * (noise(u * 23, v * 23) - 0.5)
    tone += 0.1 * (noise(u * 1.3, v * 2.9) - 0.5)
    if mark == 3:
        tone *= 0.62
    elif mark == 4:
        return 0.05, 0.045, 0.04, 0.25
    crack = abs(noise(u * 0.6 + 31, v * 0.6) - 0.5 + 0.1 * noise(u * 5, v * 5))
    if crack < 0.004 * fine and noise(u * 0.09, v * 0.09 + 5) > 0.55:
        tone *= 0.7
    r, g, b = r * tone, g * tone, b * tone
    if mark == 1 or mark == 2:
        # Paint wears off, most in the wheel tracks.
        kept = min(1.0, max(0.15, 1.35 - 0.9 * noise(u * 1.7, v * 3.3) - 0.3 * fine * noise(u * 19, v * 19)))
        r = r * (1 - kept) + 0.72 * kept
        g = g * (1 - kept) + (0.71 if mark == 1 else 0.5) * kept
        b = b * (1 - kept) + (0.68 if mark == 1 else 0.1) * kept
        return r, g, b, 0.16 + 0.3 * kept
    return r, g, b, 0.16 * tone


@cached_kernel()
def texture(
    material: int, u: float, v: float, x: float, y: float, z: float, style: float, r: float, g: float, b: float,
    distance: float, facades: np.ndarray, marks: np.ndarray,
) -> tuple[float, float, float, float, float, float]:  # fmt: skip
    """(r, g, b, gloss, glow, near_infrared) at one point.

    Args:
        material: one of the materials above.
        u, v: texture coordinates, metres (street coordinates on the ground).
        x, y, z: world coordinates, metres.
        style: the triangle's style number; for FACADE the row of `facades`.
        r, g, b: the triangle's albedo.
        distance: from the viewer; detail finer than a pixel is faded out with it.
        facades: (K, 12) table of styles. marks: (M, 5) road marks s0, s1, t0, t1, kind.
    """
    fine = min(1.0, 14.0 / (distance + 1e-3))
    reflectance = _NEAR_INFRARED[material] * (0.6 + 0.8 * (r + g + b) / 3)
    gloss, glow = 0.0, 0.0
    if material == ASPHALT:
        r, g, b, reflectance = _asphalt(u, v, r, g, b, fine, marks)
    elif material == FACADE:
        r, g, b, gloss, glass = _facade(u, v, r, g, b, facades[int(style)], fine)
        reflectance = 0.0 if glass > 0 else _NEAR_INFRARED[material] * (0.6 + 0.8 * (r + g + b) / 3)
    elif material == BRICK:
        tone = 0.85 + 0.3 * noise(u * 0.5, v * 0.5)
        r, g, b = _brick(u, v, r * tone, g * tone, b * tone, fine)
    elif material in (PAVING, TILES):
        size = 0.6 if material == PAVING else 0.35
        column, row = np.floor(u / size), np.floor(v / size)
        tone = 0.9 + 0.2 * hashed(int(column), int(row)) * fine + 0.22 * (noise(u * 0.8, v * 0.8) - 0.5)
        if (u / size - column) < 0.05 or (v / size - row) < 0.05:
            tone *= 1 - 0.35 * fine
        if material == TILES and (int(column) + int(row)) % 2 == 0:
            tone *= 0.82
        r, g, b = r * tone, g * tone, b * tone
    elif material == GRASS:
        blades = noise(x * 9, y * 9) * fine + 0.5 * (1 - fine)
        tone = 0.55 + 0.5 * noise(x * 0.7, y * 0.7) + 0.5 * blades * noise(x * 27, y * 27)
        dry = noise(x * 0.16 + 11, y * 0.16) * 0.6
        r, g, b = r * tone * (1 + 0.9 * dry), g * tone * (1 + 0.1 * dry), b * tone
        if noise(x * 6 + 5, y * 6) > 0.93 and fine > 0.5:
            r, g, b = r + 0.12, g + 0.1, b + 0.02
    elif material == DIRT:
        tone = 0.7 + 0.35 * noise(x * 0.9, y * 0.9) + 0.3 * noise(x * 8, y * 8) * fine
        r, g, b = r * tone, g * tone, b * tone
    elif material == LEAF:
        tone = 0.55 + 0.5 * noise(u * 7 + 13 * style, v * 7) + 0.35 * noise(x * 1.1 + z, y * 1.1)
        r, g, b = r * tone, g * tone, b * tone
    elif material == BARK:
        tone = 0.6 + 0.8 * noise(u * 14, v * 3)
        r, g, b = r * tone, g * tone, b * tone
    elif material == CAR_PAINT:
        # Dark paints swallow the beam, or mirror it away.
        gloss, reflectance = 0.16, _NEAR_INFRARED[material] * (0.08 + 1.4 * (r + g + b) / 3)
    elif material == GLASS:
        gloss = 0.5
    elif material == METAL:
        gloss = 0.12
    elif material == CLOTH:
        tone = 0.8 + 0.4 * noise(u * 9 + style, v * 6)
        r, g, b = r * tone, g * tone, b * tone
    elif material == STRIPES:  # style = the stripes' period in metres; negative: upright stripes that lean
        stripe = ((v / style) % 1.0 < 0.5) if style > 0 else (((u + 0.7 * v) / -style) % 1.0 < 0.5)
        if stripe:
            r, g, b = 0.8, 0.8, 0.78
            reflectance = 0.9
    elif material == ROOF:
        if (v / 0.32) % 1.0 < 0.15:
            r, g, b = r * (1 - 0.35 * fine), g * (1 - 0.35 * fine), b * (1 - 0.35 * fine)
        tone = 0.8 + 0.4 * noise(u * 3, v * 3)
        r, g, b = r * tone, g * tone, b * tone
    elif material == LAMP:
        glow = style
    elif material == CONCRETE:
        tone = 0.85 + 0.25 * noise(x * 1.3 + z, y * 1.3 + z * 0.7) + 0.12 * noise(x * 9, y * 9 + z * 8) * fine
        r, g, b = r * tone, g * tone, b * tone
    elif material == PLAIN:
        tone = 0.93 + 0.14 * noise(u * 1.7 + style, v * 1.7)
        r, g, b = r * tone, g * tone, b * tone
    return r, g, b, gloss, glow, reflectance

"""Trees, bushes and hedges: leaves are loose triangles, so that light and beams find holes as in real crowns."""

import numpy as np

from distill.street.materials import BARK, LEAF
from distill.street.shapes import box, ellipsoid, tube, vector
from distill.street.soup import Paint, Soup, join, painted

_LEAF_RGB = ((0.07, 0.16, 0.03), (0.1, 0.2, 0.035), (0.05, 0.12, 0.03), (0.14, 0.2, 0.04), (0.2, 0.17, 0.03), (0.06, 0.14, 0.05))


def leaf_paint(rng: np.random.Generator) -> Paint:
    """A green, now and then an autumn yellow."""
    rgb = np.array(_LEAF_RGB[rng.choice(6, p=[0.25, 0.25, 0.2, 0.12, 0.06, 0.12])]) * rng.uniform(0.8, 1.25)
    return Paint(LEAF, (rgb[0], rgb[1], rgb[2]), float(rng.uniform(0, 9)))


def _leaves(rng: np.random.Generator, centres: np.ndarray, size_m: float, paint: Paint) -> Soup:
    """A triangle of about `size_m` at each centre (N, 3), in any direction."""
    corners = centres[:, None] + rng.normal(0, size_m * 0.6, (len(centres), 3, 3))
    return painted(corners, rng.uniform(0, 1, (len(centres), 1, 2)) * 9 + rng.uniform(0, 0.4, (len(centres), 3, 2)), paint)


def _in_balls(rng: np.random.Generator, centres: np.ndarray, radii: np.ndarray, count: int) -> np.ndarray:
    """Points near the shells of balls: centres (K, 3), radii (K, 3)."""
    which = rng.choice(len(centres), count, p=radii.prod(axis=1) ** 0.7 / (radii.prod(axis=1) ** 0.7).sum())
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    depth = rng.uniform(0.45, 1.0, (count, 1)) ** 0.5
    return np.asarray(centres[which] + direction * depth * radii[which])


def tree(rng: np.random.Generator) -> Soup:
    """A street tree of 4 to 12 m: round, tall or conical, on a trunk that leans a little."""
    height = rng.uniform(4.5, 11.5)
    kind = rng.choice(["round", "tall", "cone"], p=[0.7, 0.15, 0.15])
    bare = min(2.6, height * rng.uniform(0.25, 0.38)) if kind != "cone" else height * 0.12
    lean = rng.normal(0, 0.15, 2)
    bark = Paint(BARK, tuple(np.array([0.13, 0.1, 0.075]) * rng.uniform(0.7, 1.5)))
    girth = 0.028 * height * rng.uniform(0.8, 1.2)
    trunk = np.array([(0, 0, -0.2), (lean[0] * 0.3, lean[1] * 0.3, bare), (lean[0], lean[1], height * 0.8)])
    parts = [tube(trunk, np.array([girth * 1.25, girth * 0.85, girth * 0.3]), bark, 7)]
    paint = leaf_paint(rng)
    top = height - bare
    if kind == "round":
        spread = height * rng.uniform(0.24, 0.36)
        count = int(rng.integers(6, 11))
        angle, out = rng.uniform(0, 2 * np.pi, count), spread * rng.uniform(0.1, 0.75, count)
        centres = np.stack([out * np.cos(angle), out * np.sin(angle), bare + top * rng.uniform(0.25, 0.8, count)], -1)
        radii = spread * rng.uniform(0.38, 0.62, (count, 1)) * np.array([1, 1, 0.85])
        branches = [np.stack([trunk[1], (trunk[1] + centre) / 2 + vector(0, 0, 0.3), centre]) for centre in centres[:5]]
        parts += [tube(path, np.array([0.5, 0.35, 0.12]) * girth, bark, 5) for path in branches]
        points = _in_balls(rng, centres, radii, int(95 * height))
    else:
        level = rng.uniform(0, 1, int(85 * height)) ** (0.75 if kind == "cone" else 1.0)
        widest = height * (0.2 if kind == "cone" else 0.13)
        profile = (1 - level) if kind == "cone" else np.sin(np.pi * (0.12 + 0.85 * level)) ** 0.7
        angle = rng.uniform(0, 2 * np.pi, len(level))
        out = widest * profile * rng.uniform(0.4, 1, len(level)) ** 0.5 * (1 + 0.25 * np.sin(5 * angle + 9 * level))
        points = np.stack([out * np.cos(angle), out * np.sin(angle), bare + top * level], -1)
    parts.append(_leaves(rng, points + vector(*lean * 0.6, 0), rng.uniform(0.2, 0.3), paint))
    return join(parts)


def bush(rng: np.random.Generator) -> Soup:
    """A shrub of half a metre to two metres."""
    size = rng.uniform(0.45, 1.1)
    count = int(rng.integers(2, 5))
    centres = rng.uniform(-0.5, 0.5, (count, 3)) * size + vector(0, 0, size * 0.6)
    radii = size * rng.uniform(0.5, 0.8, (count, 1)) * np.ones(3)
    paint = leaf_paint(rng)
    dark = Paint(LEAF, tuple(0.5 * np.array(paint.rgb)))
    core = [ellipsoid(c, r * 0.75, dark, 3, 7) for c, r in zip(centres, radii, strict=True)]
    return join([_leaves(rng, _in_balls(rng, centres, radii, 160), 0.16, paint), *core])


def hedge(rng: np.random.Generator, length_m: float) -> Soup:
    """A clipped hedge along x, not quite clipped."""
    height, width = rng.uniform(0.8, 1.7), rng.uniform(0.5, 0.8)
    paint = leaf_paint(rng)
    count = int(55 * length_m)
    points = rng.uniform(-0.5, 0.5, (count, 3)) * [length_m, width, height]
    # Push each leaf to the nearest face, so that the hedge has a skin of leaves.
    face = rng.choice(3, count, p=[0.06, 0.56, 0.38])
    half = np.array([length_m, width, height]) / 2
    side = np.where(face == 2, 1.0, rng.choice([-1.0, 1.0], count))
    points[np.arange(count), face] = side * half[face]
    skin = _leaves(rng, points + vector(0, 0, height / 2), 0.13, paint)
    core = box(
        (length_m - 0.1, width - 0.12, height - 0.08), (0, 0, height / 2 - 0.02), Paint(LEAF, tuple(0.6 * np.array(paint.rgb)))
    )
    return join([skin, core])

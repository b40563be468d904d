"""Lamps, signs, traffic lights, fences, shelters, bins, cones, barriers; origin on the ground, x along the street.

Signs and lights face -x, towards traffic that drives along +x.
"""

import numpy as np

from distill.street.bodywork import DARK
from distill.street.materials import BRICK, CONCRETE, GLASS, LAMP, METAL, PLAIN, SIGN, STRIPES
from distill.street.shapes import box, circle, ellipsoid, loft, quads, tube, vector
from distill.street.soup import Paint, Soup, join

GALVANISED = Paint(METAL, (0.3, 0.31, 0.32))
_POLE = Paint(METAL, (0.1, 0.11, 0.11))
_WOOD = Paint(PLAIN, (0.26, 0.16, 0.09))


def street_lamp(rng: np.random.Generator) -> Soup:
    """A mast with an arm that reaches over the road (towards +y)."""
    height, reach = rng.uniform(5.5, 8.5), rng.uniform(1.2, 2.4)
    paint = GALVANISED if rng.random() < 0.6 else _POLE
    path = np.array([(0, 0, 0), (0, 0, height - 0.4), (0, reach * 0.35, height), (0, reach, height + 0.1)])
    parts = [tube(path, np.array([0.1, 0.07, 0.05, 0.04]), paint), tube(np.array([(0, 0, 0), (0, 0, 0.9)]), 0.13, paint)]
    parts.append(box((0.28, 0.65, 0.12), (0, reach, height + 0.08), Paint(PLAIN, (0.35, 0.35, 0.35))))
    return join(parts)


def utility_pole(rng: np.random.Generator) -> Soup:
    """A wooden pole with a cross arm."""
    height = rng.uniform(8, 10)
    parts = [
        tube(np.array([(0, 0, 0), (0, 0, height)]), np.array([0.16, 0.11]), _WOOD, 8),
        box((0.12, 2.2, 0.14), (0, 0, height - 0.7), _WOOD),
    ]
    parts += [
        tube(np.array([(0, y, height - 0.63), (0, y, height - 0.4)]), 0.05, GALVANISED, 5) for y in (-0.95, -0.4, 0.4, 0.95)
    ]
    return join(parts)


def _plate(outline: np.ndarray, x: float, z: float, paint: Paint) -> Soup:
    """A flat sign in the y-z plane."""
    return loft(np.stack([np.insert(outline + vector(0, z), 0, x + d, axis=1) for d in (-0.01, 0.01)]), paint)


def traffic_sign(rng: np.random.Generator) -> Soup:
    """A pole with a round, triangular, octagonal or rectangular sign."""
    z = rng.uniform(2.2, 2.7)
    parts = [tube(np.array([(0, 0, 0), (0, 0, z + 0.35)]), 0.035, GALVANISED)]
    red, white, blue = (Paint(SIGN, rgb) for rgb in ((0.6, 0.03, 0.03), (0.8, 0.8, 0.8), (0.03, 0.12, 0.5)))
    kind = rng.integers(5)
    if kind == 0:
        parts += [_plate(circle(14) * 0.33, -0.06, z, red), _plate(circle(14) * 0.24, -0.075, z, white)]
    elif kind == 1:
        triangle = np.array([(-0.42, -0.3), (0.42, -0.3), (0, 0.42)])
        parts += [_plate(triangle, -0.06, z, red), _plate(triangle * 0.68, -0.075, z, white)]
    elif kind == 2:
        parts += [_plate(circle(8) * 0.4, -0.06, z, white), _plate(circle(8) * 0.37, -0.075, z, red)]
    elif kind == 3:
        square = np.array([(-0.32, -0.32), (0.32, -0.32), (0.32, 0.32), (-0.32, 0.32)])
        parts += [_plate(square, -0.06, z, blue), _plate(square * 0.5, -0.075, z, white)]
    else:
        wide = np.array([(-0.75, -0.2), (0.75, -0.2), (0.75, 0.2), (-0.75, 0.2)])
        green = Paint(SIGN, (0.03, 0.3, 0.12))
        parts += [_plate(wide, -0.06, z + 0.1, green), _plate(wide * [0.8, 0.2], -0.075, z + 0.1, white)]
    return join(parts)


def traffic_light(rng: np.random.Generator) -> Soup:
    """A mast, often with an arm over the road (towards +y), and three-colour heads."""
    height = 5.6 if rng.random() < 0.6 else 3.2
    parts = [tube(np.array([(0, 0, 0), (0, 0, height)]), 0.09, _POLE, 8)]
    heads = [(0.0, 2.6)]
    if height > 4:
        reach = rng.uniform(3.0, 4.5)
        parts.append(tube(np.array([(0, 0, height - 0.1), (0, reach, height)]), 0.06, _POLE))
        heads.append((reach - 0.3, height - 0.35))
    lit = int(rng.integers(3))
    colours = ((0.9, 0.04, 0.03), (0.9, 0.55, 0.03), (0.05, 0.8, 0.25))
    for y, z in heads:
        parts.append(box((0.24, 0.34, 0.98), (-0.16, y, z), DARK))
        for k, rgb in enumerate(colours):
            bright = 1.2 if k == lit else 0.0
            shade = tuple(np.array(rgb) * (1.0 if k == lit else 0.12))
            parts.append(_plate(circle(10) * 0.11 + vector(y, 0), -0.29, z + 0.3 - 0.3 * k, Paint(LAMP, shade, bright)))
    return join(parts)


def bollard(rng: np.random.Generator) -> Soup:
    """A knee-high post."""
    return tube(
        np.array([(0, 0, 0), (0, 0, rng.uniform(0.7, 1.0))]),
        0.08,
        _POLE if rng.random() < 0.5 else Paint(CONCRETE, (0.4, 0.4, 0.4)),
        8,
    )


def bin_(rng: np.random.Generator) -> Soup:
    """A litter bin or letter box."""
    rgb = [(0.05, 0.15, 0.07), (0.08, 0.1, 0.3), (0.3, 0.3, 0.31), (0.5, 0.4, 0.03)][rng.integers(4)]
    if rng.random() < 0.5:
        return tube(np.array([(0, 0, 0), (0, 0, 0.95)]), np.array([0.24, 0.28]), Paint(PLAIN, rgb), 10)
    return join([box((0.5, 0.5, 1.1), (0, 0, 0.6), Paint(PLAIN, rgb)), box((0.54, 0.54, 0.1), (0, 0, 1.18), DARK)])


def bench(rng: np.random.Generator) -> Soup:
    """A bench along x, its back on the +y side."""
    parts = [box((1.7, 0.11, 0.04), (0, y, 0.45), _WOOD) for y in (-0.18, -0.05, 0.08)]
    parts += [box((1.7, 0.04, 0.11), (0, 0.2, z), _WOOD) for z in (0.62, 0.8)]
    return join([*parts, *[box((0.06, 0.42, 0.44 + rng.uniform(0, 0.02)), (x, 0, 0.22), _POLE) for x in (-0.7, 0.7)]])


def bus_shelter(rng: np.random.Generator) -> Soup:
    """A glass shelter, open towards -y, with an advertisement."""
    parts = [box((4.0, 1.5, 0.1), (0, 0, 2.5), _POLE), box((3.9, 0.04, 1.8), (0, 0.7, 1.3), Paint(GLASS, (0.2, 0.24, 0.25)))]
    parts += [box((0.09, 0.09, 2.5), (x, y, 1.25), _POLE) for x in (-1.95, 1.95) for y in (-0.6, 0.7)]
    poster = Paint(PLAIN, tuple(rng.uniform(0.1, 0.8, 3)), 9.0)
    parts += [box((0.14, 1.3, 1.8), (1.95, 0.05, 1.3), poster), box((2.2, 0.35, 0.06), (-0.4, 0.45, 0.5), _WOOD)]
    return join(parts)


def fence(rng: np.random.Generator, length_m: float) -> Soup:
    """A garden wall, picket fence, railing or board fence along x."""
    kind = rng.choice(["wall", "picket", "railing", "boards"])
    x = np.arange(-length_m / 2, length_m / 2 - 0.05, 0.14)
    if kind == "wall":
        height = rng.uniform(0.6, 1.6)
        paint = Paint(BRICK, (0.35, 0.16, 0.1)) if rng.random() < 0.5 else Paint(CONCRETE, (0.5, 0.48, 0.44))
        return join(
            [
                box((length_m, 0.24, height), (0, 0, height / 2), paint),
                box((length_m, 0.32, 0.08), (0, 0, height), Paint(CONCRETE, (0.45, 0.44, 0.42))),
            ]
        )
    if kind == "boards":
        height, paint = rng.uniform(1.5, 2.0), Paint(PLAIN, tuple(np.array([0.3, 0.19, 0.11]) * rng.uniform(0.7, 1.4)), 3.0)
        posts = [
            box((0.1, 0.1, height + 0.1), (p, 0.06, height / 2), paint) for p in np.arange(-length_m / 2, length_m / 2 + 0.1, 2.0)
        ]
        return join([box((length_m, 0.05, height), (0, 0, height / 2), paint), *posts])
    height, wide = (rng.uniform(0.85, 1.1), 0.085) if kind == "picket" else (rng.uniform(1.0, 1.5), 0.03)
    paint = Paint(PLAIN, (0.7, 0.7, 0.68)) if kind == "picket" else Paint(METAL, (0.05, 0.06, 0.06))
    low = np.zeros_like(x)
    bars = np.stack(
        [np.stack(c, -1) for c in ((x, low, low), (x + wide, low, low), (x + wide, low, low + height), (x, low, low + height))], 1
    )
    rails = [box((length_m, 0.05, 0.06), (0, 0.02, z), paint) for z in (0.2, height - 0.15)]
    posts = [
        box((0.1, 0.1, height + 0.1), (p, 0.02, height / 2), paint) for p in np.arange(-length_m / 2, length_m / 2 + 0.1, 2.2)
    ]
    return join([quads(bars, paint), *rails, *posts])


def bicycle_rack(length_m: float) -> Soup:
    """A row of steel hoops along x; bicycles stand across."""
    parts = []
    for x in np.arange(-length_m / 2, length_m / 2 + 0.1, 0.8):
        path = np.array([(x, -0.4, 0), (x, -0.4, 0.65), (x, -0.2, 0.8), (x, 0.2, 0.8), (x, 0.4, 0.65), (x, 0.4, 0)])
        parts.append(tube(path, 0.03, GALVANISED, 5))
    return join(parts)


def skip(rng: np.random.Generator) -> Soup:
    """A rubbish container."""
    rgb = [(0.08, 0.25, 0.12), (0.1, 0.17, 0.35), (0.5, 0.3, 0.03)][rng.integers(3)]
    rings = [[(-x, -0.85, z), (x, -0.85, z), (x, 0.85, z), (-x, 0.85, z)] for x, z in ((1.2, 0.1), (1.9, 1.45))]
    return join(
        [
            loft(np.asarray(rings), Paint(PLAIN, rgb)),
            box((3.9, 1.85, 0.1), (0, 0, 1.42), Paint(PLAIN, tuple(0.8 * np.array(rgb)))),
        ]
    )


def hydrant() -> Soup:
    """A red hydrant."""
    red = Paint(PLAIN, (0.5, 0.04, 0.03))
    return join(
        [
            tube(np.array([(0, 0, 0), (0, 0, 0.65)]), 0.12, red, 8),
            ellipsoid((0, 0, 0.66), (0.13, 0.13, 0.12), red, 3, 8),
            box((0.16, 0.42, 0.12), (0, 0, 0.45), red),
        ]
    )


def kiosk(rng: np.random.Generator) -> Soup:
    """An advertising pillar."""
    parts = [tube(np.array([(0, 0, 0), (0, 0, 3.2)]), 0.65, Paint(PLAIN, tuple(rng.uniform(0.2, 0.7, 3)), 5.0), 14)]
    return join([*parts, tube(np.array([(0, 0, 3.2), (0, 0, 3.6)]), np.array([0.8, 0.1]), _POLE, 14)])


def cone(rng: np.random.Generator) -> Soup:
    """A traffic cone."""
    height = rng.uniform(0.7, 1.0)
    orange = (0.8, 0.16, 0.02)
    body = tube(np.array([(0, 0, 0.03), (0, 0, height)]), np.array([0.17, 0.035]), Paint(STRIPES, orange, height * 0.45), 10)
    return join([body, box((0.42, 0.42, 0.05), (0, 0, 0.025), Paint(PLAIN, (0.75, 0.15, 0.02)))])


def barrier(rng: np.random.Generator, kind: str) -> Soup:
    """One element of a barrier along x, 2 m: concrete ("jersey"), water-filled plastic ("plastic") or "plank" on feet."""
    if kind == "plank":
        stripes = Paint(STRIPES, (0.65, 0.04, 0.03), -0.5)
        parts = [box((1.9, 0.05, 0.24), (0, 0, z), stripes) for z in (0.95, 0.45)]
        parts += [box((0.08, 0.08, 1.1), (x, 0, 0.55), Paint(PLAIN, (0.75, 0.75, 0.7))) for x in (-0.75, 0.75)]
        return join([*parts, *[box((0.2, 0.7, 0.1), (x, 0, 0.05), DARK) for x in (-0.75, 0.75)]])
    outline = np.array([(-0.3, 0), (0.3, 0), (0.3, 0.1), (0.15, 0.35), (0.09, 0.85), (-0.09, 0.85), (-0.15, 0.35), (-0.3, 0.1)])
    paint = Paint(CONCRETE, (0.5, 0.49, 0.46))
    if kind == "plastic":
        paint = Paint(PLAIN, [(0.75, 0.16, 0.04), (0.7, 0.7, 0.68)][rng.integers(2)])
    return loft(np.stack([np.insert(outline * [1, rng.uniform(0.98, 1.05)], 0, x, axis=1) for x in (-0.98, 0.98)]), paint)

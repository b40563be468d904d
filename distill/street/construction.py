"""Construction vehicles: excavator, wheel loader and roller; origin on the ground under the middle, x forward."""

import numpy as np

from distill.street.bodywork import DARK, TYRE, WINDOW
from distill.street.materials import CAR_PAINT, METAL, RUBBER
from distill.street.shapes import box, extruded, loft, tube, wheel
from distill.street.soup import Paint, Soup, join

_STEEL = Paint(METAL, (0.16, 0.15, 0.14))


def construction_vehicle(rng: np.random.Generator, turn_max_rad: float) -> Soup:
    """One of the three, yellow or orange; an excavator's house is turned by up to `turn_max_rad`."""
    rgb = [(0.62, 0.4, 0.03), (0.65, 0.33, 0.02), (0.6, 0.2, 0.03)][rng.integers(3)]
    paint = Paint(CAR_PAINT, rgb)
    kind = rng.choice(["excavator", "loader", "roller"], p=[0.5, 0.35, 0.15])
    if kind == "excavator":
        return _excavator(rng, paint, turn_max_rad)
    return _wheel_loader(rng, paint) if kind == "loader" else _roller(rng, paint)


def _cab(x: float, y: float, base: float, paint: Paint) -> list[Soup]:
    parts = [box((1.3, 1.05, 1.45), (x, y, base + 0.72), WINDOW), box((1.42, 1.15, 0.1), (x, y, base + 1.5), paint)]
    parts += [box((0.1, 0.1, 1.5), (x + dx, y + dy, base + 0.75), paint) for dx in (-0.66, 0.66) for dy in (-0.53, 0.53)]
    parts.append(box((1.36, 1.1, 0.45), (x, y, base + 0.2), paint))
    return parts


def _excavator(rng: np.random.Generator, paint: Paint, turn_max_rad: float) -> Soup:
    track = np.array([(1.75, 0.35), (1.5, 0.0), (-1.5, 0.0), (-1.75, 0.35), (-1.5, 0.75), (1.5, 0.75)])
    parts = [extruded(track, 0.27, Paint(RUBBER, (0.05, 0.048, 0.045)), side * 1.05) for side in (-1, 1)]
    parts.append(box((1.6, 1.7, 0.4), (0, 0, 0.75), _STEEL))
    turn = rng.uniform(-turn_max_rad, turn_max_rad)
    house = [box((2.7, 2.3, 0.85), (-0.5, 0, 1.5), paint), box((0.7, 2.3, 1.0), (-1.7, 0, 1.6), _STEEL)]
    house += [box((1.2, 1.0, 0.35), (-1.0, -0.5, 2.1), DARK), *_cab(0.35, 0.62, 1.15, paint)]
    lift, reach = rng.uniform(3.2, 4.2), rng.uniform(2.5, 3.2)
    knee, tip = (reach, -0.35, lift), (reach + 1.5, -0.35, rng.uniform(1.2, 2.0))
    house.append(
        tube(np.array([(0.6, -0.35, 1.6), (reach * 0.55, -0.35, lift * 0.95), knee]), np.array([0.3, 0.27, 0.2]), paint, 4)
    )
    house.append(tube(np.array([(reach - 0.4, -0.35, lift + 0.15), tip]), np.array([0.22, 0.14]), paint, 4))
    house.append(tube(np.array([(1.2, -0.35, 1.5), (reach * 0.5, -0.35, lift * 0.8)]), 0.07, _STEEL, 6))
    bucket = np.array(
        [(tip[0] + 0.1, tip[2] + 0.1), (tip[0] + 0.35, tip[2] - 0.6), (tip[0] - 0.2, tip[2] - 1.0), (tip[0] - 0.6, tip[2] - 0.7)]
    )
    house.append(extruded(bucket, 0.45, _STEEL, -0.35))
    c, s = np.cos(turn), np.sin(turn)
    return join([*parts, join(house).moved(np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))])


def _wheel_loader(rng: np.random.Generator, paint: Paint) -> Soup:
    parts = [box((2.3, 1.5, 1.0), (-1.6, 0, 1.5), paint), box((1.5, 1.1, 0.7), (0.5, 0, 1.0), paint), *_cab(-0.1, 0, 1.6, paint)]
    for x in (-1.5, 1.3):
        for y in (-0.95, 0.95):
            parts += [wheel((x, y, 0.72), 0.72, 0.52, TYRE, 14), wheel((x, y * 1.02, 0.72), 0.36, 0.54, paint, 10)]
    height = rng.uniform(0.4, 1.3)
    for y in (-0.5, 0.5):
        parts.append(tube(np.array([(0.5, y, 1.5), (1.9, y, 1.5 + 0.3 * height), (2.7, y, height + 0.3)]), 0.13, paint, 4))
    z = height - 0.35
    rings = [
        [(2.6, y, z + 0.05), (3.5, y, z), (3.55, y, z + 0.12), (2.9, y, z + 0.35), (3.0, y, z + 1.0), (2.65, y, z + 0.95)]
        for y in (-1.3, 1.3)
    ]
    parts.append(loft(np.asarray(rings), _STEEL))
    return join(parts)


def _roller(rng: np.random.Generator, paint: Paint) -> Soup:
    parts = [wheel((x, 0, 0.62), 0.62, 1.7, _STEEL, 18) for x in (-1.5, 1.5)]
    parts += [box((1.9, 1.5, 0.85), (0, 0, 1.15), paint), box((2.2, 1.6, 0.08), (-0.1, 0, 2.75), paint)]
    parts += [box((0.08, 0.08, 1.5), (x, y, 2.0), DARK) for x in (-1.0, 0.8) for y in (-0.72, 0.72)]
    parts += [box((1.6, 0.1, 0.25), (x, s * 0.9, 0.9), paint) for s in (-1, 1) for x in (-1.2, 1.2)]
    parts += [box((0.5, 0.6, 0.7), (-0.3, 0, 1.7), DARK), box((rng.uniform(0.3, 0.6), 0.5, 0.5), (0.6, 0, 1.75), DARK)]
    return join(parts)

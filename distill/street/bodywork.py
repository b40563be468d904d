"""What vehicles share: paints, car colours, window panes on faces, wheels. x forward, y left, z up."""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from distill.street import poses
from distill.street.materials import CAR_PAINT, GLASS, LAMP, METAL, PLAIN, RUBBER, SIGN
from distill.street.poses import cross
from distill.street.shapes import circle, quads, wheel
from distill.street.soup import Paint, Soup, join, painted

TYRE = Paint(RUBBER, (0.025, 0.025, 0.027))
RIM = Paint(METAL, (0.45, 0.46, 0.48))
DARK = Paint(PLAIN, (0.03, 0.03, 0.033))
WINDOW = Paint(GLASS, (0.025, 0.03, 0.035))
HEADLIGHT = Paint(GLASS, (0.75, 0.77, 0.8))
TAIL_LIGHT = Paint(LAMP, (0.55, 0.02, 0.02), 0.25)
PLATE = Paint(SIGN, (0.75, 0.75, 0.7))

_CAR_RGB = (
    (0.75, 0.75, 0.75), (0.62, 0.63, 0.65), (0.3, 0.31, 0.33), (0.04, 0.04, 0.045), (0.02, 0.02, 0.025), (0.1, 0.105, 0.12),
    (0.45, 0.03, 0.03), (0.05, 0.1, 0.32), (0.03, 0.05, 0.14), (0.12, 0.2, 0.16), (0.35, 0.28, 0.18), (0.6, 0.5, 0.05),
    (0.5, 0.18, 0.03), (0.2, 0.3, 0.42), (0.8, 0.8, 0.78),
)  # fmt: skip


def paintwork(rng: np.random.Generator) -> Paint:
    """A car colour, slightly its own."""
    rgb = np.array(_CAR_RGB[rng.integers(len(_CAR_RGB))]) * rng.uniform(0.85, 1.1)
    return Paint(CAR_PAINT, (rgb[0], rgb[1], rgb[2]))


def repainted(soup: Soup, paint: Paint) -> Soup:
    """The same car in another colour."""
    body = soup.material == CAR_PAINT
    return replace(soup, rgb=np.where(body[:, None], np.asarray(paint.rgb, np.float32), soup.rgb))


def pane(face: np.ndarray, u0: float, u1: float, v0: float, v1: float, paint: Paint, inside: np.ndarray) -> Soup:
    """Part of a quad face (4, 3), from u0 to u1 along its first edge and v0 to v1 up, lifted 1.5 cm away from `inside`."""
    a, b, c, d = face

    def at(u: float, v: float) -> np.ndarray:
        return np.asarray((1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * c))

    normal = cross(b - a, d - a)
    normal = normal / (np.sqrt(normal @ normal) + 1e-9)
    if normal @ (a - inside) < 0:
        normal = -normal
    return quads(np.stack([at(u0, v0), at(u1, v0), at(u1, v1), at(u0, v1)]) + 0.015 * normal, paint)


@lru_cache(maxsize=64)
def _wheel(radius_m: float, tyre_m: float, side: int) -> Soup:
    """A wheel at the origin, its outer face towards `side`: tyre, bright hub, and the dark arch in the body behind it."""
    parts = [wheel((0, 0, 0), radius_m, tyre_m, TYRE, 12)]
    for outward, reach, paint in ((0.012, 0.6, RIM), (-0.03, 1.22, DARK)):
        turn = circle(12) * radius_m * reach
        rim = np.stack([turn[:, 0], np.full(12, side * (tyre_m / 2 + outward)), turn[:, 1] + 0.05 * (reach > 1)], -1)
        middle = np.broadcast_to(rim.mean(axis=0), rim.shape)
        parts.append(painted(np.stack([middle, rim, np.roll(rim, -1, axis=0)], axis=1), np.zeros((12, 3, 2)), paint))
    return join(parts)


def wheels(positions: list[tuple[float, float]], radius_m: float, half_width_m: float, tyre_m: float) -> list[Soup]:
    """Wheels on both sides at the (x, metres further out) of each axle."""
    return [
        _wheel(radius_m, tyre_m, side).moved(poses.pose(x, side * (half_width_m - tyre_m / 2 + 0.035 + outward), radius_m))
        for x, outward in positions
        for side in (-1, 1)
    ]

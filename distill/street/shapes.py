"""Solids from which everything is made: quads, boxes, lofts, tubes, ellipsoids. x forward, y left, z up, metres."""

import numpy as np

from distill.street.soup import Paint, Soup, join, painted

Point = tuple[float, float, float] | np.ndarray


def quads(corners: np.ndarray, paint: Paint, uv: np.ndarray | None = None) -> Soup:
    """Quads (Q, 4, 3), corners in order around; uv (Q, 4, 2), by default metres along the first two edges."""
    corners = np.asarray(corners, np.float64).reshape(-1, 4, 3)
    if uv is None:
        along = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)
        up = np.linalg.norm(corners[:, 3] - corners[:, 0], axis=1)
        nought = np.zeros_like(along)
        uv = np.stack([np.stack(pair, -1) for pair in ((nought, nought), (along, nought), (along, up), (nought, up))], 1)
    order = [0, 1, 2, 0, 2, 3]
    return painted(corners[:, order].reshape(-1, 3, 3), np.asarray(uv)[:, order].reshape(-1, 3, 2), paint)


def box(size: Point, centre: Point, paint: Paint) -> Soup:
    """An axis-parallel box of `size` (x, y, z); the sides have v upwards."""
    (x, y, z), (cx, cy, cz) = np.asarray(size) / 2, centre
    low, high = (-z, z)
    faces = [
        [(x, -y, low), (x, y, low), (x, y, high), (x, -y, high)],
        [(-x, y, low), (-x, -y, low), (-x, -y, high), (-x, y, high)],
        [(x, y, low), (-x, y, low), (-x, y, high), (x, y, high)],
        [(-x, -y, low), (x, -y, low), (x, -y, high), (-x, -y, high)],
        [(-x, -y, high), (x, -y, high), (x, y, high), (-x, y, high)],
        [(-x, y, low), (x, y, low), (x, -y, low), (-x, -y, low)],
    ]
    return quads(np.asarray(faces) + np.array([cx, cy, cz]), paint)


def loft(rings: np.ndarray, paint: Paint, caps: bool = True, closed: bool = True) -> Soup:
    """A skin over rings (R, S, 3) of equally many points; `closed` joins last and first point, `caps` closes both ends."""
    rings = np.asarray(rings, np.float64)
    around = np.concatenate([rings, rings[:, :1]], axis=1) if closed else rings
    u = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(around[0], axis=0), axis=1))])
    v = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(rings.mean(axis=1), axis=0), axis=1))])
    grid = np.stack(np.broadcast_arrays(u[None, :], v[:, None]), -1)

    def cells(values: np.ndarray) -> np.ndarray:
        corners = (values[:-1, :-1], values[:-1, 1:], values[1:, 1:], values[1:, :-1])
        return np.stack(corners, axis=2).reshape(-1, 4, values.shape[-1])

    parts = [quads(cells(around), paint, cells(grid))]
    if caps:
        for ring in (rings[0], rings[-1]):
            centre = np.broadcast_to(ring.mean(axis=0), ring.shape)
            fan = np.stack([centre, ring, np.roll(ring, -1, axis=0)], axis=1)
            parts.append(painted(fan, fan[:, :, :2] - centre[:, None, :2], paint))
    return join(parts)


def extruded(profile: np.ndarray, half_width_m: float, paint: Paint, y_m: float = 0.0) -> Soup:
    """A convex profile (S, 2) of (x, z) drawn out along y to both sides of `y_m`."""
    profile = np.asarray(profile, np.float64)
    rings = [np.insert(profile, 1, y_m + side * half_width_m, axis=1) for side in (-1, 1)]
    return loft(np.stack(rings), paint)


def circle(sides: int) -> np.ndarray:
    """(S, 2) points of the unit circle."""
    angle = np.arange(sides) * (2 * np.pi / sides)
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def tube(path: np.ndarray, radii: float | np.ndarray, paint: Paint, sides: int = 6, caps: bool = True) -> Soup:
    """A round tube along the points `path` (P, 3) with one radius or one a point."""
    path = np.asarray(path, np.float64)
    radius = np.broadcast_to(np.asarray(radii, np.float64), (len(path),))
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-12
    # One reference direction for the whole tube keeps its rings from twisting.
    reference = np.eye(3)[np.argmin(np.abs(tangent).sum(axis=0))]
    first = np.cross(tangent, reference)
    first /= np.linalg.norm(first, axis=1, keepdims=True) + 1e-12
    second = np.cross(tangent, first)
    turn = circle(sides)
    rings = path[:, None] + radius[:, None, None] * (turn[:, :1] * first[:, None] + turn[:, 1:] * second[:, None])
    return loft(rings, paint, caps)


def wheel(centre: Point, radius_m: float, width_m: float, paint: Paint, sides: int = 12) -> Soup:
    """A solid wheel that rolls along x."""
    half = np.array([0, width_m / 2, 0])
    return tube(np.stack([np.asarray(centre) - half, np.asarray(centre) + half]), radius_m, paint, sides)


def hoop(centre: Point, radius_m: float, thickness_m: float, paint: Paint, sides: int = 14) -> Soup:
    """A thin wheel (a tyre with spokes left out) that rolls along x."""
    turn = circle(sides)
    ring = np.stack([turn[:, 0], np.zeros(sides), turn[:, 1]], -1) * radius_m + np.asarray(centre)
    return tube(np.concatenate([ring, ring[:2]]), thickness_m / 2, paint, 4, caps=False)


def ellipsoid(centre: Point, radii: Point, paint: Paint, rings: int = 5, sides: int = 8) -> Soup:
    """A ball with a radius for each axis."""
    height = np.sin(np.linspace(-np.pi / 2, np.pi / 2, rings + 2))
    width = np.cos(np.linspace(-np.pi / 2, np.pi / 2, rings + 2))
    turn = circle(sides)
    points = np.stack(np.broadcast_arrays(turn[:, 0] * width[:, None], turn[:, 1] * width[:, None], height[:, None]), -1)
    return loft(points * np.asarray(radii) + np.asarray(centre), paint, caps=False)

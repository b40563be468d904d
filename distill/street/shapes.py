"""Solids from which everything is made: quads, boxes, lofts, tubes, ellipsoids. x forward, y left, z up, metres."""

from functools import lru_cache

import numpy as np

from distill.street.poses import cross
from distill.street.soup import Paint, Soup, painted

Point = tuple[float, float, float] | np.ndarray


def vector(*values: float) -> np.ndarray:
    """The values as an array, to be added to points."""
    return np.array(values, np.float64)


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


# The unit cube's sides as triangles: corners in -1..1, and for u and v which of the sizes x, y, z they run along.
_CUBE = np.array(
    [
        [(1, -1, -1), (1, 1, -1), (1, 1, 1), (1, -1, 1)],
        [(-1, 1, -1), (-1, -1, -1), (-1, -1, 1), (-1, 1, 1)],
        [(1, 1, -1), (-1, 1, -1), (-1, 1, 1), (1, 1, 1)],
        [(-1, -1, -1), (1, -1, -1), (1, -1, 1), (-1, -1, 1)],
        [(-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)],
        [(-1, 1, -1), (1, 1, -1), (1, -1, -1), (-1, -1, -1)],
    ],
    np.float64,
)[:, [0, 1, 2, 0, 2, 3]].reshape(12, 3, 3)
_CUBE_UV = np.tile(np.array([(0, 0), (1, 0), (1, 1), (0, 0), (1, 1), (0, 1)], np.float64), (6, 1)).reshape(12, 3, 2)
_CUBE_AXES = np.repeat(np.array([(1, 2), (1, 2), (0, 2), (0, 2), (0, 1), (0, 1)]), 2, axis=0)[:, None, :]


def box(size: Point, centre: Point, paint: Paint) -> Soup:
    """An axis-parallel box of `size` (x, y, z); the sides have v upwards."""
    extent = np.asarray(size, np.float64)
    return painted(_CUBE * (extent / 2) + np.asarray(centre, np.float64), _CUBE_UV * extent[_CUBE_AXES], paint)


@lru_cache(maxsize=256)
def _skin(rings: int, sides: int, closed: bool, caps: bool) -> np.ndarray:
    """Triangles (F, 3) of a loft: indices into rings x (sides, one more if closed) points, then the two caps' middles."""
    wide = sides + closed
    low = (np.arange(rings - 1)[:, None] * wide + np.arange(wide - 1)).reshape(-1)
    faces = [np.stack([low, low + 1, low + 1 + wide], -1), np.stack([low, low + 1 + wide, low + wide], -1)]
    if caps:
        for ring, middle in ((0, rings * wide), (rings - 1, rings * wide + 1)):
            edge = np.arange(sides)
            following = edge + 1 if closed else (edge + 1) % sides
            faces.append(np.stack([np.full(sides, middle), ring * wide + edge, ring * wide + following], -1))
    return np.concatenate(faces)


def loft(rings: np.ndarray, paint: Paint, caps: bool = True, closed: bool = True) -> Soup:
    """A skin over rings (R, S, 3) of equally many points; `closed` joins last and first point, `caps` closes both ends."""
    rings = np.asarray(rings, np.float64)
    around = np.concatenate([rings, rings[:, :1]], axis=1) if closed else rings
    middles = rings.sum(axis=1) / rings.shape[1]
    count, wide = around.shape[:2]
    grid = np.zeros((count, wide, 2))
    grid[:, 1:, 0] = np.cumsum(np.sqrt(((around[0, 1:] - around[0, :-1]) ** 2).sum(axis=1)))
    grid[1:, :, 1] = np.cumsum(np.sqrt(((middles[1:] - middles[:-1]) ** 2).sum(axis=1)))[:, None]
    points, uv = around.reshape(-1, 3), grid.reshape(-1, 2)
    if caps:
        points, uv = np.concatenate([points, middles[[0, -1]]]), np.concatenate([uv, np.zeros((2, 2))])
    faces = _skin(count, rings.shape[1], closed, caps)
    return painted(points[faces], uv[faces], paint)


def extruded(profile: np.ndarray, half_width_m: float, paint: Paint, y_m: float = 0.0) -> Soup:
    """A convex profile (S, 2) of (x, z) drawn out along y to both sides of `y_m`."""
    profile = np.asarray(profile, np.float64)
    rings = [np.insert(profile, 1, y_m + side * half_width_m, axis=1) for side in (-1, 1)]
    return loft(np.stack(rings), paint)


@lru_cache(maxsize=32)
def circle(sides: int) -> np.ndarray:
    """(S, 2) points of the unit circle."""
    angle = np.arange(sides) * (2 * np.pi / sides)
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / (np.sqrt((rows**2).sum(axis=-1, keepdims=True)) + 1e-12))


def tube(path: np.ndarray, radii: float | np.ndarray, paint: Paint, sides: int = 6, caps: bool = True) -> Soup:
    """A round tube along the points `path` (P, 3) with one radius or one a point."""
    path = np.asarray(path, np.float64)
    radius = np.broadcast_to(np.asarray(radii, np.float64), (len(path),))
    tangent = np.empty_like(path)
    tangent[1:-1] = path[2:] - path[:-2]
    tangent[0], tangent[-1] = path[1] - path[0], path[-1] - path[-2]
    # One reference direction for the whole tube keeps its rings from twisting.
    reference = np.eye(3)[np.argmin(np.abs(tangent).sum(axis=0))]
    first = _unit(cross(tangent, reference))
    second = _unit(cross(tangent, first))
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

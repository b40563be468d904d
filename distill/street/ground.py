"""The ground: carriageway, kerbs, sidewalks, verges, islands and lots as a grid in street coordinates."""

from dataclasses import dataclass

import numpy as np

from distill.street import materials as m
from distill.street.categories import OTHER_FLAT, ROAD, SIDEWALK, TERRAIN
from distill.street.road import Road
from distill.street.shapes import quads
from distill.street.soup import Paint, Soup, join

KERB_M, KERB_WIDTH_M = 0.13, 0.14

_ASPHALT = Paint(m.ASPHALT, (0.1, 0.1, 0.104))
_KERB = Paint(m.CONCRETE, (0.42, 0.41, 0.39))
SURFACES = {
    "road": (ROAD, _ASPHALT),
    "lot": (ROAD, Paint(m.ASPHALT, (0.14, 0.138, 0.135))),
    "sidewalk": (SIDEWALK, Paint(m.PAVING, (0.36, 0.35, 0.33))),
    "grass": (TERRAIN, Paint(m.GRASS, (0.1, 0.17, 0.04))),
    "dirt": (TERRAIN, Paint(m.DIRT, (0.3, 0.22, 0.14))),
    "plaza": (OTHER_FLAT, Paint(m.TILES, (0.42, 0.24, 0.17))),
    "island": (OTHER_FLAT, Paint(m.TILES, (0.42, 0.24, 0.17))),
    "kerb": (SIDEWALK, _KERB),
}


@dataclass(frozen=True)
class Section:
    """The street's cross-section: half the carriageway (lanes and parking), half the island (0 without one)."""

    lane_m: float
    lanes: int  # each way
    parking_m: float
    island_half_m: float
    camber: float = 0.0  # how far the road falls from its middle to the kerbs, metres a metre
    banks: tuple[float, float] = (0.0, 0.0)  # how far the land rises beyond the sidewalks, metres a metre; right and left

    @property
    def kerb_m(self) -> float:
        """Where the kerb stands: |t| of the carriageway's edge."""
        return self.island_half_m + self.lanes * self.lane_m + self.parking_m

    def lane_t(self, lane: int) -> float:
        """|t| of the middle of a lane, 0 the innermost."""
        return self.island_half_m + (lane + 0.5) * self.lane_m

    def parking_t(self) -> float:
        """|t| of the middle of the parking lane."""
        return self.kerb_m - self.parking_m / 2


@dataclass(frozen=True)
class Side:
    """One side of one block: its kind and the zones outwards from the kerb as (start |t|, surface)."""

    kind: str
    s_from_m: float
    s_to_m: float
    side: int  # +1 left, -1 right
    zones: tuple[tuple[float, str], ...]
    building_t_m: float  # |t| of the building line

    def surface(self, t_abs: float) -> str:
        """The surface at |t| beyond the kerb."""
        return [name for start, name in self.zones if start <= t_abs + 1e-6][-1]


@dataclass(frozen=True)
class CrossStreet:
    """A street along t through s_m."""

    s_m: float
    half_m: float  # half its carriageway
    walk_m: float  # width of its sidewalks


def raised(section: Section, crossings: list[CrossStreet], s: np.ndarray | float, t: np.ndarray | float) -> np.ndarray:
    """Height of the finished surface over the bare ground at (s, t): roads are cambered, kerbs and islands KERB_M higher."""
    main = np.clip((np.abs(t) - section.kerb_m) / KERB_WIDTH_M, 0, 1)
    if section.island_half_m:
        main = np.maximum(main, np.clip((section.island_half_m - np.abs(t)) / KERB_WIDTH_M, 0, 1))
    for cross in crossings:
        gap = np.where(np.abs(t) <= section.island_half_m, cross.half_m + cross.walk_m + 1.5, cross.half_m)
        main = np.minimum(main, np.clip((np.abs(s - cross.s_m) - gap) / KERB_WIDTH_M, 0, 1))
    return np.asarray(main * KERB_M + _profile(section, t))


def _profile(section: Section, t: np.ndarray | float) -> np.ndarray:
    """The land across the street: a road from which water runs off, then level sidewalks, then banks up or down."""
    start, end = _bank_m(section)
    bank = np.where(np.asarray(t) > 0, section.banks[1], section.banks[0])
    beyond = np.clip(np.abs(t), start, end) - start
    return np.asarray(bank * beyond - section.camber * np.minimum(np.abs(t), section.kerb_m))


def _bank_m(section: Section) -> tuple[float, float]:
    """From and to which |t| the land rises or falls."""
    return section.kerb_m + 2.5, section.kerb_m + 20


def build_ground(
    road: Road, section: Section, crossings: list[CrossStreet], sides: list[Side], s_range: tuple[float, float]
) -> Soup:
    """The whole ground as quads; u, v of its texture are s and t."""
    s_lines, t_lines = _lines(section, crossings, sides, s_range)
    s_middle, t_middle = (s_lines[1:] + s_lines[:-1]) / 2, (t_lines[1:] + t_lines[:-1]) / 2
    s_grid, t_grid = np.meshgrid(s_lines, t_lines, indexing="ij")
    lift = raised(section, crossings, s_grid, t_grid)
    # Earth is not level: grass far from the carriageway swells a little.
    far = np.clip((np.abs(t_grid) - section.kerb_m - 9) / 6, 0, 1)
    lift = lift + far * (0.12 * np.sin(s_grid * 0.31) * np.sin(t_grid * 0.47) + 0.05 * np.sin(s_grid * 1.3 + t_grid))
    points = road.points(s_grid, t_grid, lift)
    names = np.empty((len(s_middle), len(t_middle)), object)
    for i, s in enumerate(s_middle):
        for j, t in enumerate(t_middle):
            names[i, j] = _surface(section, crossings, sides, s, t)
    grid_uv = np.stack([s_grid, t_grid], -1)

    def cells(values: np.ndarray) -> np.ndarray:
        return np.stack([values[:-1, :-1], values[1:, :-1], values[1:, 1:], values[:-1, 1:]], axis=2)

    corners, uv, parts = cells(points), cells(grid_uv), []
    for name, (category, paint) in SURFACES.items():
        chosen = names == name
        if chosen.any():
            parts.append(quads(corners[chosen], paint, uv[chosen]).labelled(category))
    return join(parts)


def _lines(
    section: Section, crossings: list[CrossStreet], sides: list[Side], s_range: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    s_lines = [s_range[0] - 250, *np.arange(s_range[0], s_range[1] + 1, 4.0), s_range[1] + 250]
    for cross in crossings:
        for edge in (cross.half_m, cross.half_m + KERB_WIDTH_M, cross.half_m + cross.walk_m):
            s_lines += [cross.s_m - edge, cross.s_m + edge]
        gap = cross.half_m + cross.walk_m + 1.5
        s_lines += [cross.s_m + sign * (gap + d) for sign in (-1, 1) for d in (0, KERB_WIDTH_M)]
    t_lines = [0.0, *np.arange(-60, 61, 6.0), -90.0, 90.0, -140.0, 140.0, -300.0, 300.0]
    edges = [section.kerb_m, section.kerb_m + KERB_WIDTH_M, section.kerb_m / 2, *_bank_m(section)]
    if section.island_half_m:
        edges += [section.island_half_m, section.island_half_m - KERB_WIDTH_M]
    t_lines += [sign * edge for edge in edges for sign in (-1, 1)]
    t_lines += [side.side * start for side in sides for start, _ in side.zones]

    def thinned(values: list[float]) -> np.ndarray:
        ordered = np.unique(np.round(values, 3))
        return ordered[np.concatenate([[True], np.diff(ordered) > 0.02])]

    return thinned(s_lines), thinned(t_lines)


def _surface(section: Section, crossings: list[CrossStreet], sides: list[Side], s: float, t: float) -> str:
    across = None
    for cross in crossings:
        if abs(s - cross.s_m) < cross.half_m + cross.walk_m:
            across = cross
    if abs(t) < section.island_half_m and all(abs(s - c.s_m) > c.half_m + c.walk_m + 1.5 for c in crossings):
        return "kerb" if abs(t) > section.island_half_m - KERB_WIDTH_M else "island"
    if abs(t) < section.kerb_m or (across and abs(s - across.s_m) < across.half_m):
        return "road"
    if abs(t) < section.kerb_m + KERB_WIDTH_M or (across and abs(s - across.s_m) < across.half_m + KERB_WIDTH_M):
        return "kerb"
    if across:
        return "sidewalk" if abs(t) < 90 else "grass"
    for side in sides:
        if side.side * t > 0 and side.s_from_m <= s < side.s_to_m:
            return side.surface(abs(t))
    return "grass"

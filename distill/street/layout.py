"""Where things stand: blocks and their sides, buildings, planting and furniture. Traffic and people are in `traffic`."""

import numpy as np

from distill.street import buildings, plants, street_furniture
from distill.street.categories import MANMADE, VEGETATION
from distill.street.city import City
from distill.street.ground import KERB_WIDTH_M, CrossStreet, Section, Side, build_ground, road_marks
from distill.street.light import random_light
from distill.street.road import Road
from distill.street.soup import Soup
from distill.street.traffic import populate, walk_band

_KINDS = ("shops", "houses", "offices", "park", "lot", "works")
_FACADE_STYLES = 12
_REACH_M = 130.0  # how far the street is furnished before the start and after the end of the drive


def random_city(rng: np.random.Generator, seconds: float) -> City:
    """A whole city for a drive of that length, wholly determined by `rng`."""
    speed = float(rng.uniform(3, 8))
    s_range = (-_REACH_M, speed * seconds + _REACH_M)
    road = Road(rng, *s_range)
    lanes = int(rng.choice([1, 2], p=[0.55, 0.45]))
    island = float(rng.uniform(0.7, 1.6)) if rng.random() < (0.6 if lanes == 2 else 0.35) else 0.0
    section = Section(float(rng.uniform(3.1, 3.6)), lanes, float(rng.uniform(2.4, 2.8)), island)
    crossings = _crossings(rng, s_range)
    sides = _sides(rng, section, crossings, s_range)
    facades, rgb = buildings.random_facades(rng, _FACADE_STYLES)
    city = City(
        road=road,
        section=section,
        crossings=crossings,
        sides=sides,
        s_range=s_range,
        light=random_light(rng),
        facades=facades,
        facade_rgb=rgb,
        marks=road_marks(rng, section, crossings, s_range),
        ego_t_m=-section.lane_t(int(rng.integers(lanes))),
        ego_speed=speed,
    )
    city.static.append(build_ground(road, section, crossings, sides, s_range))
    trees = [plants.tree(rng) for _ in range(6)]
    bushes = [plants.bush(rng) for _ in range(3)]
    _furnish(rng, city, trees)
    for side in sides:
        _fill(rng, city, side, trees, bushes)
    _skyline(rng, city)
    populate(rng, city, speed * seconds)
    return city


def _crossings(rng: np.random.Generator, s_range: tuple[float, float]) -> list[CrossStreet]:
    found, s = [], s_range[0] + rng.uniform(20, 80)
    while s < s_range[1] - 20:
        found.append(CrossStreet(float(s), float(rng.uniform(3.4, 5.5)), float(rng.uniform(2.0, 3.2))))
        s += rng.uniform(75, 130)
    return found


def _sides(rng: np.random.Generator, section: Section, crossings: list[CrossStreet], s_range: tuple[float, float]) -> list[Side]:
    edges = [s_range[0] - 250]
    for cross in crossings:
        edges += [cross.s_m - cross.half_m - cross.walk_m, cross.s_m + cross.half_m + cross.walk_m]
    edges.append(s_range[1] + 250)
    k = section.kerb_m + KERB_WIDTH_M
    sides = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        for side in (-1, 1):
            kind = str(rng.choice(_KINDS, p=[0.28, 0.26, 0.18, 0.12, 0.08, 0.08]))
            zones, line = _zones(rng, kind, k)
            sides.append(Side(kind, float(start), float(end), side, zones, line))
    return sides


def _zones(rng: np.random.Generator, kind: str, k: float) -> tuple[tuple[tuple[float, str], ...], float]:
    if kind == "shops":
        walk = rng.uniform(3.5, 5.5)
        return ((k, "sidewalk"), (k + walk + 6, "grass")), k + walk
    if kind == "houses":
        verge, walk, yard = rng.uniform(1.2, 2.6), rng.uniform(1.6, 2.2), rng.uniform(3, 7)
        return ((k, "grass"), (k + verge, "sidewalk"), (k + verge + walk, "grass")), k + verge + walk + yard
    if kind == "offices":
        walk, plaza = rng.uniform(2.5, 3.5), rng.uniform(3, 8)
        return ((k, "sidewalk"), (k + walk, "plaza"), (k + walk + plaza + 6, "grass")), k + walk + plaza
    walk, deep = rng.uniform(2.2, 3.0), rng.uniform(15, 19)
    if kind == "park":
        verge = rng.uniform(1.0, 2.5)
        return ((k, "grass"), (k + verge, "sidewalk"), (k + verge + walk, "grass")), k + 45
    surface = "lot" if kind == "lot" else "dirt"
    return ((k, "sidewalk"), (k + walk, surface), (k + walk + deep, "grass")), k + walk + deep + 3


def _near(city: City, side: Side) -> tuple[float, float]:
    return max(side.s_from_m, city.s_range[0]), min(side.s_to_m, city.s_range[1])


def _fill(rng: np.random.Generator, city: City, side: Side, trees: list[Soup], bushes: list[Soup]) -> None:
    """Buildings, fences and planting of one side of a block."""
    start, end = _near(city, side)
    facing = 0.0 if side.side > 0 else np.pi
    line = side.building_t_m
    walk_from, walk_to = walk_band(side)

    def plant(s: float, t: float, choices: list[Soup], low: float = 0.75, high: float = 1.2) -> None:
        city.stand(choices[rng.integers(len(choices))], VEGETATION, s, side.side * t, rng.uniform(0, 6.3), rng.uniform(low, high))

    s = start + rng.uniform(0.5, 3)
    while s < end - 6 and side.kind != "park":
        detached = side.kind == "houses"
        width = min(rng.uniform(8, 13) if detached else rng.uniform(10, 24), end - s - 0.5)
        if width < 6:
            break
        middle, setback = s + width / 2, line + (rng.uniform(0, 2.0) if detached or side.kind == "offices" else rng.choice([0, 0, 0.8]))
        if detached:
            thing = buildings.house(rng, width, rng.uniform(8, 11), int(rng.integers(_FACADE_STYLES // 2)), city.facades, city.facade_rgb)
        else:
            high = rng.uniform(14, 38) if side.kind == "offices" else rng.uniform(7.5, 20)
            shops = side.kind == "shops"
            style = int(rng.integers(_FACADE_STYLES // 2)) + (_FACADE_STYLES // 2 if shops else 0)
            thing = buildings.block(rng, width, rng.uniform(10, 16), high, style, city.facades, city.facade_rgb)
        city.stand(thing, MANMADE, middle, side.side * setback, facing)
        gap = rng.uniform(2.5, 6) if detached else (rng.uniform(3, 8) if rng.random() < 0.2 else 0.0)
        if detached and rng.random() < 0.8:
            plant(s + width + gap / 2, line + rng.uniform(2, 8), trees)
        s += width + gap
    edge = walk_to + 0.5
    if side.kind == "houses":
        s = start + 1
        while s < end - 5:
            length = min(rng.uniform(5, 11), end - s - 1)
            choice = rng.random()
            if choice < 0.35:
                city.stand(plants.hedge(rng, length), VEGETATION, s + length / 2, side.side * edge)
            elif choice < 0.75:
                city.stand(street_furniture.fence(rng, length), MANMADE, s + length / 2, side.side * edge)
            for _ in range(rng.integers(0, 3)):
                plant(s + rng.uniform(0, length), rng.uniform(edge + 0.8, line - 0.5), bushes)
            if rng.random() < 0.25 and line - edge > 3:
                plant(s + rng.uniform(0, length), (edge + line) / 2, trees, 0.5, 0.8)
            s += length + rng.uniform(1.2, 3)
    elif side.kind == "park":
        for _ in range(int((end - start) * 0.3)):
            plant(rng.uniform(start, end), edge + rng.uniform(1, 40), trees, 0.8, 1.35)
        for _ in range(int((end - start) * 0.2)):
            plant(rng.uniform(start, end), edge + rng.uniform(0.5, 25), bushes)
        if rng.random() < 0.5:
            city.stand(street_furniture.fence(rng, end - start - 4), MANMADE, (start + end) / 2, side.side * edge)
        for s in np.arange(start + 8, end - 4, rng.uniform(12, 22)):
            city.stand(street_furniture.bench(rng), MANMADE, s, side.side * (walk_to - 0.4), facing)
    elif side.kind == "lot":
        for s in np.arange(start + 3, end - 8, 7.5):
            if rng.random() < 0.7:
                city.stand(plants.hedge(rng, 6.0), VEGETATION, s + 3, side.side * edge)
    elif side.kind == "offices":
        for s in np.arange(start + 3, end - 3, rng.uniform(5, 9)):
            plant(s, (walk_to + line) / 2 + rng.normal(0, 0.4), bushes if rng.random() < 0.6 else trees, 0.5, 0.9)
    verge = walk_from > city.section.kerb_m + 0.5
    planted = {"shops": 0.5, "houses": 0.75, "offices": 0.6, "park": 0.85, "lot": 0.5, "works": 0.2}[side.kind]
    for s in np.arange(start + 4, end - 3, rng.uniform(7.5, 12)):
        t = city.section.kerb_m + (0.9 if verge else 1.0)
        if rng.random() < planted and not city.at_crossing(s, 5) and city.free(s, side.side * t, 1.0, 0.6):
            plant(s + rng.normal(0, 0.3), t, trees, 0.65, 1.1)
            city.taken.append((s, side.side * t, 0.6, 0.6))
        elif verge and rng.random() < 0.3:
            plant(s, t, bushes, 0.5, 0.8)


def _furnish(rng: np.random.Generator, city: City, trees: list[Soup]) -> None:
    """Lamps, signs, lights and clutter along the kerbs; trees on the island."""
    k, (low, high) = city.section.kerb_m, city.s_range

    def put(soup: Soup, s: float, t: float, yaw: float = 0.0) -> None:
        if city.free(s, t, 0.5, 0.4):
            city.stand(soup, MANMADE, s, t, yaw)
            city.taken.append((s, t, 0.4, 0.4))

    lamp, wooden = street_furniture.street_lamp(rng), rng.random() < 0.3
    for i, s in enumerate(np.arange(low, high, rng.uniform(17, 26))):
        side = 1 if i % 2 else -1
        if not city.at_crossing(s):
            put(lamp, s, side * (k + 0.5), 0.0 if side < 0 else np.pi)
            if wooden and side > 0:
                put(street_furniture.utility_pole(rng), s + 6, k + 0.7)
    for cross in city.crossings:
        lights = rng.random() < 0.65
        for along, side in ((-1, -1), (1, 1), (-1, 1), (1, -1)):
            s, t = cross.s_m + along * (cross.half_m + 0.6), side * (k + 0.6)
            yaw = 0.0 if side < 0 else np.pi
            if lights and along * side > 0:
                put(street_furniture.traffic_light(rng), s, t, yaw)
            else:
                put(street_furniture.traffic_sign(rng), s, t, yaw)
            if rng.random() < 0.5:
                for d in np.arange(1.5, 7, 1.5):
                    put(street_furniture.bollard(rng), s + along * d, side * (k + 0.35))
    for _ in range(int((high - low) / 9)):
        s, side = rng.uniform(low, high), rng.choice([-1, 1])
        make = [street_furniture.traffic_sign, street_furniture.traffic_sign, street_furniture.bin_, street_furniture.bollard, street_furniture.kiosk][rng.choice(5, p=[0.3, 0.15, 0.3, 0.18, 0.07])]
        if not city.at_crossing(s):
            put(make(rng) if rng.random() < 0.9 else street_furniture.hydrant(), s, side * (k + rng.uniform(0.5, 0.9)), 0.0 if side < 0 else np.pi)
    if city.section.island_half_m:
        for s in np.arange(low, high, rng.uniform(9, 16)):
            if not city.at_crossing(s, 4):
                if city.section.island_half_m > 1.0 and rng.random() < 0.5:
                    city.stand(trees[rng.integers(len(trees))], VEGETATION, s, 0.0, rng.uniform(0, 6), rng.uniform(0.45, 0.7))
                elif rng.random() < 0.4:
                    put(street_furniture.bollard(rng) if rng.random() < 0.6 else street_furniture.traffic_sign(rng), s, 0.0)


def _skyline(rng: np.random.Generator, city: City) -> None:
    """Blocks behind the first row, across the ends of the streets, and trees between them."""
    low, high = city.s_range

    def tower(s: float, t: float, yaw: float, width: float, height: float) -> None:
        style = int(rng.integers(_FACADE_STYLES // 2))
        city.stand(buildings.tower(width, 15, height, style, city.facade_rgb), MANMADE, s, t, yaw)

    for side in (-1, 1):
        yaw = 0.0 if side > 0 else np.pi
        for s in np.arange(low, high, 24):
            if not city.at_crossing(s, 13) and rng.random() < 0.65:
                tower(s, side * rng.uniform(62, 85), yaw, rng.uniform(14, 26), rng.uniform(9, 40))
        for cross in city.crossings:
            tower(cross.s_m, side * rng.uniform(120, 150), yaw, 40, rng.uniform(10, 25))
    for s, yaw in ((low - 45, np.pi / 2), (high + 45, -np.pi / 2)):
        for t in np.arange(-75, 76, 25):
            tower(s + rng.uniform(-12, 12), t, yaw, 24, rng.uniform(9, 30))

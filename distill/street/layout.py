"""Lays out a city: the street and its crossings, what each side of a block is, then everything that stands and moves there."""

import numpy as np

from distill.street import buildings, cars, plants
from distill.street.city import City
from distill.street.frontage import fill, skyline
from distill.street.ground import KERB_WIDTH_M, CrossStreet, Section, Side, build_ground
from distill.street.light import random_light
from distill.street.markings import road_marks
from distill.street.parking import bicycle_stands, lots, parked_cars, rare_parked
from distill.street.road import Road
from distill.street.roadside import furnish
from distill.street.roadworks import roadworks
from distill.street.traffic import driving
from distill.street.walkers import walkers

_KINDS = ("shops", "houses", "offices", "park", "lot", "works")
_FACADE_STYLES = 12
_REACH_M = 130.0  # how far the street is furnished before the start and after the end of the drive


def random_city(rng: np.random.Generator, seconds: float) -> City:
    """A whole city for a drive of that length, wholly determined by `rng`."""
    speed = float(rng.uniform(3, 8))
    s_range = (-_REACH_M, speed * seconds + _REACH_M)
    road = Road(rng, *s_range)
    lanes = int(rng.choice([1, 2], p=[0.65, 0.35]))
    island = float(rng.uniform(0.7, 1.6)) if rng.random() < (0.6 if lanes == 2 else 0.35) else 0.0
    # Land that is level to the centimetre would teach a student that heights are classes.
    banks = (float(rng.normal(0, 0.06)), float(rng.normal(0, 0.06)))
    section = Section(
        float(rng.uniform(3.0, 3.8)), lanes, float(rng.uniform(2.4, 2.8)), island, float(rng.uniform(0.005, 0.035)), banks
    )
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
    furnish(rng, city, trees)
    for side in sides:
        fill(rng, city, side, trees, bushes)
    skyline(rng, city)
    _populate(rng, city, speed * seconds)
    return city


def _populate(rng: np.random.Generator, city: City, travel_m: float) -> None:
    """Adds all actors; what is rare is placed first and near the ego car's way of `travel_m`."""
    near = (-14.0, travel_m + 30.0)
    # A lane of its own keeps everything clear of the ego car.
    city.taken.append((travel_m / 2, city.ego_t_m, travel_m / 2 + 9, 1.3))
    roadworks(rng, city, near)
    rare_parked(rng, city, near)
    driving(rng, city, travel_m)
    models = [cars.car(rng) for _ in range(12)]
    parked_cars(rng, city, models)
    bicycle_stands(rng, city, near)
    lots(rng, city, models)
    walkers(rng, city, travel_m)


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
            kind = str(rng.choice(_KINDS, p=[0.18, 0.27, 0.12, 0.33, 0.05, 0.05]))
            zones, line = _zones(rng, kind, k)
            sides.append(Side(kind, float(start), float(end), side, zones, line))
    return sides


def _zones(rng: np.random.Generator, kind: str, k: float) -> tuple[tuple[tuple[float, str], ...], float]:
    if kind == "shops":
        walk = rng.uniform(3.5, 5.5)
        if rng.random() < 0.4:
            verge = rng.uniform(1.3, 2.4)
            return ((k, "grass"), (k + verge, "sidewalk"), (k + verge + walk + 6, "grass")), k + verge + walk
        return ((k, "sidewalk"), (k + walk + 6, "grass")), k + walk
    if kind == "houses":
        verge, walk, yard = rng.uniform(1.5, 5.0), rng.uniform(1.6, 2.2), rng.uniform(3, 8)
        return ((k, "grass"), (k + verge, "sidewalk"), (k + verge + walk, "grass")), k + verge + walk + yard
    if kind == "offices":
        walk, plaza = rng.uniform(2.5, 3.5), rng.uniform(3, 8)
        front = "plaza" if rng.random() < 0.5 else "grass"
        return ((k, "sidewalk"), (k + walk, front), (k + walk + plaza + 6, "grass")), k + walk + plaza
    walk, deep = rng.uniform(2.2, 3.0), rng.uniform(15, 19)
    if kind == "park":
        verge = rng.uniform(1.5, 9.0)
        return ((k, "grass"), (k + verge, "sidewalk"), (k + verge + walk, "grass")), k + 45
    surface = "lot" if kind == "lot" else "dirt"
    return ((k, "sidewalk"), (k + walk, surface), (k + walk + deep, "grass")), k + walk + deep + 3

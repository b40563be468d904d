"""People on the sidewalks and on zebra crossings."""

import numpy as np

from distill.street import categories as c
from distill.street import people
from distill.street.city import Actor, City
from distill.street.ground import Side
from distill.street.soup import Soup


def walkers(rng: np.random.Generator, city: City, travel_m: float) -> None:
    """People on the sidewalks and on zebra crossings."""
    low, high = -28.0, travel_m + 40.0

    def somebody(walking: bool) -> tuple[Soup, int]:
        child = rng.random() < 0.14
        return people.person(rng, child=child, walking=walking), c.CHILD if child else c.ADULT

    for _ in range(rng.integers(44, 70)):
        s = float(rng.uniform(low, high))
        side = _side_at(city, s, int(rng.choice([-1, 1])))
        if side is None:
            continue
        start, end = walk_band(side)
        t = side.side * float(rng.uniform(start + 0.45, end - 0.35))
        walking = rng.random() < 0.75
        speed = float(rng.uniform(0.7, 1.6)) * float(rng.choice([-1, 1])) if walking else 0.0
        soup, category = somebody(walking)
        yaw = (0.0 if speed > 0 else np.pi) if walking else float(rng.uniform(0, 6.3))
        attribute = "pedestrian.moving" if walking else "pedestrian.standing"
        if city.settle(soup, category, attribute, s, t, yaw, (speed, 0.0)) and walking and rng.random() < 0.08:
            stroller = people.stroller(rng)
            city.annotate(
                Actor(
                    stroller, c.INDEX["human.pedestrian.stroller"], "", s + np.sign(speed) * 0.85, t, yaw, city.lift(s, t), speed
                )
            )
    for cross in city.crossings:
        for along in (-1, 1):
            s = cross.s_m + along * (cross.half_m + 2.0)
            for _ in range(rng.integers(1, 4)):
                if not low < s < high:
                    continue
                t, direction = (
                    float(rng.uniform(-city.section.kerb_m + 0.5, city.section.kerb_m - 0.5)),
                    float(rng.choice([-1, 1])),
                )
                if -7 < s < travel_m + 9 and abs(t - city.ego_t_m) < 3.0:
                    continue
                if not _clear_of_traffic(city, s, t):
                    continue
                soup, category = somebody(True)
                away = np.sign(t - city.ego_t_m) if -7 < s < travel_m + 9 else direction
                city.settle(
                    soup,
                    category,
                    "pedestrian.moving",
                    s + rng.uniform(-1, 1),
                    t,
                    away * np.pi / 2,
                    (0.0, float(away * rng.uniform(0.4, 0.9))),
                )


def _clear_of_traffic(city: City, s: float, t: float) -> bool:
    """Whether nothing that drives comes by (s, t) in the first seconds."""
    times = np.arange(0, 3, 0.25)
    for actor in city.actors:
        if actor.moves and abs(actor.t_m - t) < 2.6:
            half_length = actor.soup.bounds[1][0] + 1.8
            if (np.abs(actor.s_m + actor.speed_s * times - s) < half_length).any():
                return False
    return True


def _side_at(city: City, s: float, which: int) -> Side | None:
    return next((side for side in city.sides if side.side == which and side.s_from_m <= s < side.s_to_m), None)


def walk_band(side: Side) -> tuple[float, float]:
    """From and to |t| of a side's sidewalk; at most 4.5 m of it is walked on."""
    starts = [start for start, _ in side.zones] + [side.building_t_m]
    i = [name for _, name in side.zones].index("sidewalk")
    return side.zones[i][0], min(starts[i + 1], side.building_t_m, side.zones[i][0] + 4.5)

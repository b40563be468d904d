"""Moving traffic: vehicles in the lanes, riders at their edge, clear of one another and of the ego car."""

import numpy as np

from distill.street import cars, lorries, people
from distill.street import categories as c
from distill.street.city import Actor, City
from distill.street.soup import Soup

_MOVING = "vehicle.moving"


def driving(rng: np.random.Generator, city: City, travel_m: float) -> None:
    """Moving traffic: every lane has one speed, so that nothing collides."""
    section = city.section
    for side in (-1, 1):
        for lane in range(section.lanes):
            t = side * section.lane_t(lane)
            own = abs(t - city.ego_t_m) < 0.5
            speed = city.ego_speed if own else float(rng.uniform(3, 9))
            run = speed * travel_m / city.ego_speed
            s = city.s_range[0] + 20 + rng.uniform(0, 15)
            while s < city.s_range[1] - 15:
                if own and abs(s) < 16:
                    s = 16 + rng.uniform(0, 12)
                soup, category, attribute = _vehicle(rng)
                if rng.random() < 0.8:
                    _move(city, soup, category, attribute, s, t + rng.normal(0, 0.15), -side * speed, run)
                s += rng.uniform(13, 34)
        # Cyclists and scooters keep to the edge of the outer lane.
        for _ in range(rng.integers(6, 11)):
            s, t = rng.uniform(-22, travel_m + 26), side * (section.kerb_m - section.parking_m - 0.25)
            soup, category = (
                (people.bicycle(rng, True), c.BICYCLE) if rng.random() < 0.75 else (people.motorcycle(rng, True), c.MOTORCYCLE)
            )
            speed = float(rng.uniform(2.5, 5))
            if not (abs(t - city.ego_t_m) < 1.9 and -8 < s < travel_m + 8):
                _move(city, soup, category, "cycle.with_rider", s, t, -side * speed, speed * travel_m / city.ego_speed)


def _vehicle(rng: np.random.Generator) -> tuple[Soup, int, str]:
    kind = rng.choice(["car", "bus", "truck", "motorcycle", "bicycle"], p=[0.6, 0.11, 0.11, 0.1, 0.08])
    if kind == "car":
        return cars.car(rng), c.CAR, _MOVING
    if kind == "bus":
        return lorries.bus(rng), c.BUS, _MOVING
    if kind == "truck":
        return lorries.truck(rng), c.TRUCK, _MOVING
    if kind == "motorcycle":
        return people.motorcycle(rng, True), c.MOTORCYCLE, "cycle.with_rider"
    return people.bicycle(rng, True), c.BICYCLE, "cycle.with_rider"


def _move(city: City, soup: Soup, category: int, attribute: str, s: float, t: float, speed: float, run_m: float) -> None:
    """Places a moving actor if its whole way is clear of what stands, and of the ego car's lane."""
    low, high = soup.bounds
    half = (high - low) / 2
    middle = s + np.sign(speed) * run_m / 2
    if abs(t - city.ego_t_m) < 0.6:  # the ego car's own lane: the reserved stretch moves along at the same speed
        clear = all(
            abs(middle - a) >= half[0] + run_m / 2 + d or abs(t - b) >= half[1] + e
            for a, b, d, e in city.taken
            if abs(b - city.ego_t_m) > 0.01
        )
        others = [a for a in city.actors if a.moves and abs(a.t_m - t) < 1.5]
        clear = clear and all(abs(a.s_m - s) > 11 for a in others) and abs(s) > half[0] + 7
    else:
        others = [a for a in city.actors if a.moves and abs(a.t_m - t) < 1.2]
        clear = city.free(middle, t, half[0] + run_m / 2, half[1]) and all(abs(a.s_m - s) > half[0] + 7 for a in others)
    if clear:
        yaw = 0.0 if speed > 0 else np.pi
        city.annotate(Actor(soup, category, attribute, float(s), float(t), yaw, city.lift(s, t), speed_s=speed))

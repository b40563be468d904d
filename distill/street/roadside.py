"""Lamps, signs, lights and clutter along the kerbs; trees on the island."""

import numpy as np

from distill.street import street_furniture
from distill.street.categories import MANMADE, VEGETATION
from distill.street.city import City
from distill.street.soup import Soup


def furnish(rng: np.random.Generator, city: City, trees: list[Soup]) -> None:
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
        make = [
            street_furniture.traffic_sign,
            street_furniture.traffic_sign,
            street_furniture.bin_,
            street_furniture.bollard,
            street_furniture.kiosk,
        ][rng.choice(5, p=[0.3, 0.15, 0.3, 0.18, 0.07])]
        if not city.at_crossing(s):
            put(
                make(rng) if rng.random() < 0.9 else street_furniture.hydrant(),
                s,
                side * (k + rng.uniform(0.5, 0.9)),
                0.0 if side < 0 else np.pi,
            )
    if city.section.island_half_m:
        for s in np.arange(low, high, rng.uniform(9, 16)):
            if not city.at_crossing(s, 4):
                if city.section.island_half_m > 1.0 and rng.random() < 0.5:
                    city.stand(trees[rng.integers(len(trees))], VEGETATION, s, 0.0, rng.uniform(0, 6), rng.uniform(0.45, 0.7))
                elif rng.random() < 0.4:
                    put(street_furniture.bollard(rng) if rng.random() < 0.6 else street_furniture.traffic_sign(rng), s, 0.0)

"""Roadworks: a fenced-off stretch of the parking lane with a machine, cones, barriers and workers."""

import numpy as np

from distill.street import categories as c
from distill.street import construction, people, street_furniture
from distill.street.city import PARKED, City


def roadworks(rng: np.random.Generator, city: City, near: tuple[float, float]) -> None:
    """A fenced-off stretch of the parking lane: machine, cones, barriers, workers."""
    section = city.section
    for _ in range(2 if rng.random() < 0.65 else 1):
        length, side = rng.uniform(14, 20), int(rng.choice([-1, 1], p=[0.35, 0.65]))
        for _attempt in range(40):
            s = rng.uniform(near[0] + 4, near[1] - 4)
            if not any(city.at_crossing(s + d, 3) for d in (-length / 2, 0, length / 2)) and city.free(
                s, side * section.parking_t(), length / 2, 1
            ):
                break
        else:
            continue
        t = side * section.parking_t()
        if rng.random() < 0.92:
            city.settle(
                construction.construction_vehicle(rng, 0.2),
                c.CONSTRUCTION,
                PARKED,
                s + rng.uniform(-2, 2),
                t,
                rng.choice([0.0, np.pi]) + rng.normal(0, 0.04),
            )
        edge = side * (section.kerb_m - section.parking_m - 0.25)
        kind = str(rng.choice(["jersey", "plastic", "plank"]))
        for x in np.arange(s - length / 2 + 2, s + length / 2 - 1, 2.05):
            if rng.random() < 0.9:
                city.settle(street_furniture.barrier(rng, kind), c.BARRIER, "", x, edge, rng.normal(0, 0.03))
        for end in (-1, 1):
            for k in range(5):
                x = s + end * (length / 2 + 0.3 + 1.1 * k)
                city.settle(street_furniture.cone(rng), c.CONE, "", x, edge + side * (0.2 + 0.42 * k), rng.uniform(0, 1.5))
            city.settle(
                street_furniture.barrier(rng, "plank"),
                c.BARRIER,
                "",
                s + end * (length / 2 - 0.7),
                t,
                np.pi / 2 + rng.normal(0, 0.1),
            )
        for _worker in range(rng.integers(1, 4)):
            city.settle(
                people.person(rng, worker=True, walking=False),
                c.WORKER,
                "pedestrian.standing",
                s + rng.uniform(-length / 2, length / 2),
                t + rng.uniform(-1.3, 1.3),
                rng.uniform(0, 6.3),
            )
    for _ in range(rng.integers(2, 6)):  # cones and planks that someone left at the kerb
        side = rng.choice([-1, 1])
        soup, category = (
            (street_furniture.cone(rng), c.CONE) if rng.random() < 0.65 else (street_furniture.barrier(rng, "plank"), c.BARRIER)
        )
        city.settle(
            soup, category, "", rng.uniform(*near), side * (section.kerb_m + rng.uniform(0.6, 1.5)), rng.uniform(-0.3, 0.3)
        )

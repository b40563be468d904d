"""What is parked: cars in the parking lanes and on lots, lorries, trailers, a bus at its stop, two-wheelers."""

import numpy as np

from distill.street import bodywork, construction, lorries, people, street_furniture
from distill.street import categories as c
from distill.street.city import PARKED, Actor, City, heading
from distill.street.soup import Soup


def rare_parked(rng: np.random.Generator, city: City, near: tuple[float, float]) -> None:
    """A bus at its stop, trailers, lorries and motorcycles at the kerb."""
    makers = [
        (lorries.trailer, c.TRAILER, 0.85),
        (lorries.bus, c.BUS, 0.6),
        (lorries.truck, c.TRUCK, 0.7),
        (lorries.trailer, c.TRAILER, 0.35),
        (lorries.truck, c.TRUCK, 0.3),
    ]
    for make, category, chance in makers:
        if rng.random() > chance:
            continue
        soup = make(rng)
        length = float((soup.bounds[1] - soup.bounds[0])[0])
        for _attempt in range(16):
            # Mostly across the street: beside the ego car one lorry would hide everything.
            side, s = int(rng.choice([-1, 1], p=[0.2, 0.8])), rng.uniform(near[0] - 8, near[1] + 5)
            t = side * (city.section.parking_t() - 0.05)
            if any(city.at_crossing(s + d, 2) for d in (-length / 2, 0, length / 2)):
                continue
            if city.settle(soup, category, "vehicle.stopped" if category == c.BUS else PARKED, s, t, heading(t)):
                shelter_t = side * (city.section.kerb_m + 1.9)
                if category == c.BUS and city.free(s, shelter_t, 2.2, 0.9):
                    city.stand(street_furniture.bus_shelter(rng), c.MANMADE, s, shelter_t, 0.0 if side > 0 else np.pi)
                    city.taken.append((s, shelter_t, 2.2, 0.9))
                break
    for _ in range(rng.integers(2, 5)):
        side, s = int(rng.choice([-1, 1])), rng.uniform(near[0] + 5, near[1] - 14)
        for k in range(rng.integers(2, 6)):
            x, t = s + 0.95 * k, side * (city.section.kerb_m - 1.0)
            if not city.at_crossing(x, 2):
                city.settle(
                    people.motorcycle(rng, False),
                    c.MOTORCYCLE,
                    "cycle.without_rider",
                    x,
                    t,
                    side * np.pi / 2 + rng.normal(0, 0.1) + 0.3,
                )


def parked_cars(rng: np.random.Generator, city: City, models: list[Soup]) -> None:
    """Cars in the parking lanes, denser in some streets than in others."""
    for side in (-1, 1):
        fill = rng.uniform(0.2, 0.7)
        s, t = city.s_range[0], side * city.section.parking_t()
        while s < city.s_range[1]:
            if rng.random() < fill and not city.at_crossing(s, 4.5):
                turned = np.pi if rng.random() < 0.06 else 0.0
                city.settle(
                    _one_of(rng, models),
                    c.CAR,
                    PARKED,
                    s,
                    t + rng.normal(0, 0.08),
                    heading(t) + turned + rng.normal(0, 0.015),
                )
            s += rng.uniform(5.4, 6.6)
    for cross in city.crossings:  # the cross street has a little traffic, too
        for side in (-1, 1):
            for t in np.arange(city.section.kerb_m + 8, 60, 7):
                if rng.random() < 0.4:
                    city.settle(
                        _one_of(rng, models),
                        c.CAR,
                        PARKED,
                        cross.s_m + side * (cross.half_m - 1.05),
                        t * rng.choice([-1, 1]),
                        side * np.pi / 2,
                    )


def bicycle_stands(rng: np.random.Generator, city: City, near: tuple[float, float]) -> None:
    """Racks with bicycles, and bicycles leaning about."""
    for _ in range(rng.integers(5, 10)):
        side, s = int(rng.choice([-1, 1])), rng.uniform(near[0] + 3, near[1] - 10)
        length = 0.8 * rng.integers(2, 6)
        t = side * (city.section.kerb_m + 1.25)
        if city.at_crossing(s, 4) or not city.free(s, t, length / 2, 0.8):
            continue
        city.stand(street_furniture.bicycle_rack(length), c.RACK, s, t)
        spots = [x for x in np.arange(s - length / 2 + 0.25, s + length / 2 + 0.4, 0.4) if rng.random() < 0.6]
        for x in spots:
            lift = city.lift(x, t)
            bicycle = people.bicycle(rng, False)
            city.annotate(
                Actor(
                    bicycle,
                    c.BICYCLE,
                    "cycle.without_rider",
                    float(x),
                    float(t),
                    rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.06),
                    lift,
                )
            )
        city.taken.append((s, t, length / 2 + 0.3, 1.0))
    for _ in range(rng.integers(4, 9)):
        side, s = int(rng.choice([-1, 1])), rng.uniform(near[0] + 3, near[1] - 8)
        t, yaw = side * (city.section.kerb_m + rng.uniform(0.45, 0.7)), rng.choice([0.0, np.pi]) + rng.normal(0, 0.1)
        if not city.at_crossing(s):
            city.settle(people.bicycle(rng, False), c.BICYCLE, "cycle.without_rider", s, t, yaw)


def lots(rng: np.random.Generator, city: City, models: list[Soup]) -> None:
    """Rows of cars on parking lots; machines and containers on building sites."""
    for side in city.sides:
        start, end = max(side.s_from_m, city.s_range[0]) + 4, min(side.s_to_m, city.s_range[1]) - 4
        zone = side.zones[1][0]
        if side.kind == "lot":
            for row, turn in ((3.2, -1), (13.5, 1)):
                for s in np.arange(start, end, 2.75):
                    if rng.random() < 0.55:
                        city.settle(
                            _one_of(rng, models),
                            c.CAR,
                            PARKED,
                            s,
                            side.side * (zone + row),
                            turn * np.pi / 2 + rng.normal(0, 0.03),
                        )
            if rng.random() < 0.5:
                city.settle(lorries.trailer(rng), c.TRAILER, PARKED, (start + end) / 2, side.side * (zone + 8.4))
        elif side.kind == "works":
            for s in np.arange(start, end, rng.uniform(9, 14)):
                t = side.side * (zone + rng.uniform(4, 13))
                if rng.random() < 0.6:
                    city.settle(construction.construction_vehicle(rng, 1.5), c.CONSTRUCTION, PARKED, s, t, rng.uniform(0, 6.3))
                elif rng.random() < 0.6:
                    city.stand(street_furniture.skip(rng), c.MANMADE, s, t, rng.uniform(0, 3))
                else:
                    city.settle(lorries.truck(rng), c.TRUCK, PARKED, s, t, rng.uniform(0, 6.3))
            kind = str(rng.choice(["plank", "jersey"]))
            for s in np.arange(start, end, 2.2):
                if rng.random() < 0.85:
                    city.settle(
                        street_furniture.barrier(rng, kind), c.BARRIER, "", s, side.side * (zone + 0.6), rng.normal(0, 0.04)
                    )


def _one_of(rng: np.random.Generator, models: list[Soup]) -> Soup:
    """A car of one of the city's models in its own colour; making each anew would take most of a scene's time."""
    return bodywork.repainted(models[rng.integers(len(models))], bodywork.paintwork(rng))

"""Who uses the street: parked and moving vehicles, riders, people, roadworks. All of it is annotated with boxes."""

import numpy as np

from distill.street import categories as c
from distill.street import construction, people, street_furniture, vehicles
from distill.street.city import Actor, City
from distill.street.ground import Side
from distill.street.soup import Soup

_PARKED, _MOVING = "vehicle.parked", "vehicle.moving"


def populate(rng: np.random.Generator, city: City, travel_m: float) -> None:
    """Adds all actors; what is rare is placed first and near the ego car's way of `travel_m`."""
    near = (-14.0, travel_m + 30.0)
    # A lane of its own keeps everything clear of the ego car.
    city.taken.append((travel_m / 2, city.ego_t_m, travel_m / 2 + 9, 1.3))
    _roadworks(rng, city, near)
    _rare_parked(rng, city, near)
    _driving(rng, city, travel_m)
    _parked_cars(rng, city)
    _bicycle_stands(rng, city, near)
    _lots(rng, city)
    _walkers(rng, city, travel_m)


def _add(city: City, soup: Soup, category: int, attribute: str, s: float, t: float, yaw: float = 0.0, speed: tuple[float, float] = (0.0, 0.0)) -> bool:
    """Places an actor unless its place is taken."""
    low, high = soup.bounds()
    cos, sin = abs(np.cos(yaw)), abs(np.sin(yaw))
    length, width = (high - low)[:2]
    half_s, half_t = (length * cos + width * sin) / 2 + 0.12, (length * sin + width * cos) / 2 + 0.08
    if not city.free(s, t, half_s, half_t):
        return False
    city.taken.append((s, t, half_s, half_t))
    tilt = category not in (c.ADULT, c.CHILD, c.WORKER)
    city.annotate(Actor(soup, category, attribute, s, t, yaw, city.lift(s, t), *speed, tilt=tilt))
    return True


def _heading(t: float) -> float:
    """Traffic keeps to the right."""
    return 0.0 if t < 0 else np.pi


def _roadworks(rng: np.random.Generator, city: City, near: tuple[float, float]) -> None:
    """A fenced-off stretch of the parking lane: machine, cones, barriers, workers."""
    section = city.section
    for _ in range(2 if rng.random() < 0.45 else 1):
        length, side = rng.uniform(14, 22), int(rng.choice([-1, 1]))
        for _attempt in range(12):
            s = rng.uniform(near[0] + 4, near[1] - 4)
            if not any(city.at_crossing(s + d, 3) for d in (-length / 2, 0, length / 2)) and city.free(s, side * section.parking_t(), length / 2, 1):
                break
        else:
            continue
        t = side * section.parking_t()
        if rng.random() < 0.85:
            _add(city, construction.construction_vehicle(rng), c.CONSTRUCTION, _PARKED, s + rng.uniform(-2, 2), t, rng.choice([0.0, np.pi]) + rng.normal(0, 0.04))
        edge = side * (section.kerb_m - section.parking_m - 0.25)
        kind = str(rng.choice(["jersey", "plastic", "plank"]))
        for x in np.arange(s - length / 2 + 2, s + length / 2 - 1, 2.05):
            if rng.random() < 0.9:
                _add(city, street_furniture.barrier(rng, kind), c.BARRIER, "", x, edge, rng.normal(0, 0.03))
        for end in (-1, 1):
            for k in range(5):
                x = s + end * (length / 2 + 0.3 + 1.1 * k)
                _add(city, street_furniture.cone(rng), c.CONE, "", x, edge + side * (0.2 + 0.42 * k), rng.uniform(0, 1.5))
            _add(city, street_furniture.barrier(rng, "plank"), c.BARRIER, "", s + end * (length / 2 - 0.7), t, np.pi / 2 + rng.normal(0, 0.1))
        for _worker in range(rng.integers(1, 4)):
            _add(city, people.person(rng, worker=True, walking=False), c.WORKER, "pedestrian.standing", s + rng.uniform(-length / 2, length / 2), t + rng.uniform(-1.3, 1.3), rng.uniform(0, 6.3))
    for _ in range(rng.integers(2, 6)):  # cones and planks that someone left at the kerb
        side = rng.choice([-1, 1])
        soup, category = (street_furniture.cone(rng), c.CONE) if rng.random() < 0.65 else (street_furniture.barrier(rng, "plank"), c.BARRIER)
        _add(city, soup, category, "", rng.uniform(*near), side * (section.kerb_m + rng.uniform(0.6, 1.5)), rng.uniform(-0.3, 0.3))


def _rare_parked(rng: np.random.Generator, city: City, near: tuple[float, float]) -> None:
    """A bus at its stop, trailers, lorries and motorcycles at the kerb."""
    makers = [
        (vehicles.trailer, c.TRAILER, 0.85),
        (vehicles.bus, c.BUS, 0.6),
        (vehicles.truck, c.TRUCK, 0.7),
        (vehicles.trailer, c.TRAILER, 0.35),
        (vehicles.truck, c.TRUCK, 0.3),
    ]
    for make, category, chance in makers:
        if rng.random() > chance:
            continue
        soup = make(rng)
        length = float((soup.bounds()[1] - soup.bounds()[0])[0])
        for _attempt in range(16):
            side, s = int(rng.choice([-1, 1])), rng.uniform(near[0] - 8, near[1] + 5)
            t = side * (city.section.parking_t() - 0.05)
            if any(city.at_crossing(s + d, 2) for d in (-length / 2, 0, length / 2)):
                continue
            if _add(city, soup, category, "vehicle.stopped" if category == c.BUS else _PARKED, s, t, _heading(t)):
                shelter_t = side * (city.section.kerb_m + 1.9)
                if category == c.BUS and city.free(s, shelter_t, 2.2, 0.9):
                    city.stand(street_furniture.bus_shelter(rng), c.MANMADE, s, shelter_t, 0.0 if side > 0 else np.pi)
                    city.taken.append((s, shelter_t, 2.2, 0.9))
                break
    for _ in range(rng.integers(1, 4)):
        side, s = int(rng.choice([-1, 1])), rng.uniform(*near)
        for k in range(rng.integers(2, 6)):
            x, t = s + 0.95 * k, side * (city.section.kerb_m - 1.0)
            if not city.at_crossing(x, 2):
                _add(city, people.motorcycle(rng, False), c.MOTORCYCLE, "cycle.without_rider", x, t, side * np.pi / 2 + rng.normal(0, 0.1) + 0.3)


def _driving(rng: np.random.Generator, city: City, travel_m: float) -> None:
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
        for _ in range(rng.integers(2, 5)):
            s, t = rng.uniform(-20, travel_m + 35), side * (section.kerb_m - section.parking_m - 0.55)
            soup, category = (people.bicycle(rng, True), c.BICYCLE) if rng.random() < 0.65 else (people.motorcycle(rng, True), c.MOTORCYCLE)
            speed = float(rng.uniform(2.5, 5))
            if not (abs(t - city.ego_t_m) < 1.9 and -8 < s < travel_m + 8):
                _move(city, soup, category, "cycle.with_rider", s, t, -side * speed, speed * travel_m / city.ego_speed)


def _vehicle(rng: np.random.Generator) -> tuple[Soup, int, str]:
    kind = rng.choice(["car", "bus", "truck", "motorcycle", "bicycle"], p=[0.6, 0.11, 0.11, 0.1, 0.08])
    if kind == "car":
        return vehicles.car(rng), c.CAR, _MOVING
    if kind == "bus":
        return vehicles.bus(rng), c.BUS, _MOVING
    if kind == "truck":
        return vehicles.truck(rng), c.TRUCK, _MOVING
    if kind == "motorcycle":
        return people.motorcycle(rng, True), c.MOTORCYCLE, "cycle.with_rider"
    return people.bicycle(rng, True), c.BICYCLE, "cycle.with_rider"


def _move(city: City, soup: Soup, category: int, attribute: str, s: float, t: float, speed: float, run_m: float) -> None:
    """Places a moving actor if its whole way is clear of what stands, and of the ego car's lane."""
    low, high = soup.bounds()
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
        others = [a for a in city.actors if a.moves and abs(a.t_m - t) < 1.3]
        clear = city.free(middle, t, half[0] + run_m / 2, half[1]) and all(abs(a.s_m - s) > half[0] + 7 for a in others)
    if clear:
        yaw = 0.0 if speed > 0 else np.pi
        city.annotate(Actor(soup, category, attribute, float(s), float(t), yaw, city.lift(s, t), speed_s=speed))


def _parked_cars(rng: np.random.Generator, city: City) -> None:
    """Cars in the parking lanes, denser in some streets; a few with a small trailer's worth of gap."""
    for side in (-1, 1):
        fill = rng.uniform(0.35, 0.85)
        s, t = city.s_range[0], side * city.section.parking_t()
        while s < city.s_range[1]:
            if rng.random() < fill and not city.at_crossing(s, 4.5):
                turned = np.pi if rng.random() < 0.06 else 0.0
                _add(city, vehicles.car(rng), c.CAR, _PARKED, s, t + rng.normal(0, 0.08), _heading(t) + turned + rng.normal(0, 0.015))
            s += rng.uniform(5.4, 6.6)
    for cross in city.crossings:  # the cross street has a little traffic, too
        for side in (-1, 1):
            for t in np.arange(city.section.kerb_m + 8, 60, 7):
                if rng.random() < 0.4:
                    _add(city, vehicles.car(rng), c.CAR, _PARKED, cross.s_m + side * (cross.half_m - 1.05), t * rng.choice([-1, 1]), side * np.pi / 2)


def _bicycle_stands(rng: np.random.Generator, city: City, near: tuple[float, float]) -> None:
    """Racks with bicycles, and bicycles leaning about."""
    for _ in range(rng.integers(1, 4)):
        side, s, length = int(rng.choice([-1, 1])), rng.uniform(*near), 0.8 * rng.integers(3, 8)
        t = side * (city.section.kerb_m + 1.25)
        if city.at_crossing(s, 4) or not city.free(s, t, length / 2, 0.8):
            continue
        city.stand(street_furniture.bicycle_rack(length), c.RACK, s, t)
        spots = [x for x in np.arange(s - length / 2 + 0.25, s + length / 2 + 0.4, 0.4) if rng.random() < 0.6]
        for x in spots:
            lift = city.lift(x, t)
            bicycle = people.bicycle(rng, False)
            city.annotate(Actor(bicycle, c.BICYCLE, "cycle.without_rider", float(x), float(t), rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.06), lift))
        city.taken.append((s, t, length / 2 + 0.3, 1.0))


def _lots(rng: np.random.Generator, city: City) -> None:
    """Rows of cars on parking lots; machines and containers on building sites."""
    for side in city.sides:
        start, end = max(side.s_from_m, city.s_range[0]) + 4, min(side.s_to_m, city.s_range[1]) - 4
        zone = side.zones[1][0]
        if side.kind == "lot":
            for row, turn in ((3.2, -1), (13.5, 1)):
                for s in np.arange(start, end, 2.75):
                    if rng.random() < 0.55:
                        _add(city, vehicles.car(rng), c.CAR, _PARKED, s, side.side * (zone + row), turn * np.pi / 2 + rng.normal(0, 0.03))
            if rng.random() < 0.5:
                _add(city, vehicles.trailer(rng), c.TRAILER, _PARKED, (start + end) / 2, side.side * (zone + 8.4))
        elif side.kind == "works":
            for s in np.arange(start, end, rng.uniform(9, 14)):
                t = side.side * (zone + rng.uniform(4, 13))
                if rng.random() < 0.6:
                    _add(city, construction.construction_vehicle(rng), c.CONSTRUCTION, _PARKED, s, t, rng.uniform(0, 6.3))
                elif rng.random() < 0.6:
                    city.stand(street_furniture.skip(rng), c.MANMADE, s, t, rng.uniform(0, 3))
                else:
                    _add(city, vehicles.truck(rng), c.TRUCK, _PARKED, s, t, rng.uniform(0, 6.3))
            kind = str(rng.choice(["plank", "jersey"]))
            for s in np.arange(start, end, 2.2):
                if rng.random() < 0.85:
                    _add(city, street_furniture.barrier(rng, kind), c.BARRIER, "", s, side.side * (zone + 0.6), rng.normal(0, 0.04))


def _walkers(rng: np.random.Generator, city: City, travel_m: float) -> None:
    """People on the sidewalks and on zebra crossings."""
    low, high = -40.0, travel_m + 50.0

    def somebody(walking: bool) -> tuple[Soup, int]:
        child = rng.random() < 0.14
        return people.person(rng, child=child, walking=walking), c.CHILD if child else c.ADULT

    for _ in range(rng.integers(26, 46)):
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
        if _add(city, soup, category, attribute, s, t, yaw, (speed, 0.0)) and walking and rng.random() < 0.08:
            stroller = people.stroller(rng)
            city.annotate(Actor(stroller, c.INDEX["human.pedestrian.stroller"], "", s + np.sign(speed) * 0.85, t, yaw, city.lift(s, t), speed))
    for cross in city.crossings:
        for along in (-1, 1):
            s = cross.s_m + along * (cross.half_m + 2.0)
            for _ in range(rng.integers(1, 4)):
                if not low < s < high:
                    continue
                t, direction = float(rng.uniform(-city.section.kerb_m + 0.5, city.section.kerb_m - 0.5)), float(rng.choice([-1, 1]))
                if -7 < s < travel_m + 9 and abs(t - city.ego_t_m) < 3.0:
                    continue
                soup, category = somebody(True)
                away = np.sign(t - city.ego_t_m) if -7 < s < travel_m + 9 else direction
                _add(city, soup, category, "pedestrian.moving", s + rng.uniform(-1, 1), t, away * np.pi / 2, (0.0, float(away * rng.uniform(0.4, 0.9))))


def _side_at(city: City, s: float, which: int) -> Side | None:
    return next((side for side in city.sides if side.side == which and side.s_from_m <= s < side.s_to_m), None)


def walk_band(side: Side) -> tuple[float, float]:
    """From and to |t| of a side's sidewalk; at most 4.5 m of it is walked on."""
    starts = [start for start, _ in side.zones] + [side.building_t_m]
    i = [name for _, name in side.zones].index("sidewalk")
    return side.zones[i][0], min(starts[i + 1], side.building_t_m, side.zones[i][0] + 4.5)

"""What lines the street: buildings, fences and planting of each side of a block, and the skyline behind."""

import numpy as np

from distill.street import buildings, plants, street_furniture
from distill.street.categories import MANMADE, VEGETATION
from distill.street.city import City
from distill.street.ground import Side
from distill.street.soup import Soup
from distill.street.walkers import walk_band


def fill(rng: np.random.Generator, city: City, side: Side, trees: list[Soup], bushes: list[Soup]) -> None:
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
        middle, setback = (
            s + width / 2,
            line + (rng.uniform(0, 2.0) if detached or side.kind == "offices" else rng.choice([0, 0, 0.8])),
        )
        if detached:
            thing = buildings.house(
                rng, width, rng.uniform(8, 11), int(rng.integers(len(city.facades) // 2)), city.facades, city.facade_rgb
            )
        else:
            high = rng.uniform(14, 38) if side.kind == "offices" else rng.uniform(7.5, 20)
            shops = side.kind == "shops"
            style = int(rng.integers(len(city.facades) // 2)) + (len(city.facades) // 2 if shops else 0)
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
            if choice < 0.5:
                city.stand(plants.hedge(rng, length), VEGETATION, s + length / 2, side.side * edge)
            elif choice < 0.85:
                city.stand(street_furniture.fence(rng, length), MANMADE, s + length / 2, side.side * edge)
            for _ in range(rng.integers(1, 5)):
                plant(s + rng.uniform(0, length), rng.uniform(edge + 0.8, line - 0.5), bushes)
            if rng.random() < 0.45 and line - edge > 3:
                plant(s + rng.uniform(0, length), (edge + line) / 2, trees, 0.5, 0.8)
            s += length + rng.uniform(1.2, 3)
    elif side.kind == "park":
        for _ in range(int((end - start) * 0.4)):
            plant(rng.uniform(start, end), edge + rng.uniform(1, 40), trees, 0.8, 1.35)
        for _ in range(int((end - start) * 0.3)):
            plant(rng.uniform(start, end), edge + rng.uniform(0.5, 25), bushes)
        if rng.random() < 0.7:
            _thicket(rng, city, side, (start, end), edge + rng.uniform(1, 16), trees, bushes)
        if rng.random() < 0.3:
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
    planted = {"shops": 0.65, "houses": 0.85, "offices": 0.75, "park": 0.9, "lot": 0.6, "works": 0.3}[side.kind]
    for s in np.arange(start + 4, end - 3, rng.uniform(6.0, 10)):
        t = city.section.kerb_m + (0.9 if verge else 1.0)
        if rng.random() < planted and not city.at_crossing(s, 5) and city.free(s, side.side * t, 1.0, 0.6):
            plant(s + rng.normal(0, 0.3), t, trees, 0.65, 1.1)
            city.taken.append((s, side.side * t, 0.6, 0.6))
        if (
            rng.random() < (0.5 if verge else 0.15)
            and not city.at_crossing(s + 3, 4)
            and city.free(s + 3, side.side * t, 1.0, 0.7)
        ):
            plant(s + 3, t, bushes, 0.5, 0.8)
            city.taken.append((s + 3, side.side * t, 0.8, 0.6))


def _thicket(
    rng: np.random.Generator, city: City, side: Side, s_range: tuple[float, float], edge_m: float, trees: list[Soup],
    bushes: list[Soup],
) -> None:  # fmt: skip
    """The edge of a wood: shrubs without gaps from |t| = edge_m on, trees behind them."""
    for s in np.arange(s_range[0] + 1, s_range[1] - 1, 1.6):
        for row, (choices, low, high) in enumerate(((bushes, 0.7, 1.6), (bushes, 1.4, 3.0), (trees, 0.8, 1.4))):
            if row < 2 or rng.random() < 0.4:
                plant = choices[rng.integers(len(choices))]
                t = side.side * (edge_m + 1.7 * row + rng.normal(0, 0.5))
                city.stand(plant, VEGETATION, s + rng.normal(0, 0.5), t, rng.uniform(0, 6.3), rng.uniform(low, high))


def _near(city: City, side: Side) -> tuple[float, float]:
    return max(side.s_from_m, city.s_range[0]), min(side.s_to_m, city.s_range[1])


def skyline(rng: np.random.Generator, city: City) -> None:
    """Blocks behind the first row, across the ends of the streets, and trees between them."""
    low, high = city.s_range

    def tower(s: float, t: float, yaw: float, width: float, height: float) -> None:
        style = int(rng.integers(len(city.facades) // 2))
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

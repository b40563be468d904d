"""People and two-wheelers: walkers, workers, children, cyclists, motorcyclists; x forward, origin on the ground."""

import numpy as np

from distill.street.bodywork import DARK, HEADLIGHT, TAIL_LIGHT, TYRE
from distill.street.materials import CAR_PAINT, CLOTH, METAL, PLAIN, RUBBER, SIGN, SKIN
from distill.street.poses import cross
from distill.street.shapes import box, circle, ellipsoid, hoop, loft, tube, vector, wheel
from distill.street.soup import Paint, Soup, join

_SKIN_RGB = ((0.58, 0.36, 0.25), (0.42, 0.24, 0.15), (0.22, 0.12, 0.08), (0.62, 0.42, 0.31))
_SHIRT_RGB = (
    (0.6, 0.6, 0.58), (0.5, 0.05, 0.05), (0.05, 0.12, 0.4), (0.04, 0.04, 0.05), (0.55, 0.4, 0.08), (0.08, 0.3, 0.16),
    (0.35, 0.35, 0.36), (0.5, 0.25, 0.35), (0.1, 0.35, 0.5), (0.25, 0.14, 0.08),
)  # fmt: skip
_TROUSER_RGB = ((0.05, 0.07, 0.16), (0.03, 0.03, 0.035), (0.2, 0.19, 0.18), (0.3, 0.25, 0.18), (0.08, 0.1, 0.12))


def _cloth(rng: np.random.Generator, choices: tuple[tuple[float, float, float], ...]) -> Paint:
    rgb = np.array(choices[rng.integers(len(choices))]) * rng.uniform(0.8, 1.2)
    return Paint(CLOTH, (rgb[0], rgb[1], rgb[2]), float(rng.uniform(0, 50)))


def figure(
    rng: np.random.Generator,
    height_m: float,
    hip: np.ndarray,
    lean_rad: float,
    feet: np.ndarray,
    hands: np.ndarray,
    worker: bool = False,
    helmet: bool = False,
) -> Soup:
    """A clothed body. hip (3,) between the legs; feet and hands (2, 3): right, left; lean is forward of upright."""
    k = height_m / 1.75
    shirt, trousers = _cloth(rng, _SHIRT_RGB), _cloth(rng, _TROUSER_RGB)
    if worker:
        shirt = Paint(SIGN, (0.75, 0.32, 0.02)) if rng.random() < 0.5 else Paint(SIGN, (0.55, 0.7, 0.03))
    rgb = _SKIN_RGB[rng.integers(len(_SKIN_RGB))]
    skin = Paint(SKIN, rgb)
    hair = Paint(CLOTH, ((0.03, 0.02, 0.02), (0.12, 0.07, 0.04), (0.3, 0.2, 0.1), (0.25, 0.25, 0.25))[rng.integers(4)])
    spine = np.array([np.sin(lean_rad), 0, np.cos(lean_rad)])
    across = np.array([0, 1.0, 0])
    forward = cross(across, spine)
    girth = rng.uniform(0.9, 1.2)
    turn = circle(8)
    rings = []
    for up, wide, deep in (
        (-0.05, 0.155, 0.11),
        (0.12, 0.15, 0.11),
        (0.32, 0.175, 0.125),
        (0.46, 0.19, 0.11),
        (0.52, 0.09, 0.07),
    ):
        middle = hip + up * k * spine
        rings.append(middle + k * girth * (turn[:, :1] * wide * across + turn[:, 1:] * deep * forward))
    parts = [loft(np.asarray(rings), shirt)]
    head = hip + k * (0.7 * spine + 0.03 * forward)
    parts.append(tube(np.stack([hip + 0.5 * k * spine, head]), 0.05 * k, skin, 6))
    parts.append(ellipsoid(head, (0.1 * k, 0.08 * k, 0.125 * k), skin))
    cap = Paint(PLAIN, (0.75, 0.6, 0.05)) if worker else Paint(CAR_PAINT, tuple(rng.uniform(0.02, 0.6, 3))) if helmet else hair
    parts.append(ellipsoid(head + k * np.array([-0.02, 0, 0.045]), (0.115 * k, 0.1 * k, 0.1 * k), cap))
    for side, foot, hand in ((-1, feet[0], hands[0]), (1, feet[1], hands[1])):
        joint = hip + k * np.array([0, side * 0.09, 0])
        knee = (joint + foot) / 2 + _bend(joint, foot, 0.86 * k) * np.array([1.0, 0.1 * side, 0.25])
        path = np.stack([joint, knee, foot + vector(0, 0, 0.07)])
        parts.append(tube(path, np.array([0.1, 0.075, 0.055]) * k * girth, trousers, 6))
        parts.append(box((0.26 * k, 0.1 * k, 0.09), (foot[0] + 0.06, foot[1], foot[2] + 0.045), DARK))
        shoulder = hip + k * (0.46 * spine + side * 0.215 * across)
        elbow = (shoulder + hand) / 2 + _bend(shoulder, hand, 0.58 * k) * np.array([-0.7, 0.5 * side, -0.6])
        parts.append(tube(np.stack([shoulder, elbow, hand]), np.array([0.06, 0.05, 0.035]) * k, shirt, 6))
        parts.append(ellipsoid(hand, (0.05 * k, 0.04 * k, 0.06 * k), skin, 3, 6))
    return join(parts)


def _bend(a: np.ndarray, b: np.ndarray, limb_m: float) -> float:
    """How far the middle joint of a limb of that length stands off the line between its ends."""
    return float(np.sqrt(max(0.0, limb_m**2 - np.sum((a - b) ** 2))) / 2)


def person(rng: np.random.Generator, child: bool = False, worker: bool = False, walking: bool = True) -> Soup:
    """Somebody on foot, standing or in mid-step; some carry a bag."""
    height = rng.uniform(1.05, 1.4) if child else rng.uniform(1.55, 1.92)
    k = height / 1.75
    stride = rng.uniform(0.2, 0.36) * k * rng.choice([-1, 1]) if walking else 0.0
    lift = 0.06 * k if walking else 0.0
    feet = np.array([(stride, -0.1 * k, 0.0), (-stride, 0.1 * k, lift)])
    swing = 0.8 * stride
    hands = np.array([(-swing + 0.04, -0.28 * k, 0.82 * k), (swing + 0.04, 0.28 * k, 0.82 * k)])
    if rng.random() < 0.25:  # a phone, a tool, or a gesture
        hands[0] = (0.28 * k, -0.14 * k, rng.uniform(1.0, 1.25) * k)
    hip = np.array([0, 0, 0.9 * k - 0.25 * abs(stride)])
    body = figure(rng, height, hip, rng.uniform(0.0, 0.1), feet, hands, worker=worker)
    if child or worker or rng.random() < 0.6:
        return body
    paint = _cloth(rng, _SHIRT_RGB)
    if rng.random() < 0.5:
        bag = box((0.17 * k, 0.3 * k, 0.42 * k), (-0.2 * k, 0, 1.2 * k), paint)
    else:
        bag = box((0.3, 0.12, 0.34), (hands[1][0], hands[1][1] + 0.04, hands[1][2] - 0.25), paint)
    return join([body, bag])


def bicycle(rng: np.random.Generator, rider: bool) -> Soup:
    """A bicycle, with or without its rider."""
    frame = Paint(CAR_PAINT, tuple(rng.uniform(0.03, 0.6, 3)))
    radius = 0.345
    rear, front = np.array([-0.52, 0, radius]), np.array([0.54, 0, radius])
    crank, saddle, head = np.array([-0.08, 0, 0.28]), np.array([-0.24, 0, 0.9]), np.array([0.36, 0, 0.86])
    parts = [hoop(tuple(c), radius, 0.05, TYRE) for c in (rear, front)]
    spoke = Paint(METAL, (0.4, 0.4, 0.4))
    for centre in (rear, front):
        for angle in np.arange(5) * np.pi / 5:
            d = np.array([np.cos(angle), 0, np.sin(angle)]) * radius * 0.97
            parts.append(tube(np.stack([centre - d, centre + d]), 0.006, spoke, 3, caps=False))
    for a, b in (
        (rear, crank),
        (rear, saddle),
        (crank, saddle),
        (crank, head),
        (saddle - vector(0, 0, 0.1), head),
        (front, head + vector(-0.05, 0, 0.1)),
    ):
        parts.append(tube(np.stack([a, b]), 0.022, frame, 5))
    bar = head + vector(-0.02, 0, 0.16)
    parts.append(tube(np.stack([bar + vector(-0.08, -0.29, 0), bar, bar + vector(-0.08, 0.29, 0)]), 0.016, DARK, 5))
    parts.append(box((0.26, 0.16, 0.06), tuple(saddle + vector(0, 0, 0.05)), DARK))
    if rng.random() < 0.5:
        parts.append(box((0.3, 0.36, 0.24), (-0.55, 0, 0.86), _cloth(rng, _SHIRT_RGB)))
    if rider:
        feet = np.array([(crank[0] + 0.02, -0.12, crank[2] - 0.17), (crank[0] + 0.06, 0.12, crank[2] + 0.13)])
        hands = np.stack([bar + vector(-0.06, -0.25, 0.03), bar + vector(-0.06, 0.25, 0.03)])
        parts.append(
            figure(
                rng,
                rng.uniform(1.6, 1.88),
                saddle + vector(0, 0, 0.12),
                rng.uniform(0.35, 0.75),
                feet,
                hands,
                helmet=rng.random() < 0.6,
            )
        )
    return join(parts)


def motorcycle(rng: np.random.Generator, rider: bool) -> Soup:
    """A motorcycle or scooter, with or without its rider."""
    scooter = rng.random() < 0.4
    paint = Paint(CAR_PAINT, tuple(rng.uniform(0.03, 0.6, 3)))
    steel = Paint(METAL, (0.3, 0.3, 0.31))
    radius, base = (0.26, 1.3) if scooter else (0.32, 1.48)
    rear, front = np.array([-base / 2, 0, radius]), np.array([base / 2, 0, radius])
    parts = [wheel(tuple(c), radius, 0.13, TYRE, 14) for c in (rear, front)]
    parts += [wheel(tuple(c), radius * 0.55, 0.14, steel, 10) for c in (rear, front)]
    bar = np.array([base / 2 - 0.28, 0, 1.02])
    for y in (-0.09, 0.09):
        parts.append(tube(np.stack([front + vector(0, y, 0), bar + vector(0, y, -0.05)]), 0.03, steel, 5))
    parts.append(tube(np.stack([bar + vector(-0.12, -0.36, 0.03), bar, bar + vector(-0.12, 0.36, 0.03)]), 0.02, DARK, 5))
    parts.append(ellipsoid(bar + vector(0.14, 0, -0.16), (0.1, 0.1, 0.1), HEADLIGHT, 3, 8))
    seat_z = 0.78
    if scooter:
        parts += [box((0.75, 0.36, 0.42), (-0.4, 0, 0.52), paint), box((0.5, 0.34, 0.08), (0.12, 0, 0.26), paint)]
        parts.append(box((0.1, 0.4, 0.62), (0.42, 0, 0.56), paint))
    else:
        parts += [box((0.5, 0.3, 0.36), (-0.02, 0, 0.42), steel), ellipsoid((0.14, 0, 0.82), (0.3, 0.17, 0.15), paint, 4, 8)]
        parts.append(tube(np.array([(0.1, -0.17, 0.3), (-0.75, -0.2, 0.36)]), 0.055, steel, 6))
        parts.append(box((0.4, 0.2, 0.12), (-0.62, 0, 0.72), paint))
    parts += [box((0.68, 0.27, 0.1), (-0.34, 0, seat_z), DARK), box((0.05, 0.18, 0.09), (-0.83, 0, 0.72), TAIL_LIGHT)]
    parts.append(box((0.4, 0.16, 0.04), (base / 2, 0, 2 * radius + 0.03), paint))
    if rng.random() < 0.4:
        parts.append(box((0.36, 0.42, 0.34), (-0.78, 0, 0.98), Paint(PLAIN, tuple(rng.uniform(0.05, 0.6, 3)))))
    if rider:
        feet = np.array([(0.05, -0.24, 0.26), (0.05, 0.24, 0.26)])
        hands = np.stack([bar + vector(-0.12, -0.32, 0.06), bar + vector(-0.12, 0.32, 0.06)])
        parts.append(
            figure(
                rng,
                rng.uniform(1.65, 1.88),
                np.array([-0.25, 0, seat_z + 0.12]),
                rng.uniform(0.1, 0.35),
                feet,
                hands,
                helmet=True,
            )
        )
    return join(parts)


def stroller(rng: np.random.Generator) -> Soup:
    """A cart pushed along the sidewalk."""
    parts = [
        box((0.6, 0.4, 0.4), (0, 0, 0.65), _cloth(rng, _SHIRT_RGB)),
        tube(np.array([(-0.3, 0, 0.6), (-0.6, 0, 1.02)]), 0.2, DARK, 4),
    ]
    parts += [wheel((x, y, 0.12), 0.12, 0.05, Paint(RUBBER, (0.03, 0.03, 0.03)), 8) for x in (-0.3, 0.3) for y in (-0.25, 0.25)]
    return join(parts)

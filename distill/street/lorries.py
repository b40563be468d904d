"""Lorries, buses and trailers: origin on the ground under the middle, x forward."""

import numpy as np

from distill.street.bodywork import DARK, HEADLIGHT, RIM, TAIL_LIGHT, WINDOW, paintwork, pane, wheels
from distill.street.materials import CAR_PAINT, LAMP, PLAIN, SIGN
from distill.street.shapes import box, extruded, loft, tube, vector
from distill.street.soup import Paint, Soup, join


def truck(rng: np.random.Generator) -> Soup:
    """A delivery lorry, tipper or flatbed with a cab in front."""
    length, width = rng.uniform(6.5, 9.5), rng.uniform(2.3, 2.5)
    height, front = rng.uniform(2.9, 3.7), length / 2
    paint = paintwork(rng)
    parts = _lorry_cab(front, 1.9, width, min(height, 2.75), 0.55, paint)
    start, end, deck = front - 2.05, -length / 2, 1.05
    middle, span = (start + end) / 2, start - end
    kind = rng.choice(["box", "tipper", "flatbed"], p=[0.65, 0.2, 0.15])
    cargo_rgb = (0.72, 0.72, 0.7) if rng.random() < 0.6 else paintwork(rng).rgb
    cargo = Paint(PLAIN, cargo_rgb)
    if kind == "box":
        parts.append(box((span, width, height - deck), (middle, 0, (height + deck) / 2), cargo))
        stripe = Paint(PLAIN, tuple(rng.uniform(0.02, 0.6, 3)))
        for side in (-1, 1):
            parts.append(
                box((span * 0.7, 0.02, 0.55), (middle, side * (width / 2 + 0.012), deck + (height - deck) * 0.6), stripe)
            )
        parts.append(box((0.03, 0.06, height - deck - 0.2), (end - 0.02, 0, (height + deck) / 2), DARK))
    elif kind == "tipper":
        top, inset = 2.5, 0.35
        rings = [
            [(start, -width / 2, z), (start, width / 2, z), (end + e, width / 2, z), (end + e, -width / 2, z)]
            for z, e in ((deck, inset), (top, 0))
        ]
        parts.append(loft(np.asarray(rings), cargo))
        parts += [
            box((0.1, 0.06, top - deck), (x, s * (width / 2 + 0.03), (top + deck) / 2), cargo)
            for s in (-1, 1)
            for x in np.linspace(end + 0.6, start - 0.3, 4)
        ]
    else:
        parts.append(box((span, width, 0.15), (middle, 0, deck), Paint(PLAIN, (0.25, 0.2, 0.15))))
        for x in np.arange(end + 0.8, start - 0.8, 1.6):
            if rng.random() < 0.7:
                parts.append(
                    box(
                        (1.2, width * 0.8, rng.uniform(0.5, 1.2)),
                        (x, 0, deck + 0.45),
                        Paint(PLAIN, tuple(rng.uniform(0.2, 0.5, 3))),
                    )
                )
    parts.append(box((length * 0.95, 0.9, 0.3), (0, 0, 0.75), DARK))
    parts += [box((0.08, 0.3, 0.15), (end - 0.03, s * (width / 2 - 0.25), 0.85), TAIL_LIGHT) for s in (-1, 1)]
    axles = [(front - 1.0, 0.0), (end + 1.4, 0.0)] + ([(end + 2.6, 0.0)] if length > 8.3 else [])
    return join(parts + wheels(axles, 0.48, width / 2, 0.28))


def _lorry_cab(front: float, depth: float, width: float, height: float, base: float, paint: Paint) -> list[Soup]:
    profile = np.array(
        [
            (front, base),
            (front, base + 0.95),
            (front - 0.22, height - 0.12),
            (front - 0.45, height),
            (front - depth, height),
            (front - depth, base),
        ]
    )
    body = extruded(profile, width / 2, paint)
    w, inside = width / 2, np.array([front - depth / 2, 0, (base + height) / 2])
    screen = np.array(
        [(front, -w, base + 0.95), (front, w, base + 0.95), (front - 0.22, w, height - 0.12), (front - 0.22, -w, height - 0.12)]
    )
    parts = [body, pane(screen, 0.05, 0.95, 0.05, 0.88, WINDOW, inside)]
    for side in (-1, 1):
        door = np.array(
            [
                (front - 0.3, side * w, base + 0.9),
                (front - depth + 0.25, side * w, base + 0.9),
                (front - depth + 0.25, side * w, height - 0.3),
                (front - 0.4, side * w, height - 0.3),
            ]
        )
        parts.append(pane(door, 0, 1, 0.05, 1, WINDOW, inside))
        parts.append(box((0.1, 0.32, 0.2), (front + 0.02, side * (w - 0.3), base + 0.25), HEADLIGHT))
        parts.append(box((0.12, 0.16, 0.5), (front - 0.1, side * (w + 0.16), base + 1.3), DARK))
    parts.append(box((0.06, width * 0.7, 0.5), (front + 0.01, 0, base + 0.55), DARK))
    parts.append(box((0.2, width * 0.98, 0.3), (front - 0.05, 0, base - 0.05), DARK))
    return parts


def bus(rng: np.random.Generator) -> Soup:
    """A city bus with window bands, doors and a lit route sign."""
    length, width, height, base = rng.uniform(9.5, 12.2), 2.52, rng.uniform(2.95, 3.2), 0.36
    paint = Paint(
        CAR_PAINT,
        tuple(
            np.array(((0.55, 0.05, 0.04), (0.05, 0.2, 0.45), (0.65, 0.65, 0.63), (0.7, 0.5, 0.05), (0.1, 0.35, 0.2)))[
                rng.integers(5)
            ]
        ),
    )
    rings = []
    for x, shrink in ((length / 2, 0.1), (length / 2 - 0.14, 0.0), (-length / 2 + 0.08, 0.0), (-length / 2, 0.06)):
        w = width / 2 - shrink
        rings.append(
            [
                (x, w, base),
                (x, w, height - 0.2),
                (x, w - 0.22, height),
                (x, -w + 0.22, height),
                (x, -w, height - 0.2),
                (x, -w, base),
            ]
        )
    parts, inside = [loft(np.asarray(rings), paint)], np.array([0, 0, 1.5])
    front = np.array([(length / 2, -1.15, 0.95), (length / 2, 1.15, 0.95), (length / 2, 1.15, 2.5), (length / 2, -1.15, 2.5)])
    parts.append(pane(front, 0.0, 1, 0.1, 1, WINDOW, inside))
    parts.append(pane(front + vector(0, 0, 1.62), 0.2, 0.8, 0, 0.2, Paint(LAMP, (0.85, 0.45, 0.05), 0.5), inside))
    rear = front * [-1, 1, 1]
    band = Paint(PLAIN, tuple(rng.uniform(0.1, 0.7, 3)))
    parts.append(pane(rear, 0.1, 0.9, 0.45, 0.95, WINDOW, inside))
    for side in (-1, 1):
        y = side * width / 2
        flank = np.array([(-length / 2, y, base), (length / 2, y, base), (length / 2, y, height), (-length / 2, y, height)])
        bays = int(length / 1.55)
        for k in range(bays):
            u0, u1 = (k + 0.06) / bays, (k + 0.94) / bays
            door = side < 0 and k in (bays - 1, bays // 2)
            parts.append(pane(flank, u0, u1, 0.06 if door else 0.36, 0.82, WINDOW, inside))
        parts.append(box((length * 0.97, 0.015, 0.16), (0, y + side * 0.006, 0.95), band))
        parts.append(box((0.1, 0.14, 0.35), (length / 2 + 0.12, side * (width / 2 + 0.05), 2.2), DARK))
        parts.append(box((0.08, 0.34, 0.18), (length / 2 - 0.01, side * 0.9, 0.72), HEADLIGHT))
        parts.append(box((0.05, 0.2, 0.4), (-length / 2, side * 1.05, 1.0), TAIL_LIGHT))
    parts.append(box((length * 0.5, width * 0.6, 0.22), (-length * 0.1, 0, height + 0.1), Paint(PLAIN, (0.5, 0.5, 0.5))))
    parts.append(box((length * 0.9, width * 0.9, 0.1), (0, 0, base), DARK))
    return join(parts + wheels([(length / 2 - 2.6, 0.0), (-length / 2 + 3.0, 0.0)], 0.47, width / 2, 0.28))


def trailer(rng: np.random.Generator) -> Soup:
    """A semi-trailer on its legs, a container chassis, or a small box trailer with a drawbar."""
    if rng.random() < 0.7:
        length, width, top, deck = rng.uniform(8.5, 12.5), 2.5, rng.uniform(3.5, 3.95), 1.2
        rgb = [(0.7, 0.7, 0.68), (0.08, 0.2, 0.42), (0.5, 0.12, 0.06), (0.12, 0.3, 0.2), (0.6, 0.42, 0.1)][rng.integers(5)]
        parts = [box((length, width, top - deck), (0, 0, (top + deck) / 2), Paint(PLAIN, rgb))]
        # Ribs tell a container or a curtain side from a house.
        rib = Paint(PLAIN, tuple(0.82 * np.array(rgb)))
        for x in np.arange(-length / 2 + 0.2, length / 2, 0.6):
            parts += [box((0.12, 0.04, top - deck - 0.1), (x, s * (width / 2 + 0.02), (top + deck) / 2), rib) for s in (-1, 1)]
        parts.append(box((length * 0.95, 0.9, 0.25), (0, 0, deck - 0.15), DARK))
        parts += [box((0.14, 0.14, deck - 0.1), (length / 2 - 2.4, s * 0.8, (deck - 0.1) / 2), DARK) for s in (-1, 1)]
        parts += [box((0.05, 0.35, 0.14), (-length / 2 - 0.03, s * 0.95, deck - 0.1), TAIL_LIGHT) for s in (-1, 1)]
        parts.append(box((0.03, width * 0.9, 0.15), (-length / 2 - 0.03, 0, 0.55), Paint(SIGN, (0.7, 0.1, 0.05))))
        parts += wheels([(-length / 2 + 1.2 + 1.25 * k, 0.0) for k in range(3)], 0.48, width / 2, 0.3)
        return join(parts)
    length, width, top = rng.uniform(2.6, 4.0), 1.8, rng.uniform(1.5, 2.3)
    paint = Paint(PLAIN, tuple(rng.uniform(0.15, 0.65, 3)))
    parts = [box((length, width * 0.86, top - 0.5), (0, 0, (top + 0.5) / 2), paint)]
    parts.append(box((length + 0.05, width * 0.9, 0.08), (0, 0, top), Paint(PLAIN, (0.6, 0.6, 0.6))))
    parts.append(tube(np.array([(length / 2, 0.4, 0.5), (length / 2 + 1.2, 0, 0.45)]), 0.04, RIM, 5))
    parts.append(tube(np.array([(length / 2, -0.4, 0.5), (length / 2 + 1.2, 0, 0.45), (length / 2 + 1.2, 0, 0.0)]), 0.04, RIM, 5))
    parts += [box((0.04, 0.2, 0.12), (-length / 2 - 0.02, s * 0.65, 0.62), TAIL_LIGHT) for s in (-1, 1)]
    return join(parts + wheels([(0.0, 0.06)], 0.33, width / 2, 0.2))

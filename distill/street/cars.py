"""Passenger cars: origin on the ground under the middle, x forward."""

import numpy as np

from distill.street.bodywork import DARK, HEADLIGHT, PLATE, RIM, TAIL_LIGHT, WINDOW, paintwork, pane, wheels
from distill.street.shapes import box, loft, tube, vector
from distill.street.soup import Paint, Soup, join


def car(rng: np.random.Generator, kind: str | None = None) -> Soup:
    """A passenger car: sedan, hatchback, suv, van or pickup."""
    kind = kind or str(rng.choice(["sedan", "hatchback", "suv", "van", "pickup"], p=[0.35, 0.24, 0.25, 0.1, 0.06]))
    length, width, height, hood, belt, bonnet, boot = {
        "sedan": (4.7, 1.82, 1.46, 1.25, 0.95, 0.82, 0.75),
        "hatchback": (4.05, 1.76, 1.5, 0.95, 0.96, 0.86, 0.08),
        "suv": (4.7, 1.9, 1.74, 1.15, 1.1, 1.0, 0.08),
        "van": (5.1, 1.96, 2.05, 0.65, 1.15, 1.0, 0.04),
        "pickup": (5.4, 1.95, 1.82, 1.3, 1.12, 1.05, 1.6),
    }[kind]
    length, height = length * rng.uniform(0.96, 1.05), height * rng.uniform(0.98, 1.03)
    paint, f, r = paintwork(rng), length / 2, -length / 2
    low = 0.2 if kind in ("sedan", "hatchback") else 0.27
    tail = belt if boot < 0.5 else belt * 0.98
    stations = np.array(
        [
            (f, low + 0.14, bonnet - 0.22, 0.78),
            (f - 0.1, low + 0.04, bonnet - 0.1, 0.92),
            (f - 0.45, low, bonnet, 0.99),
            (f - hood, low, belt, 1.0),
            (r + max(boot, 0.3), low, belt, 1.0),
            (r + 0.12, low + 0.05, tail - 0.02, 0.96),
            (r, low + 0.16, tail - 0.14, 0.86),
        ]
    )
    rake = {"sedan": (0.78, 0.6), "hatchback": (0.7, 0.42), "suv": (0.62, 0.3), "van": (0.65, 0.1), "pickup": (0.65, 0.15)}
    parts = [_body(stations, width, paint)]
    parts += _cabin(f - hood, r + boot, belt - 0.02, height, width, rake[kind], paint)
    radius = 0.32 if kind in ("sedan", "hatchback") else 0.37
    parts += wheels([(f - 0.86, 0.0), (r + 0.82, 0.0)], radius, width / 2, 0.2)
    y, z = width / 2 - 0.3, bonnet - 0.2
    for side in (-1, 1):
        parts.append(box((0.16, 0.36, 0.13), (f - 0.13, side * y, z), HEADLIGHT))
        parts.append(box((0.14, 0.2, 0.24), (r + 0.09, side * (width / 2 - 0.2), tail - 0.22), TAIL_LIGHT))
        parts.append(box((0.12, 0.2, 0.13), (f - hood - 0.35, side * (width / 2 + 0.06), belt + 0.07), paint))
    parts.append(box((0.05, 0.8, 0.16), (f - 0.01, 0, z - 0.02), DARK))
    parts.append(box((0.06, width * 0.8, 0.1), (f - 0.02, 0, low + 0.16), DARK))
    parts += [box((0.02, 0.48, 0.11), (x, 0, low + 0.33), PLATE) for x in (f + 0.02, r - 0.02)]
    parts.append(box((length * 0.86, width * 0.86, 0.06), (0, 0, low), DARK))
    if kind == "pickup":
        parts.append(box((boot - 0.25, width * 0.78, 0.03), (r + boot / 2, 0, belt + 0.005), DARK))
    elif kind == "suv" and rng.random() < 0.5:
        parts += [
            tube(np.array([(-1.2, s * 0.55, height + 0.04), (0.6, s * 0.55, height + 0.04)]), 0.025, RIM, 4) for s in (-1, 1)
        ]
    return join(parts)


def _body(stations: np.ndarray, width_m: float, paint: Paint) -> Soup:
    """The lower body through stations (x, bottom, top, share of the width)."""
    rings = []
    for x, bottom, top, share in stations:
        w = width_m / 2 * share
        side = [(w * 0.86, bottom), (w, bottom + 0.14), (w, top - 0.16), (w * 0.97, top - 0.06), (w * 0.88, top)]
        ring = [(x, y, z) for y, z in side] + [(x, -y, z) for y, z in reversed(side)]
        rings.append(ring)
    return loft(np.asarray(rings), paint)


def _cabin(
    front: float, rear: float, belt: float, roof: float, width: float, rake: tuple[float, float], paint: Paint
) -> list[Soup]:
    """The glass house between x = front and x = rear at the belt line; `rake` shortens the roof at both ends."""
    w0, w1 = width / 2 * 0.93, width / 2 * 0.74
    low = np.array([(front, -w0, belt), (front, w0, belt), (rear, w0, belt), (rear, -w0, belt)])
    edge = np.array([(front - rake[0], -w1, roof - 0.06), (front - rake[0], w1, roof - 0.06)])
    edge = np.concatenate([edge, [(rear + rake[1], w1, roof - 0.06), (rear + rake[1], -w1, roof - 0.06)]])
    top = edge * [0.93, 0.86, 1] + [(edge[0, 0] + edge[2, 0]) * 0.035, 0, 0.06]
    inside = low.mean(axis=0) + vector(0, 0, 0.2)
    parts = [loft(np.stack([low, edge, top]), paint)]
    parts.append(pane(np.stack([low[0], low[1], edge[1], edge[0]]), 0.05, 0.95, 0.06, 0.93, WINDOW, inside))
    parts.append(pane(np.stack([low[2], low[3], edge[3], edge[2]]), 0.07, 0.93, 0.15, 0.9, WINDOW, inside))
    for a, b in ((1, 2), (0, 3)):
        face = np.stack([low[a], low[b], edge[b], edge[a]])
        panes = [(0.08, 0.44), (0.49, 0.9)] if front - rear < 3.2 else [(0.07, 0.33), (0.37, 0.64), (0.68, 0.94)]
        parts += [pane(face, u0, u1, 0.1, 0.92, WINDOW, inside) for u0, u1 in panes]
    return parts

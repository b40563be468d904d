"""Cars, trucks, buses, trailers: origin on the ground under the middle, x forward."""

import numpy as np

from distill.street.materials import CAR_PAINT, GLASS, LAMP, METAL, PLAIN, RUBBER, SIGN
from distill.street.shapes import box, extruded, loft, quads, tube, wheel
from distill.street.soup import Paint, Soup, join

TYRE = Paint(RUBBER, (0.025, 0.025, 0.027))
RIM = Paint(METAL, (0.45, 0.46, 0.48))
DARK = Paint(PLAIN, (0.03, 0.03, 0.033))
WINDOW = Paint(GLASS, (0.025, 0.03, 0.035))
HEADLIGHT = Paint(GLASS, (0.75, 0.77, 0.8))
TAIL_LIGHT = Paint(LAMP, (0.55, 0.02, 0.02), 0.25)
PLATE = Paint(SIGN, (0.75, 0.75, 0.7))

_CAR_RGB = (
    (0.75, 0.75, 0.75), (0.62, 0.63, 0.65), (0.3, 0.31, 0.33), (0.04, 0.04, 0.045), (0.02, 0.02, 0.025), (0.1, 0.105, 0.12),
    (0.45, 0.03, 0.03), (0.05, 0.1, 0.32), (0.03, 0.05, 0.14), (0.12, 0.2, 0.16), (0.35, 0.28, 0.18), (0.6, 0.5, 0.05),
    (0.5, 0.18, 0.03), (0.2, 0.3, 0.42), (0.8, 0.8, 0.78),
)  # fmt: skip


def paintwork(rng: np.random.Generator) -> Paint:
    """A car colour, slightly its own."""
    rgb = np.array(_CAR_RGB[rng.integers(len(_CAR_RGB))]) * rng.uniform(0.85, 1.1)
    return Paint(CAR_PAINT, (rgb[0], rgb[1], rgb[2]))


def pane(face: np.ndarray, u0: float, u1: float, v0: float, v1: float, paint: Paint, inside: np.ndarray) -> Soup:
    """Part of a quad face (4, 3), from u0 to u1 along its first edge and v0 to v1 up, lifted 1.5 cm away from `inside`."""
    a, b, c, d = face

    def at(u: float, v: float) -> np.ndarray:
        return np.asarray((1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * c))

    normal = np.cross(b - a, d - a)
    normal = normal / (np.linalg.norm(normal) + 1e-9)
    if normal @ (a - inside) < 0:
        normal = -normal
    return quads(np.stack([at(u0, v0), at(u1, v0), at(u1, v1), at(u0, v1)]) + 0.015 * normal, paint)


def _wheels(positions: list[tuple[float, float]], radius_m: float, half_width_m: float, tyre_m: float) -> list[Soup]:
    """Wheels at the x of each axle (both sides), with dark arches in the body side and bright hubs."""
    parts = []
    for x, outward in positions:
        for side in (-1, 1):
            y = side * (half_width_m - tyre_m / 2 + outward)
            parts.append(wheel((x, y, radius_m), radius_m, tyre_m, TYRE, 14))
            parts.append(wheel((x, y + side * 0.012, radius_m), radius_m * 0.6, tyre_m, RIM, 10))
            parts.append(wheel((x, side * (half_width_m - 0.06), radius_m * 1.05), radius_m * 1.2, 0.13, DARK, 14))
    return parts


def _body(stations: np.ndarray, width_m: float, paint: Paint) -> Soup:
    """The lower body through stations (x, bottom, top, share of the width)."""
    rings = []
    for x, bottom, top, share in stations:
        w = width_m / 2 * share
        side = [(w * 0.86, bottom), (w, bottom + 0.14), (w, top - 0.16), (w * 0.97, top - 0.06), (w * 0.88, top)]
        ring = [(x, y, z) for y, z in side] + [(x, -y, z) for y, z in reversed(side)]
        rings.append(ring)
    return loft(np.asarray(rings), paint)


def _cabin(front: float, rear: float, belt: float, roof: float, width: float, rake: tuple[float, float], paint: Paint) -> list[Soup]:
    """The glass house between x = front and x = rear at the belt line; `rake` shortens the roof at both ends."""
    w0, w1 = width / 2 * 0.93, width / 2 * 0.74
    low = np.array([(front, -w0, belt), (front, w0, belt), (rear, w0, belt), (rear, -w0, belt)])
    edge = np.array([(front - rake[0], -w1, roof - 0.06), (front - rake[0], w1, roof - 0.06)])
    edge = np.concatenate([edge, [(rear + rake[1], w1, roof - 0.06), (rear + rake[1], -w1, roof - 0.06)]])
    top = edge * [0.93, 0.86, 1] + [(edge[0, 0] + edge[2, 0]) * 0.035, 0, 0.06]
    inside = low.mean(axis=0) + [0, 0, 0.2]
    parts = [loft(np.stack([low, edge, top]), paint)]
    parts.append(pane(np.stack([low[0], low[1], edge[1], edge[0]]), 0.05, 0.95, 0.06, 0.93, WINDOW, inside))
    parts.append(pane(np.stack([low[2], low[3], edge[3], edge[2]]), 0.07, 0.93, 0.15, 0.9, WINDOW, inside))
    for a, b in ((1, 2), (0, 3)):
        face = np.stack([low[a], low[b], edge[b], edge[a]])
        panes = [(0.08, 0.44), (0.49, 0.9)] if front - rear < 3.2 else [(0.07, 0.33), (0.37, 0.64), (0.68, 0.94)]
        parts += [pane(face, u0, u1, 0.1, 0.92, WINDOW, inside) for u0, u1 in panes]
    return parts


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
    parts += _wheels([(f - 0.86, 0.0), (r + 0.82, 0.0)], radius, width / 2, 0.2)
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
        parts += [tube(np.array([(-1.2, s * 0.55, height + 0.04), (0.6, s * 0.55, height + 0.04)]), 0.025, RIM, 4) for s in (-1, 1)]
    return join(parts)


def _lorry_cab(front: float, depth: float, width: float, height: float, base: float, paint: Paint) -> list[Soup]:
    profile = np.array(
        [(front, base), (front, base + 0.95), (front - 0.22, height - 0.12), (front - 0.45, height), (front - depth, height), (front - depth, base)]
    )
    body = extruded(profile, width / 2, paint)
    w, inside = width / 2, np.array([front - depth / 2, 0, (base + height) / 2])
    screen = np.array([(front, -w, base + 0.95), (front, w, base + 0.95), (front - 0.22, w, height - 0.12), (front - 0.22, -w, height - 0.12)])
    parts = [body, pane(screen, 0.05, 0.95, 0.05, 0.88, WINDOW, inside)]
    for side in (-1, 1):
        door = np.array([(front - 0.3, side * w, base + 0.9), (front - depth + 0.25, side * w, base + 0.9), (front - depth + 0.25, side * w, height - 0.3), (front - 0.4, side * w, height - 0.3)])
        parts.append(pane(door, 0, 1, 0.05, 1, WINDOW, inside))
        parts.append(box((0.1, 0.32, 0.2), (front + 0.02, side * (w - 0.3), base + 0.25), HEADLIGHT))
        parts.append(box((0.12, 0.16, 0.5), (front - 0.1, side * (w + 0.16), base + 1.3), DARK))
    parts.append(box((0.06, width * 0.7, 0.5), (front + 0.01, 0, base + 0.55), DARK))
    parts.append(box((0.2, width * 0.98, 0.3), (front - 0.05, 0, base - 0.05), DARK))
    return parts


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
            parts.append(box((span * 0.7, 0.02, 0.55), (middle, side * (width / 2 + 0.012), deck + (height - deck) * 0.6), stripe))
        parts.append(box((0.03, 0.06, height - deck - 0.2), (end - 0.02, 0, (height + deck) / 2), DARK))
    elif kind == "tipper":
        top, inset = 2.5, 0.35
        rings = [[(start, -width / 2, z), (start, width / 2, z), (end + e, width / 2, z), (end + e, -width / 2, z)] for z, e in ((deck, inset), (top, 0))]
        parts.append(loft(np.asarray(rings), cargo))
        parts += [box((0.1, 0.06, top - deck), (x, s * (width / 2 + 0.03), (top + deck) / 2), cargo) for s in (-1, 1) for x in np.linspace(end + 0.6, start - 0.3, 4)]
    else:
        parts.append(box((span, width, 0.15), (middle, 0, deck), Paint(PLAIN, (0.25, 0.2, 0.15))))
        for x in np.arange(end + 0.8, start - 0.8, 1.6):
            if rng.random() < 0.7:
                parts.append(box((1.2, width * 0.8, rng.uniform(0.5, 1.2)), (x, 0, deck + 0.45), Paint(PLAIN, tuple(rng.uniform(0.2, 0.5, 3)))))
    parts.append(box((length * 0.95, 0.9, 0.3), (0, 0, 0.75), DARK))
    parts += [box((0.08, 0.3, 0.15), (end - 0.03, s * (width / 2 - 0.25), 0.85), TAIL_LIGHT) for s in (-1, 1)]
    axles = [(front - 1.0, 0.0), (end + 1.4, 0.0)] + ([(end + 2.6, 0.0)] if length > 8.3 else [])
    return join(parts + _wheels(axles, 0.48, width / 2, 0.28))


def bus(rng: np.random.Generator) -> Soup:
    """A city bus with window bands, doors and a lit route sign."""
    length, width, height, base = rng.uniform(9.5, 12.2), 2.52, rng.uniform(2.95, 3.2), 0.36
    paint = Paint(CAR_PAINT, tuple(np.array(((0.55, 0.05, 0.04), (0.05, 0.2, 0.45), (0.65, 0.65, 0.63), (0.7, 0.5, 0.05), (0.1, 0.35, 0.2)))[rng.integers(5)]))
    rings = []
    for x, shrink in ((length / 2, 0.1), (length / 2 - 0.14, 0.0), (-length / 2 + 0.08, 0.0), (-length / 2, 0.06)):
        w = width / 2 - shrink
        rings.append([(x, w, base), (x, w, height - 0.2), (x, w - 0.22, height), (x, -w + 0.22, height), (x, -w, height - 0.2), (x, -w, base)])
    parts, inside = [loft(np.asarray(rings), paint)], np.array([0, 0, 1.5])
    front = np.array([(length / 2, -1.15, 0.95), (length / 2, 1.15, 0.95), (length / 2, 1.15, 2.5), (length / 2, -1.15, 2.5)])
    parts.append(pane(front, 0.0, 1, 0.1, 1, WINDOW, inside))
    parts.append(pane(front + [0, 0, 1.62], 0.2, 0.8, 0, 0.2, Paint(LAMP, (0.85, 0.45, 0.05), 0.5), inside))
    rear = front * [-1, 1, 1]
    parts.append(pane(rear, 0.1, 0.9, 0.45, 0.95, WINDOW, inside))
    for side in (-1, 1):
        y = side * width / 2
        flank = np.array([(-length / 2, y, base), (length / 2, y, base), (length / 2, y, height), (-length / 2, y, height)])
        bays = int(length / 1.55)
        for k in range(bays):
            u0, u1 = (k + 0.06) / bays, (k + 0.94) / bays
            door = side < 0 and k in (bays - 1, bays // 2)
            parts.append(pane(flank, u0, u1, 0.06 if door else 0.36, 0.82, WINDOW, inside))
        band = Paint(PLAIN, tuple(rng.uniform(0.1, 0.7, 3))) if side < 0 else band
        parts.append(box((length * 0.97, 0.015, 0.16), (0, y + side * 0.006, 0.95), band))
        parts.append(box((0.1, 0.14, 0.35), (length / 2 + 0.12, side * (width / 2 + 0.05), 2.2), DARK))
        parts.append(box((0.08, 0.34, 0.18), (length / 2 - 0.01, side * 0.9, 0.72), HEADLIGHT))
        parts.append(box((0.05, 0.2, 0.4), (-length / 2, side * 1.05, 1.0), TAIL_LIGHT))
    parts.append(box((length * 0.5, width * 0.6, 0.22), (-length * 0.1, 0, height + 0.1), Paint(PLAIN, (0.5, 0.5, 0.5))))
    parts.append(box((length * 0.9, width * 0.9, 0.1), (0, 0, base), DARK))
    return join(parts + _wheels([(length / 2 - 2.6, 0.0), (-length / 2 + 3.0, 0.0)], 0.47, width / 2, 0.28))


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
        parts += _wheels([(-length / 2 + 1.2 + 1.25 * k, 0.0) for k in range(3)], 0.48, width / 2, 0.3)
        return join(parts)
    length, width, top = rng.uniform(2.6, 4.0), 1.8, rng.uniform(1.5, 2.3)
    paint = Paint(PLAIN, tuple(rng.uniform(0.15, 0.65, 3)))
    parts = [box((length, width * 0.86, top - 0.5), (0, 0, (top + 0.5) / 2), paint)]
    parts.append(box((length + 0.05, width * 0.9, 0.08), (0, 0, top), Paint(PLAIN, (0.6, 0.6, 0.6))))
    parts.append(tube(np.array([(length / 2, 0.4, 0.5), (length / 2 + 1.2, 0, 0.45)]), 0.04, RIM, 5))
    parts.append(tube(np.array([(length / 2, -0.4, 0.5), (length / 2 + 1.2, 0, 0.45), (length / 2 + 1.2, 0, 0.0)]), 0.04, RIM, 5))
    parts += [box((0.04, 0.2, 0.12), (-length / 2 - 0.02, s * 0.65, 0.62), TAIL_LIGHT) for s in (-1, 1)]
    return join(parts + _wheels([(0.0, 0.06)], 0.33, width / 2, 0.2))

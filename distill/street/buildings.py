"""Buildings: street fronts with bays, cornices, balconies and shops, gabled houses, distant blocks. Fronts face -y."""

import numpy as np

from distill.street.materials import CONCRETE, FACADE, GLASS, PLAIN, ROOF
from distill.street.shapes import box, loft, quads
from distill.street.soup import Paint, Soup, join

_WALL_RGB = (
    (0.5, 0.46, 0.4), (0.6, 0.56, 0.48), (0.35, 0.16, 0.1), (0.42, 0.22, 0.14), (0.3, 0.3, 0.31), (0.6, 0.45, 0.28),
    (0.45, 0.5, 0.52), (0.62, 0.6, 0.57), (0.28, 0.14, 0.1), (0.52, 0.36, 0.3), (0.36, 0.4, 0.34), (0.55, 0.52, 0.36),
)  # fmt: skip


def random_facades(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A table of facade styles (count, 12) (columns: see `materials`) and their wall colours (count, 3)."""
    table, rgb = np.zeros((count, 12)), np.zeros((count, 3))
    for k in range(count):
        pattern = int(rng.choice([0, 1, 2, 3], p=[0.4, 0.33, 0.17, 0.1]))
        floor, bay = rng.uniform(2.9, 3.6), rng.uniform(1.7, 3.3)
        wide = bay * (rng.uniform(0.86, 0.93) if pattern == 3 else rng.uniform(0.42, 0.68))
        high = floor * (rng.uniform(0.8, 0.88) if pattern == 3 else rng.uniform(0.45, 0.62))
        brick = [2, 3, 8, 9]
        plain = [0, 1, 4, 5, 6, 7, 10, 11]
        base = _WALL_RGB[rng.choice(brick if pattern == 1 else plain)]
        trim = rng.uniform(0.12, 0.6) * np.array([1, 0.97, 0.92])
        frame = rng.choice([0.7, 0.06, 0.25])
        table[k] = [floor, bay, wide, high, rng.uniform(0.55, 0.95), pattern, 0, frame, rng.integers(1, 400), *trim]
        rgb[k] = np.array(base) * rng.uniform(0.8, 1.15) * rng.uniform(0.96, 1.04, 3)
    table[count // 2 :, 6] = 1  # the second half of the styles have shops at street level
    return table, rgb


def block(
    rng: np.random.Generator, width_m: float, depth_m: float, height_m: float, style: int, table: np.ndarray, rgb: np.ndarray
) -> Soup:
    """A flat-roofed building; x along the street, its front at y = 0, the body behind (+y)."""
    wall, row = Paint(FACADE, tuple(rgb[style]), float(style)), table[style]
    trim = Paint(CONCRETE, tuple(row[9:12]))
    w, sill = width_m / 2, -0.6
    # The foot reaches below ground, where the ground is uneven; v = 0 stays at ground level.
    outline = np.array([(-w, 0), (w, 0), (w, depth_m), (-w, depth_m)])
    length = np.linalg.norm(np.roll(outline, -1, axis=0) - outline, axis=1)
    corners, uv = [], []
    for k in range(4):
        (x0, y0), (x1, y1) = outline[k], outline[(k + 1) % 4]
        corners.append([(x0, y0, sill), (x1, y1, sill), (x1, y1, height_m), (x0, y0, height_m)])
        uv.append([(0, sill), (length[k], sill), (length[k], height_m), (0, height_m)])
    parts = [quads(np.asarray(corners), wall, np.asarray(uv))]
    parts.append(quads(np.array([[(*p, height_m) for p in outline]]), Paint(CONCRETE, (0.3, 0.3, 0.3))))
    parts.append(box((width_m + 0.5, 0.35, 0.45), (0, -0.1, height_m - 0.1), trim))
    parts.append(box((width_m + 0.3, depth_m + 0.3, 0.5), (0, depth_m / 2, height_m + 0.1), trim))
    shop = 3.6 if row[6] > 0 else 0.0
    if shop:
        parts.append(box((width_m, 0.3, 0.18), (0, -0.12, shop - 0.05), trim))
        for x in np.arange(-w + 2.5, w - 2, rng.uniform(5, 7)):
            if rng.random() < 0.6:  # an awning
                stripe = Paint(PLAIN, tuple(rng.uniform(0.08, 0.6, 3)))
                parts.append(
                    quads(
                        np.array([[(x - 2, -0.05, 2.95), (x + 2, -0.05, 2.95), (x + 2, -1.3, 2.45), (x - 2, -1.3, 2.45)]]), stripe
                    )
                )
                parts.append(
                    quads(
                        np.array([[(x - 2, -1.3, 2.25), (x + 2, -1.3, 2.25), (x + 2, -1.3, 2.45), (x - 2, -1.3, 2.45)]]), stripe
                    )
                )
    elif rng.random() < 0.8:  # an entrance
        x = rng.uniform(-w * 0.6, w * 0.6)
        parts += [
            box((1.5, 0.2, 2.5), (x, -0.05, 1.25), trim),
            box((1.1, 0.3, 2.2), (x, -0.05, 1.1), Paint(PLAIN, tuple(rng.uniform(0.03, 0.3, 3)))),
        ]
        parts += [
            box((2.0, 1.1, 0.15), (x, -0.5, 2.7), trim),
            box((1.8, 0.7, 0.2), (x, -0.35, 0.05), Paint(CONCRETE, (0.4, 0.4, 0.4))),
        ]
    if rng.random() < 0.45:  # balconies on some bays
        floors = int((height_m - shop) / row[0])
        for column in np.arange(-w + row[1] * 1.5, w - row[1], row[1] * rng.integers(2, 4)):
            for level in range(1, min(floors, 7)):
                z = shop + level * row[0]
                parts.append(box((row[1] * 0.95, 1.1, 0.12), (column, -0.55, z), trim))
                parts.append(
                    box(
                        (row[1] * 0.95, 0.05, 0.9),
                        (column, -1.08, z + 0.5),
                        Paint(GLASS, (0.12, 0.13, 0.14)) if row[5] > 1 else trim,
                    )
                )
    elif rng.random() < 0.4 and width_m > 8:  # pillars between bays
        parts += [
            box((0.4, 0.25, height_m - shop), (x, -0.1, (height_m + shop) / 2), trim) for x in np.arange(-w + 0.2, w, row[1] * 2)
        ]
    return join(parts)


def house(rng: np.random.Generator, width_m: float, depth_m: float, style: int, table: np.ndarray, rgb: np.ndarray) -> Soup:
    """A house of one to three storeys with a pitched roof, a porch or a bay; its front at y = 0."""
    storeys = int(rng.integers(1, 4))
    height, w = table[style][0] * storeys + 0.4, width_m / 2
    wall = Paint(FACADE, tuple(rgb[style]), float(style))
    ridge, eave = height + rng.uniform(1.8, 3.4), 0.45
    outline = np.array([(-w, 0), (w, 0), (w, depth_m), (-w, depth_m)])
    length = np.linalg.norm(np.roll(outline, -1, axis=0) - outline, axis=1)
    corners = [
        [(*outline[k], -0.6), (*outline[(k + 1) % 4], -0.6), (*outline[(k + 1) % 4], height), (*outline[k], height)]
        for k in range(4)
    ]
    uv = [[(0, -0.6), (length[k], -0.6), (length[k], height), (0, height)] for k in range(4)]
    parts = [quads(np.asarray(corners), wall, np.asarray(uv))]
    tiles = Paint(ROOF, ((0.3, 0.1, 0.06), (0.12, 0.12, 0.13), (0.2, 0.13, 0.1))[rng.integers(3)])
    gable = Paint(PLAIN, tuple(0.9 * rgb[style]))
    low = height - 0.15
    if rng.random() < 0.5:  # the ridge along the street
        y0, y1, m = -eave, depth_m + eave, depth_m / 2
        slopes = [
            [(-w - eave, y0, low), (w + eave, y0, low), (w + eave, m, ridge), (-w - eave, m, ridge)],
            [(w + eave, y1, low), (-w - eave, y1, low), (-w - eave, m, ridge), (w + eave, m, ridge)],
        ]
        ends = [[(x, 0, height), (x, depth_m, height), (x, m, ridge - 0.15), (x, m, ridge - 0.15)] for x in (-w, w)]
    else:  # the gable towards the street
        y0, y1 = -eave, depth_m + eave
        slopes = [
            [(-w - eave, y1, low), (-w - eave, y0, low), (0, y0, ridge), (0, y1, ridge)],
            [(w + eave, y0, low), (w + eave, y1, low), (0, y1, ridge), (0, y0, ridge)],
        ]
        ends = [[(-w, y, height), (w, y, height), (0, y, ridge - 0.15), (0, y, ridge - 0.15)] for y in (0, depth_m)]
    parts += [quads(np.asarray(slopes), tiles), quads(np.asarray(ends), gable)]
    x = rng.uniform(-w * 0.5, w * 0.5)
    white = Paint(PLAIN, (0.65, 0.64, 0.62))
    parts.append(box((1.0, 0.12, 2.1), (x, -0.02, 1.15), Paint(PLAIN, tuple(rng.uniform(0.03, 0.35, 3)))))
    parts.append(box((2.4, 1.6, 0.3), (x, -0.8, 0.1), Paint(CONCRETE, (0.4, 0.4, 0.4))))
    if rng.random() < 0.7:
        parts += [
            box((2.6, 1.8, 0.15), (x, -0.85, 2.7), white),
            *[box((0.14, 0.14, 2.5), (x + d, -1.6, 1.4), white) for d in (-1.1, 1.1)],
        ]
    parts.append(box((0.6, 0.6, 1.6), (w * 0.5, depth_m * 0.4, ridge - 0.2), Paint(PLAIN, (0.3, 0.14, 0.1))))
    return join(parts)


def tower(width_m: float, depth_m: float, height_m: float, style: int, rgb: np.ndarray) -> Soup:
    """A bare distant block, the front at y = 0: skyline only."""
    w = width_m / 2
    ring = np.array([(-w, 0), (w, 0), (w, depth_m), (-w, depth_m)])
    rings = np.stack([np.insert(ring, 2, z, axis=1) for z in (-3.0, height_m)])
    return loft(rings, Paint(FACADE, tuple(rgb[style]), float(style)))

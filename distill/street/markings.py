"""What is painted on the road: lane lines, zebra crossings, stop lines; patches and manhole covers besides."""

import numpy as np

from distill.street import materials as m
from distill.street.ground import CrossStreet, Section


def road_marks(
    rng: np.random.Generator, section: Section, crossings: list[CrossStreet], s_range: tuple[float, float]
) -> np.ndarray:
    """The table of markings (M, 5): s from, s to, t from, t to, kind (see `materials`)."""
    marks: list[tuple[float, float, float, float, int]] = []
    # Patches and covers come last in the table, so paint lies over them.
    stops = sorted(c.s_m for c in crossings)
    gaps = {c.s_m: c.half_m + c.walk_m + 1.0 for c in crossings}
    edges = [s_range[0] - 250, *[e for s in stops for e in (s - gaps[s], s + gaps[s])], s_range[1] + 250]
    yellow = rng.random() < 0.5
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if section.island_half_m:
            marks += [
                (
                    start,
                    end,
                    sign * (section.island_half_m + 0.22) - 0.06,
                    sign * (section.island_half_m + 0.22) + 0.06,
                    m.YELLOW if yellow else m.SOLID,
                )
                for sign in (-1, 1)
            ]
        elif yellow:
            marks += [(start, end, -0.2, -0.08, m.YELLOW), (start, end, 0.08, 0.2, m.YELLOW)]
        else:
            marks.append((start, end, -0.07, 0.07, m.DASHED if section.lanes == 1 else m.SOLID))
        for lane in range(1, section.lanes):
            t = section.island_half_m + lane * section.lane_m
            marks += [(start, end, sign * t - 0.07, sign * t + 0.07, m.DASHED) for sign in (-1, 1)]
        if section.parking_m:
            t = section.kerb_m - section.parking_m
            marks += [(start, end, sign * t - 0.05, sign * t + 0.05, m.SOLID) for sign in (-1, 1)]
    for cross in crossings:
        near, far = cross.half_m + 0.6, cross.half_m + 0.6 + 2.8
        k = section.kerb_m - 0.3
        for sign in (-1, 1):
            low, high = sorted((cross.s_m + sign * near, cross.s_m + sign * far))
            marks.append((low, high, -k, k, m.ZEBRA))
            stop_low, stop_high = sorted((cross.s_m + sign * (far + 1.0), cross.s_m + sign * (far + 1.4)))
            t_low, t_high = (-k, -0.2) if sign < 0 else (0.2, k)
            marks.append((stop_low, stop_high, t_low, t_high, m.SOLID))
            t0, t1 = sorted((sign * (section.kerb_m + 0.6), sign * (section.kerb_m + 3.2)))
            marks.append((cross.s_m - cross.half_m + 0.3, cross.s_m + cross.half_m - 0.3, t0, t1, m.ZEBRA_ACROSS))
            t0, t1 = sorted((sign * (section.kerb_m + 5), sign * 300.0))
            marks.append((cross.s_m - 0.07, cross.s_m + 0.07, t0, t1, m.DASHED_ACROSS))
    for _ in range(10):
        s, t = rng.uniform(*s_range), rng.uniform(-section.kerb_m, section.kerb_m)
        marks.append((s, s + rng.uniform(1.5, 12), t - rng.uniform(0.3, 0.9), t + rng.uniform(0.3, 0.9), m.PATCH))
    for _ in range(8):
        s, t = rng.uniform(*s_range), rng.uniform(-section.kerb_m + 1, section.kerb_m - 1)
        marks.append((s - 0.35, s + 0.35, t - 0.35, t + 0.35, m.MANHOLE))
    return np.asarray(marks, np.float64)

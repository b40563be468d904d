"""The clouds of the soak: each follows from a seed and its number, so that who checks an answer can make it again.

Most are valid, of many layouts; some hold NaN only, no points, or 300,000; some are malformed, each in one way, which the node
must name.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relidar.pointcloud2 import DATATYPES, CloudField, CloudLayout

KINDS = {"valid": 0.70, "not_finite": 0.08, "empty": 0.05, "huge": 0.01, "malformed": 0.16}
"""Kind -> share of the clouds."""
CAUSES = ("data_length", "missing_field", "datatype", "count", "row_step", "duplicate_field", "field_outside_point")
"""What can be wrong with a message; its sizes have no sign, so they are never negative."""
HUGE_POINTS = 300_000
FIRST = 400
"""So many clouds bring huge ones in bursts besides, so that memory reaches its highest while the node warms up."""
EXTRA_FIELDS = (("ring", 4, 1), ("t", 6, 1), ("rgb", 7, 1), ("normals", 7, 3), ("label", 2, 1), ("return_type", 1, 1))
"""Name, datatype and count; a field `label` of the input gives way to that of the answer."""


@dataclass(frozen=True)
class SoakCloud:
    """One cloud and what it is."""

    number: int
    kind: str
    cause: str
    """One of CAUSES for a malformed cloud, else empty."""
    layout: CloudLayout
    data: bytes


def make_cloud(seed: int, number: int) -> SoakCloud:
    """The cloud of that number."""
    random = np.random.default_rng((seed, number))
    kind = str(random.choice(list(KINDS), p=list(KINDS.values())))
    if number < FIRST and number % 40 < 3:
        kind = "huge"
    if kind == "empty":
        fields = (*(CloudField(name, 4 * i, 7) for i, name in enumerate("xyz")),) if random.random() < 0.5 else ()
        return SoakCloud(number, kind, "", CloudLayout(int(random.integers(0, 2)), 0, fields, 12, 0), b"")
    points = HUGE_POINTS if kind == "huge" else int(random.integers(1, 1500))
    layout = _layout(random, points, plain=kind == "huge")
    data = _fill(random, layout, kind)
    if kind == "malformed":
        cause = str(random.choice(CAUSES))
        return SoakCloud(number, kind, cause, *_spoil(random, layout, data, cause))
    return SoakCloud(number, kind, "", layout, data)


def _layout(random: np.random.Generator, points: int, plain: bool) -> CloudLayout:
    described = [(axis, 7 if plain or random.random() < 0.75 else 8, 1) for axis in "xyz"]
    if random.random() < 0.85:
        described.append(("intensity", 7 if plain else int(random.choice([2, 4, 7, 8])), 1))
    if not plain:
        described += [extra for extra in EXTRA_FIELDS if random.random() < 0.3]
        described = [described[index] for index in random.permutation(len(described))]
    fields, step = [], 0
    for name, datatype, count in described:
        step += 0 if plain else int(random.choice([0, 0, 0, 1, 4]))
        fields.append(CloudField(name, step, datatype, count if count > 1 else int(random.integers(0, 2))))
        step += DATATYPES[datatype].itemsize * count
    step += 0 if plain else int(random.choice([0, 0, 2, 5]))
    height = 1 if plain else int(random.choice([1, 1, 1, 4, 16]))
    width = max(1, points // height)
    padding = int(random.choice([0, 0, 7])) if height > 1 else 0
    # Half of the fields' counts above are 0, which drivers write and which means 1.
    return CloudLayout(height, width, tuple(fields), step, step * width + padding, bool(random.random() < 0.25))


def _fill(random: np.random.Generator, layout: CloudLayout, kind: str) -> bytes:
    """A street of ground, walls and clutter; whatever is not x, y, z or intensity holds random bytes."""
    points = layout.points
    # Huge clouds are dense, not wide: the student's work must stay small.
    reach_m = 6.0 if kind == "huge" else 20.0
    xyz_m = random.uniform(-reach_m, reach_m, (points, 3))
    surface = random.integers(0, 4, points)
    xyz_m[:, 2] = np.where(surface < 2, -1.8, random.uniform(-1.8, 2.0, points))
    xyz_m[:, 1] = np.where(surface == 2, 5.0, xyz_m[:, 1])
    if kind == "not_finite":
        share = random.choice([0.3, 1.0])
        odd = random.choice([np.nan, np.nan, np.inf, -np.inf, 1e300], (points, 3))
        xyz_m = np.where(random.random((points, 1)) < share, odd, xyz_m)
        xyz_m[0, 0] = np.nan
    values = {"x": xyz_m[:, 0], "y": xyz_m[:, 1], "z": xyz_m[:, 2], "intensity": random.uniform(0, 255, points)}
    data = np.frombuffer(bytearray(random.bytes(layout.height * layout.row_step)), np.uint8)
    for field in layout.fields:
        if field.name in values:
            dtype = DATATYPES[field.datatype].newbyteorder(">" if layout.is_bigendian else "<")
            strides = (layout.row_step, layout.point_step)
            view: NDArray[Any] = np.ndarray((layout.height, layout.width), dtype, data.data, field.offset, strides)
            with np.errstate(over="ignore"):  # 1e300 becomes infinite in float32, as it does in a driver
                view[...] = values[field.name].reshape(view.shape)
    return data.tobytes()


def _spoil(random: np.random.Generator, layout: CloudLayout, data: bytes, cause: str) -> tuple[CloudLayout, bytes]:
    """A layout and data that are refused for this cause and no other."""
    axis = str(random.choice(["x", "y", "z"]))
    place = next(index for index, field in enumerate(layout.fields) if field.name == axis)
    field = layout.fields[place]

    def with_field(changed: CloudField) -> CloudLayout:
        return replace(layout, fields=(*layout.fields[:place], changed, *layout.fields[place + 1 :]))

    if cause == "data_length":
        return layout, data[: int(random.integers(0, len(data)))] if random.random() < 0.5 else data + b"\0\1"
    if cause == "missing_field":
        return with_field(replace(field, name="w")), data
    if cause == "datatype":
        return with_field(replace(field, datatype=int(random.choice([0, 9, 255])))), data
    if cause == "count":
        return with_field(replace(field, datatype=2, count=2)), data
    if cause == "row_step":
        return replace(layout, row_step=int(random.integers(0, layout.width * layout.point_step))), data
    if cause == "duplicate_field":
        return replace(layout, fields=(*layout.fields, replace(field, datatype=2))), data
    return with_field(replace(field, offset=layout.point_step)), data

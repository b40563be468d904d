"""PointCloud2 bytes to arrays and back, for every layout that has x, y and z, without ROS.

A field may lie at any offset, be of any of the eight datatypes and of either endianness; points and rows may be padded; the cloud
may be organised (height > 1); NaN stays NaN. Bytes and numbers from outside are checked before they are used: whatever they
hold, only MalformedCloudError comes out. Source: sensor_msgs/msg/PointCloud2 and PointField of ROS 2.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from relidar.errors import CloudError

DATATYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.int8),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int16),
    4: np.dtype(np.uint16),
    5: np.dtype(np.int32),
    6: np.dtype(np.uint32),
    7: np.dtype(np.float32),
    8: np.dtype(np.float64),
}
"""sensor_msgs/msg/PointField datatype -> NumPy type."""

INTENSITY_NAMES = ("intensity", "i", "reflectivity")
"""Fields taken for intensity, the first one present."""

PADDING_NAMES = ("", "_")
"""Names that PCL gives to gaps; such fields may occur more than once and are never read."""

Buffer: TypeAlias = "bytes | bytearray | memoryview | array[int] | NDArray[np.uint8]"


class MalformedCloudError(CloudError):
    """A PointCloud2 whose description or length does not fit; `cause` is a short key to count by."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True)
class CloudField:
    """One PointField."""

    name: str
    offset: int
    """Bytes from the start of a point."""
    datatype: int
    """Key of DATATYPES."""
    count: int = 1
    """Elements; 0 means 1, since some drivers leave it unset."""

    @property
    def elements(self) -> int:
        """Number of values of this field in each point."""
        return max(self.count, 1)


@dataclass(frozen=True)
class CloudLayout:
    """All of a PointCloud2 but its header and data."""

    height: int
    width: int
    fields: tuple[CloudField, ...]
    point_step: int
    """Bytes from one point to the next."""
    row_step: int
    """Bytes from one row to the next."""
    is_bigendian: bool = False

    @property
    def points(self) -> int:
        """Number of points N."""
        return self.height * self.width

    def field(self, name: str) -> CloudField | None:
        """The field of that name, or None."""
        return next((field for field in self.fields if field.name == name), None)


@dataclass(frozen=True)
class Cloud:
    """A decoded cloud: what the segmenter needs, and any other field on demand."""

    layout: CloudLayout
    data: Buffer
    xyz_m: NDArray[np.float32]
    """(N, 3) row by row, in the sensor frame."""
    intensity: NDArray[np.float32] | None
    """(N,) as sent, or None if there is no such field."""

    def values(self, name: str) -> NDArray[Any]:
        """(N,) values of a field in its own type and native byte order, (N, count) if it has several elements.

        Raises:
            MalformedCloudError: there is no such field.
        """
        field = self.layout.field(name)
        if field is None:
            raise _malformed("missing_field", f"no field {name!r}; the cloud has {_names(self.layout)}.")
        return _read(self.layout, self.data, field)


def layout_of(message: Any) -> CloudLayout:
    """The layout of a sensor_msgs/msg/PointCloud2, be it of rclpy or of rosbags."""
    fields = tuple(CloudField(str(f.name), int(f.offset), int(f.datatype), int(f.count)) for f in message.fields)
    sizes = (int(message.height), int(message.width))
    return CloudLayout(*sizes, fields, int(message.point_step), int(message.row_step), bool(message.is_bigendian))


def decode(layout: CloudLayout, data: Buffer) -> Cloud:
    """Reads the points of a cloud. A cloud of no points needs no fields.

    Raises:
        MalformedCloudError: the layout contradicts itself or the length of `data`, or x, y, z are not there as single values.
    """
    check(layout, data)
    if layout.points == 0:
        return Cloud(layout, data, np.empty((0, 3), np.float32), None)
    fields = [_single(layout, name) for name in "xyz"]
    xyz_m = np.empty((layout.height, layout.width, 3), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # a float64 that float32 cannot hold becomes infinite: out of range
        for axis, field in enumerate(fields):
            xyz_m[:, :, axis] = _view(layout, data, field)[:, :, 0]
        return Cloud(layout, data, xyz_m.reshape(-1, 3), _intensity(layout, data))


def check(layout: CloudLayout, data: Buffer) -> None:
    """Raises MalformedCloudError unless layout and data fit together."""
    numbers = (layout.height, layout.width, layout.point_step, layout.row_step)
    if min(numbers) < 0 or any(field.offset < 0 or field.count < 0 for field in layout.fields):
        raise _malformed("negative", f"a size, offset or count is negative: {layout}.")
    _check_fields(layout)
    if layout.points and layout.row_step < layout.width * layout.point_step:
        raise _malformed(
            "row_step",
            f"row_step is {layout.row_step}, but {layout.width} points of {layout.point_step} bytes need "
            f"{layout.width * layout.point_step}.",
        )
    expected = layout.height * layout.row_step if layout.points else 0
    try:
        length = np.frombuffer(data, np.uint8).size
    except (BufferError, ValueError) as error:
        raise _malformed("data_layout", f"data is no plain row of bytes ({error}); give contiguous ones.") from None
    if length != expected:
        raise _malformed(
            "data_length",
            f"data holds {length} bytes, expected {expected} (height {layout.height} x row_step {layout.row_step}, "
            f"width {layout.width}).",
        )


def append_fields(layout: CloudLayout, data: Buffer, added: Mapping[str, NDArray[Any]]) -> tuple[CloudLayout, bytes]:
    """The same cloud with more fields at the end of each point.

    Order, height, width, endianness and the bytes of each point stay. The first new field starts at point_step rounded up to
    its own size, each next one likewise, and the new point_step is a multiple of 4; padding behind rows is dropped. An input
    field of an added name is no longer listed, though its bytes stay.

    Args:
        layout: of the input; must fit `data` (see check).
        data: of the input.
        added: name -> (N,) values of one of DATATYPES.

    Raises:
        CloudError: values of another length or type.
    """
    number_of = {dtype: number for number, dtype in DATATYPES.items()}
    fields = [field for field in layout.fields if field.name not in added]
    step = layout.point_step
    for name, values in added.items():
        number = number_of.get(values.dtype)
        if number is None or values.shape != (layout.points,):
            raise CloudError(f"field {name!r}: {values.dtype} {values.shape} cannot be added to {layout.points} points.")
        size = values.dtype.itemsize
        offset = -(-step // size) * size
        fields.append(CloudField(name, offset, number))
        step = offset + size
    step = -(-step // 4) * 4
    answer = replace(layout, fields=tuple(fields), point_step=step, row_step=step * layout.width)
    if layout.points == 0:
        return answer, b""
    shape = (layout.height, layout.width, layout.point_step)
    points = np.zeros((layout.height, layout.width, step), np.uint8)
    points[:, :, : layout.point_step] = np.ndarray(shape, np.uint8, data, 0, (layout.row_step, layout.point_step, 1))
    for field, values in zip(fields[-len(added) :] if added else (), added.values(), strict=True):
        _view(answer, points.data, field)[...] = values.reshape(layout.height, layout.width, 1)
    return answer, points.tobytes()


def pack_rgb(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(..., 3) red, green, blue -> (...) float32 whose bits are 0x00RRGGBB, the convention of PCL and RViz."""
    r, g, b = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    packed: NDArray[np.float32] = ((r << 16) | (g << 8) | b).view(np.float32)
    return packed


def _single(layout: CloudLayout, name: str) -> CloudField:
    field = layout.field(name)
    if field is None:
        raise _malformed("missing_field", f"no field {name!r}; the cloud has {_names(layout)}. Publish x, y and z.")
    if field.elements != 1:
        raise _malformed("count", f"field {name!r} has {field.count} elements a point, expected 1.")
    return field


def _intensity(layout: CloudLayout, data: Buffer) -> NDArray[np.float32] | None:
    for name in INTENSITY_NAMES:
        field = layout.field(name)
        if field is not None and field.elements == 1:
            return _view(layout, data, field).astype(np.float32).reshape(-1)
    return None


def _view(layout: CloudLayout, data: Buffer, field: CloudField) -> NDArray[Any]:
    """(H, W, count) view of a field inside the data, in the cloud's byte order."""
    dtype = DATATYPES[field.datatype].newbyteorder(">" if layout.is_bigendian else "<")
    shape = (layout.height, layout.width, field.elements)
    return np.ndarray(shape, dtype, data, field.offset, (layout.row_step, layout.point_step, dtype.itemsize))


def _read(layout: CloudLayout, data: Buffer, field: CloudField) -> NDArray[Any]:
    if layout.points == 0:
        return np.empty((0, field.elements) if field.elements > 1 else 0, DATATYPES[field.datatype])
    values = _view(layout, data, field).astype(DATATYPES[field.datatype])
    return values.reshape(layout.points, field.elements) if field.elements > 1 else values.reshape(layout.points)


def _check_fields(layout: CloudLayout) -> None:
    seen: set[str] = set()
    for field in layout.fields:
        if field.name in seen and field.name not in PADDING_NAMES:
            raise _malformed("duplicate_field", f"field {field.name!r} occurs twice in {_names(layout)}.")
        seen.add(field.name)
        dtype = DATATYPES.get(field.datatype)
        if dtype is None:
            raise _malformed("datatype", f"field {field.name!r} has datatype {field.datatype}, expected 1 to 8.")
        end = field.offset + dtype.itemsize * field.elements
        if end > layout.point_step:
            raise _malformed("field_outside_point", f"field {field.name!r} ends at byte {end} of {layout.point_step} a point.")


def _names(layout: CloudLayout) -> str:
    return "[" + ", ".join(field.name for field in layout.fields[:20]) + "]"


def _malformed(cause: str, text: str) -> MalformedCloudError:
    return MalformedCloudError(cause, f"point cloud: {text}")

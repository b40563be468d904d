"""PointCloud2 codec: any layout with x, y, z decodes exactly, and added fields leave the rest as it was."""

import struct
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relidar.errors import CloudError
from relidar.pointcloud2 import (
    DATATYPES,
    CloudField,
    CloudLayout,
    MalformedCloudError,
    append_fields,
    decode,
    layout_of,
    pack_rgb,
)

CODES = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 8: "d"}
XYZI = tuple(CloudField(name, 4 * index, 7) for index, name in enumerate(("x", "y", "z", "intensity")))


@dataclass(frozen=True)
class Sample:
    layout: CloudLayout
    data: bytes
    values: dict[str, np.ndarray]  # name -> (N, count)


def pack(layout: CloudLayout, values: dict[str, np.ndarray], filler: int = 0xA5) -> bytes:
    """Writes a cloud value by value with struct: the slow, obvious way."""
    data = bytearray([filler]) * (layout.height * layout.row_step)
    order = ">" if layout.is_bigendian else "<"
    for field in layout.fields:
        for point in range(layout.points):
            row, column = divmod(point, layout.width)
            start = row * layout.row_step + column * layout.point_step + field.offset
            for element in range(field.elements):
                size = DATATYPES[field.datatype].itemsize
                value = values[field.name][point, element].item()
                struct.pack_into(order + CODES[field.datatype], data, start + element * size, value)
    return bytes(data)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    extra = draw(st.lists(st.sampled_from(["intensity", "i", "ring", "t", "label", "normals"]), unique=True, max_size=4))
    names = draw(st.permutations(["x", "y", "z", *extra]))
    fields = []
    step = draw(st.integers(0, 5))
    for name in names:
        datatype = draw(st.sampled_from(sorted(DATATYPES)))
        count = draw(st.integers(2, 4)) if name == "normals" else draw(st.sampled_from([0, 1, 1, 1]))
        fields.append(CloudField(name, step, datatype, count))
        step += DATATYPES[datatype].itemsize * max(count, 1) + draw(st.sampled_from([0, 0, 1, 3, 8]))
    height, width = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    layout = CloudLayout(height, width, tuple(fields), step, width * step + draw(st.integers(0, 7)), draw(st.booleans()))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = {}
    for field in fields:
        dtype = DATATYPES[field.datatype]
        shape = (layout.points, field.elements)
        if dtype.kind == "f":
            values[field.name] = random.normal(size=shape).astype(dtype)
            values[field.name][random.random(shape) < 0.2] = np.nan
        else:
            limits = np.iinfo(dtype)
            values[field.name] = random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return Sample(layout, pack(layout, values), values)


@given(samples())
@settings(deadline=None)
def test_any_layout_decodes_to_the_values_that_were_written(sample: Sample) -> None:
    cloud = decode(sample.layout, sample.data)
    expected = np.concatenate([sample.values[name] for name in "xyz"], axis=1, dtype=np.float32, casting="unsafe")
    np.testing.assert_array_equal(cloud.xyz_m, expected)
    assert cloud.xyz_m.dtype == np.float32
    name = next((name for name in ("intensity", "i") if name in sample.values), None)
    if name is None:
        assert cloud.intensity is None
    else:
        np.testing.assert_array_equal(cloud.intensity, sample.values[name][:, 0].astype(np.float32))
    for field in sample.layout.fields:
        found = cloud.values(field.name)
        assert found.dtype == DATATYPES[field.datatype]
        np.testing.assert_array_equal(found.reshape(cloud.layout.points, -1), sample.values[field.name])


@given(samples(), st.integers(0, 2**32))
@settings(deadline=None)
def test_appended_fields_are_read_back_and_the_input_stays(sample: Sample, seed: int) -> None:
    random = np.random.default_rng(seed)
    points = sample.layout.points
    added = {
        "label": random.integers(0, 256, points).astype(np.uint8),
        "score": random.normal(size=points).astype(np.float32),
        "rgb": pack_rgb(random.integers(0, 256, (points, 3)).astype(np.uint8)),
    }
    layout, data = append_fields(sample.layout, sample.data, added)
    cloud = decode(layout, data)
    assert (layout.height, layout.width) == (sample.layout.height, sample.layout.width)
    assert len(data) == layout.height * layout.row_step
    for name, values in added.items():
        assert cloud.values(name).tobytes() == values.tobytes()
    for name, values in sample.values.items():
        if name not in added:
            np.testing.assert_array_equal(cloud.values(name).reshape(points, -1), values)
    assert [field.name for field in layout.fields if field.name == "label"] == ["label"]


@given(samples(), st.binary(min_size=1, max_size=300))
@settings(deadline=None)
def test_a_length_that_does_not_fit_is_refused_and_any_bytes_that_fit_are_read(sample: Sample, noise: bytes) -> None:
    with pytest.raises(MalformedCloudError, match=str(len(sample.data) + len(noise))):
        decode(sample.layout, sample.data + noise)
    filled = (noise * len(sample.data))[: len(sample.data)]
    assert decode(sample.layout, filled).xyz_m.shape == (sample.layout.points, 3)


GOOD = CloudLayout(1, 2, XYZI, 16, 32)


def test_an_empty_cloud_needs_no_fields_but_must_have_no_data() -> None:
    cloud = decode(CloudLayout(0, 0, (), 0, 0), b"")
    assert cloud.xyz_m.shape == (0, 3)
    layout, data = append_fields(cloud.layout, b"", {"label": np.empty(0, np.uint8), "score": np.empty(0, np.float32)})
    assert data == b""
    assert [field.name for field in layout.fields] == ["label", "score"]
    with pytest.raises(MalformedCloudError, match="expected 0"):
        decode(CloudLayout(1, 0, XYZI, 16, 16), bytes(16))


def test_data_that_does_not_lie_in_one_piece_is_refused() -> None:
    for data in (memoryview(bytes(64))[::2], np.zeros((8, 8), np.uint8)[:, ::2]):
        with pytest.raises(MalformedCloudError, match="contiguous") as caught:
            decode(GOOD, data)
        assert caught.value.cause == "data_layout"


def test_padding_fields_of_pcl_may_repeat() -> None:
    padded = replace(GOOD, fields=(*XYZI[:3], CloudField("_", 12, 2), CloudField("_", 13, 2, 3)))
    assert decode(padded, bytes(32)).intensity is None


def test_pack_rgb_has_the_bits_that_rviz_expects() -> None:
    packed = pack_rgb(np.array([[0x12, 0x34, 0x56]], np.uint8))
    assert packed.dtype == np.float32
    assert packed.view(np.uint32).tolist() == [0x123456]


def test_values_that_cannot_be_appended_are_refused() -> None:
    with pytest.raises(CloudError, match="'score': float32 \\(3,\\)"):
        append_fields(GOOD, bytes(32), {"score": np.zeros(3, np.float32)})
    with pytest.raises(CloudError, match="int64"):
        append_fields(GOOD, bytes(32), {"score": np.zeros(2, np.int64)})


def bit_equal(one: np.ndarray, other: np.ndarray) -> bool:
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@given(samples(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_any_bit_pattern_survives_reading_and_writing(sample: Sample, random: Random) -> None:
    # Every NaN, infinity, denormal and largest integer that the bytes of a field can hold, not only usual numbers.
    data = random.randbytes(len(sample.data))
    cloud = decode(sample.layout, data)
    values = {field.name: cloud.values(field.name) for field in sample.layout.fields}
    assert all(len(value) == sample.layout.points for value in values.values())
    single = {name: value for name, value in values.items() if value.ndim == 1}
    layout, written = append_fields(replace(sample.layout, fields=()), data, single)
    again = decode(layout, written)
    assert all(bit_equal(again.values(name), value) for name, value in single.items())
    for field in sample.layout.fields:  # and what struct finds there, the slow, obvious way
        native = DATATYPES[field.datatype].newbyteorder(">" if sample.layout.is_bigendian else "<")
        flat = values[field.name].reshape(sample.layout.points, -1).astype(native)
        for point in range(sample.layout.points):
            row, column = divmod(point, sample.layout.width)
            start = row * sample.layout.row_step + column * sample.layout.point_step + field.offset
            assert flat[point].tobytes() == data[start : start + flat[point].nbytes]


@pytest.mark.filterwarnings("ignore:module 'sre_.*' is deprecated:DeprecationWarning")  # of the generator that rclpy imports
@given(samples())
@settings(deadline=None, max_examples=50)
def test_a_layout_that_ros_carried_is_the_layout_that_was_sent(sample: Sample) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed: extra `ros-wheels`, or a sourced ROS 2")
    from rclpy.serialization import deserialize_message, serialize_message
    from sensor_msgs.msg import PointCloud2
    from std_msgs.msg import Header

    from relidar.cloud_message_node import cloud_message

    layout = sample.layout
    message = cloud_message(Header(), layout, sample.data, is_dense=False)
    carried = deserialize_message(serialize_message(message), PointCloud2)
    assert layout_of(carried) == layout
    assert bit_equal(decode(layout_of(carried), carried.data).xyz_m, decode(layout, sample.data).xyz_m)


def test_fields_that_overlap_each_give_their_own_reading_of_the_bytes() -> None:
    layout = CloudLayout(
        1, 2, (*XYZI, CloudField("rgb", 12, 7), CloudField("bits", 12, 6), CloudField("bytes", 12, 2, 4)), 16, 32
    )
    random = np.random.default_rng(0)
    data = random.bytes(32)
    cloud = decode(layout, data)
    assert bit_equal(cloud.values("rgb").view(np.uint32), cloud.values("bits"))
    assert bit_equal(cloud.values("bytes").reshape(-1).view("<u4"), cloud.values("bits"))

"""PointCloud2 codec: any layout with x, y, z decodes exactly; anything else is a MalformedCloudError."""

import struct
from dataclasses import dataclass, replace

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


@given(
    st.binary(max_size=200),
    st.lists(
        st.builds(
            CloudField,
            st.sampled_from(["x", "y", "z", "intensity", "_", "x", "\x00"]),
            st.integers(-1, 40) | st.sampled_from([2**31, 2**32 - 1]),
            st.integers(-1, 9),
            st.integers(-1, 3) | st.sampled_from([2**32 - 1]),
        ),
        max_size=6,
    ),
    st.tuples(*[st.integers(-1, 20) | st.sampled_from([2**31, 2**32 - 1])] * 4),
    st.booleans(),
)
@settings(deadline=None, max_examples=500)
def test_arbitrary_layouts_and_bytes_give_a_cloud_or_a_cloud_error(
    data: bytes, fields: list[CloudField], sizes: tuple[int, int, int, int], is_bigendian: bool
) -> None:
    layout = CloudLayout(*sizes[:2], tuple(fields), *sizes[2:], is_bigendian)
    try:
        cloud = decode(layout, data)
    except CloudError:
        return
    assert cloud.xyz_m.shape == (layout.points, 3)
    append_fields(layout, data, {"label": np.zeros(layout.points, np.uint8)})


@given(samples(), st.binary(min_size=1, max_size=300))
@settings(deadline=None)
def test_a_length_that_does_not_fit_is_refused_and_any_bytes_that_fit_are_read(sample: Sample, noise: bytes) -> None:
    with pytest.raises(MalformedCloudError, match=str(len(sample.data) + len(noise))):
        decode(sample.layout, sample.data + noise)
    filled = (noise * len(sample.data))[: len(sample.data)]
    assert decode(sample.layout, filled).xyz_m.shape == (sample.layout.points, 3)


GOOD = CloudLayout(1, 2, XYZI, 16, 32)


@pytest.mark.parametrize(
    ("layout", "cause", "words"),
    [
        (replace(GOOD, fields=XYZI[:2]), "missing_field", "no field 'z'; the cloud has \\[x, y\\]"),
        (replace(GOOD, fields=(*XYZI, XYZI[3])), "duplicate_field", "'intensity' occurs twice"),
        (replace(GOOD, fields=(*XYZI, CloudField("t", 12, 8))), "field_outside_point", "'t' ends at byte 20 of 16"),
        (replace(GOOD, fields=(*XYZI, CloudField("t", 0, 9))), "datatype", "datatype 9"),
        (replace(GOOD, fields=(CloudField("x", 0, 7, 2), *XYZI[1:])), "count", "'x' has 2 elements"),
        (replace(GOOD, row_step=31), "row_step", "row_step is 31"),
        (replace(GOOD, width=3, row_step=48), "data_length", "32 bytes, expected 48"),
        (replace(GOOD, width=-1), "negative", "negative"),
    ],
)
def test_the_error_names_what_is_wrong(layout: CloudLayout, cause: str, words: str) -> None:
    with pytest.raises(MalformedCloudError, match=words) as caught:
        decode(layout, bytes(32))
    assert caught.value.cause == cause


def test_an_empty_cloud_needs_no_fields_but_must_have_no_data() -> None:
    cloud = decode(CloudLayout(0, 0, (), 0, 0), b"")
    assert cloud.xyz_m.shape == (0, 3)
    layout, data = append_fields(cloud.layout, b"", {"label": np.empty(0, np.uint8), "score": np.empty(0, np.float32)})
    assert data == b""
    assert [field.name for field in layout.fields] == ["label", "score"]
    with pytest.raises(MalformedCloudError, match="expected 0"):
        decode(CloudLayout(1, 0, XYZI, 16, 16), bytes(16))


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

"""The answering clouds, over layouts that a driver may send, against loops over points."""

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from relidar.cloud_outputs import filtered_cloud, segmentation_cloud, visualization_cloud
from relidar.pointcloud2 import Cloud, CloudField, CloudLayout, decode, pack_rgb
from relidar.segmenter import Segmentation


@st.composite
def clouds(draw: st.DrawFn) -> tuple[Cloud, Segmentation]:
    """A cloud of random bytes in a random layout, and an answer to it."""
    height, width = draw(st.integers(0, 4)), draw(st.integers(0, 5))
    start, gap = draw(st.integers(0, 3)), draw(st.integers(0, 2))
    fields = tuple(CloudField(name, start + index * (4 + gap), 7) for index, name in enumerate(("x", "y", "z")))
    step = fields[-1].offset + 4 + draw(st.integers(0, 3))
    row_step = width * step + draw(st.integers(0, 5))
    layout = CloudLayout(height, width, fields, step, row_step, draw(st.booleans()))
    data = draw(st.binary(min_size=height * row_step, max_size=height * row_step)) if layout.points else b""
    random = np.random.default_rng(draw(st.integers(0, 9)))
    label = random.choice(np.array([0, 3, 255], np.uint8), layout.points)
    score, margin = random.random((2, layout.points), np.float32)
    return decode(layout, data), Segmentation(label, score, margin, {}, random.random((layout.points, 2), np.float32))


def point(cloud: Cloud, index: int) -> bytes:
    layout = cloud.layout
    begin = index // layout.width * layout.row_step + index % layout.width * layout.point_step
    return bytes(cloud.data[begin : begin + layout.point_step])


@given(clouds())
@settings(deadline=None)
def test_segmentation_keeps_every_byte_and_adds_the_answer(given_: tuple[Cloud, Segmentation]) -> None:
    cloud, segmentation = given_
    answer = segmentation_cloud(cloud, segmentation, ("similarity_a", "similarity_b"))
    found = decode(answer.layout, answer.data)
    for index in range(cloud.layout.points):
        assert point(found, index)[: cloud.layout.point_step] == point(cloud, index)
    if cloud.layout.points:
        for name, values in (("label", segmentation.label), ("score", segmentation.score), ("margin", segmentation.margin)):
            np.testing.assert_array_equal(found.values(name), values)
        np.testing.assert_array_equal(found.values("similarity_b"), segmentation.similarity[:, 1])


@given(clouds())
@settings(deadline=None)
def test_visualization_holds_position_and_colour(given_: tuple[Cloud, Segmentation]) -> None:
    cloud, segmentation = given_
    rgb = np.arange(256 * 3, dtype=np.uint32).reshape(256, 3).astype(np.uint8)
    answer = visualization_cloud(cloud, segmentation.label, pack_rgb(rgb))
    assert (answer.layout.height, answer.layout.width) == (cloud.layout.height, cloud.layout.width)
    found = decode(answer.layout, answer.data)
    np.testing.assert_array_equal(found.xyz_m, cloud.xyz_m)
    for index, label in enumerate(segmentation.label):
        blue, green, red, zero = answer.data[16 * index + 12 : 16 * index + 16]
        assert (red, green, blue, zero) == (*rgb[label], 0)
        # A comparison with a signalling NaN warns, so NaN is asked for first.
        assert np.isnan(found.xyz_m[index, 0]) or struct.unpack_from("<f", answer.data, 16 * index)[0] == found.xyz_m[index, 0]


@given(clouds(), st.sets(st.sampled_from([0, 3, 255])))
@settings(deadline=None)
def test_filtered_keeps_the_bytes_of_the_points_that_stay(given_: tuple[Cloud, Segmentation], removed: set[int]) -> None:
    cloud, segmentation = given_
    answer = filtered_cloud(cloud, segmentation.label, removed)
    kept = [index for index, label in enumerate(segmentation.label) if label not in removed]
    assert answer.data == b"".join(point(cloud, index) for index in kept)
    assert (answer.layout.height, answer.layout.width) == (1, len(kept))
    assert answer.layout.fields == cloud.layout.fields
    decode(answer.layout, answer.data)

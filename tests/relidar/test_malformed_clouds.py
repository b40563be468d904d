"""PointCloud2 codec: what does not fit together is a MalformedCloudError that names what is wrong; nothing else comes out."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relidar.errors import CloudError
from relidar.pointcloud2 import CloudField, CloudLayout, MalformedCloudError, append_fields, decode

XYZI = tuple(CloudField(name, 4 * index, 7) for index, name in enumerate(("x", "y", "z", "intensity")))
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


MANGLED = 100_000
BLOCK = 5_000
NOISE = np.random.default_rng(1).bytes(1 << 16)
NAMES = ("x", "y", "z", "intensity", "i", "ring", "_", "", "\x00", "x", "label")
ODD = np.array([-1, 0, 1, 2, 3, 7, 9, 255, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63], np.object_)


def mangled_clouds(random: np.random.Generator, clouds: int) -> Iterator[tuple[CloudLayout, bytes]]:
    """Random layouts with random bytes: a good part fits together, the rest has some number, name or length that does not."""
    fields = random.integers(0, 7, clouds)
    fields = np.where(random.random(clouds) < 0.7, np.maximum(fields, 3), fields)
    shape = (clouds, 6)
    # Mostly x, y, z and three more, now and then any names at all.
    names = np.tile(np.arange(6), (clouds, 1))
    names = np.where((random.random(clouds) < 0.3)[:, None], random.integers(0, len(NAMES), shape), names)
    datatypes = random.integers(1, 9, shape)
    counts = np.where((names > 2) & (random.random(shape) < 0.3) | (random.random(shape) < 0.02), random.integers(0, 5, shape), 1)
    sizes = np.array([0, 1, 1, 2, 2, 4, 4, 4, 8])[datatypes] * np.maximum(counts, 1)
    ends = np.cumsum(sizes + random.integers(0, 4, shape) * (random.random(shape) < 0.3), axis=1)
    offsets = ends - sizes
    point_steps = np.where(fields > 0, ends[np.arange(clouds), fields - 1], 0) + random.integers(0, 5, clouds)
    heights, widths = random.integers(0, 4, clouds), random.integers(0, 6, clouds)
    row_steps = point_steps * widths + random.integers(0, 3, clouds)
    lengths = np.where(random.random(clouds) < 0.9, heights * row_steps * (widths > 0), random.integers(0, 200, clouds))
    starts = random.integers(0, 1 << 15, clouds)
    big = random.random(clouds) < 0.4
    columns = [names, datatypes, counts, offsets]
    described = np.stack(columns, axis=2).tolist()  # Python's own integers are what a message gives
    numbers = np.stack([heights, widths, point_steps, row_steps], axis=1).astype(object)
    spoilt = random.random(clouds) < 0.4
    numbers[spoilt, random.integers(0, 4, clouds)[spoilt]] = random.choice(ODD, int(spoilt.sum()))
    spoil_field = random.random(clouds) < 0.3
    where = random.integers(0, [[6], [4]], (2, clouds)).T.tolist()
    odd = random.choice(ODD, clouds).tolist()
    for cloud, (height, width, point_step, row_step) in enumerate(numbers.tolist()):
        if spoil_field[cloud]:
            field, column = where[cloud]
            described[cloud][field][column] = odd[cloud] % len(NAMES) if column == 0 else odd[cloud]
        listed = tuple(CloudField(NAMES[n], offset, d, count) for n, d, count, offset in described[cloud][: fields[cloud]])
        layout = CloudLayout(height, width, listed, point_step, row_step, bool(big[cloud]))
        yield layout, NOISE[starts[cloud] : starts[cloud] + lengths[cloud]]


def test_a_hundred_thousand_random_clouds_are_read_or_refused_and_nothing_else() -> None:
    random = np.random.default_rng(0)
    read: Counter[str] = Counter()
    for _ in range(MANGLED // BLOCK):
        for layout, data in mangled_clouds(random, BLOCK):
            try:
                cloud = decode(layout, data)
            except MalformedCloudError as error:
                read[error.cause] += 1
                continue
            read["read"] += 1
            read["points"] += layout.points > 0
            assert cloud.xyz_m.shape == (layout.points, 3)
            if read["read"] % 4 == 0:
                for field in layout.fields:
                    assert len(cloud.values(field.name)) == layout.points
                answer, written = append_fields(layout, data, {"label": np.zeros(layout.points, np.uint8)})
                assert len(written) == answer.height * answer.row_step * (answer.points > 0)
    # The proof is worth something only if all ways through the codec were taken, often.
    causes = {
        "missing_field",
        "duplicate_field",
        "field_outside_point",
        "datatype",
        "count",
        "row_step",
        "data_length",
        "negative",
    }
    assert set(read) == causes | {"read", "points"}
    assert read["points"] > MANGLED / 10
    assert min(read.values()) > MANGLED / 200, read
    assert sum(read[name] for name in causes) + read["read"] == MANGLED

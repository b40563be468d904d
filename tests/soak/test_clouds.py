"""The soak's clouds: repeatable, and each what it says it is."""

from collections import Counter

import numpy as np
import pytest

from relidar.pointcloud2 import MalformedCloudError, decode
from tests.soak.clouds import CAUSES, FIRST, HUGE_POINTS, KINDS, make_cloud


def test_clouds_are_what_they_say_and_all_kinds_come() -> None:
    seen: Counter[str] = Counter()
    layouts = set()
    for number in range(FIRST, FIRST + 600):
        cloud = make_cloud(7, number)
        seen[cloud.kind] += 1
        if cloud.kind == "malformed":
            seen[cloud.cause] += 1
            with pytest.raises(MalformedCloudError) as caught:
                decode(cloud.layout, cloud.data)
            assert caught.value.cause == cloud.cause
            continue
        points = decode(cloud.layout, cloud.data)
        layouts.add((cloud.layout.fields, cloud.layout.point_step, cloud.layout.is_bigendian, cloud.layout.height > 1))
        assert (cloud.kind == "empty") == (cloud.layout.points == 0)
        assert (cloud.kind == "huge") == (cloud.layout.points >= HUGE_POINTS)
        assert np.isfinite(points.xyz_m).all() == (cloud.kind != "not_finite")
    assert set(seen) == set(KINDS) | set(CAUSES)
    assert len(layouts) > 300


def test_the_same_number_gives_the_same_cloud() -> None:
    assert make_cloud(1, 5) == make_cloud(1, 5)
    assert make_cloud(1, 5) != make_cloud(2, 5)

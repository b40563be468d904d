"""The answer to a cloud: every point, in order, in the input's layout."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from relidar.bundle import open_bundle
from relidar.labelled_cloud import UNLABELLED_RGB, colours_of, label_cloud
from relidar.onnx_executor import PairsExecutor
from relidar.pointcloud2 import CloudLayout, MalformedCloudError, decode
from relidar.segmenter import Segmenter


def test_every_point_is_answered_in_order(tiny_bundle: Path, random_cloud: Callable, scan_of: Callable) -> None:
    bundle = open_bundle(tiny_bundle)
    segmenter = Segmenter.of_bundle(bundle, PairsExecutor(bundle))
    colours = colours_of(bundle.manifest.classes)
    sent = random_cloud(6000)
    xyz_m = sent.xyz_m.copy()
    xyz_m[::7] = np.nan
    layout, data = scan_of(xyz_m, sent.intensity)

    answer = label_cloud(segmenter, colours, layout, data)

    cloud = decode(answer.layout, answer.data)
    np.testing.assert_array_equal(cloud.xyz_m, xyz_m)
    expected = segmenter(xyz_m, sent.intensity)
    np.testing.assert_array_equal(cloud.values("label"), expected.label)
    np.testing.assert_allclose(cloud.values("score"), expected.score, atol=1e-6)
    assert set(cloud.values("label")[::7]) == {255}
    rgb = cloud.values("rgb").view(np.uint32)
    of_id = {c.id: c.rgb for c in bundle.manifest.classes} | {255: UNLABELLED_RGB}
    for label, colour in set(zip(cloud.values("label").tolist(), rgb.tolist(), strict=True)):
        assert tuple(colour.to_bytes(4, "big")[1:]) == of_id[label]


def test_an_empty_cloud_has_an_empty_answer_and_a_malformed_one_none(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    segmenter = Segmenter.of_bundle(bundle, PairsExecutor(bundle))
    colours = colours_of(bundle.manifest.classes)
    answer = label_cloud(segmenter, colours, CloudLayout(0, 0, (), 0, 0), b"")
    assert (answer.layout.points, answer.data) == (0, b"")
    assert [field.name for field in answer.layout.fields] == ["label", "score", "rgb"]
    with pytest.raises(MalformedCloudError, match="no field 'x'"):
        label_cloud(segmenter, colours, CloudLayout(1, 1, (), 4, 4), bytes(4))

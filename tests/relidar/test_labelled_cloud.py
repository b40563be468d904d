"""From the bytes of a cloud to a label for every point, in order."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from relidar.bundle import open_bundle
from relidar.labelled_cloud import UNLABELLED_RGB, palette, segment_cloud
from relidar.onnx_executor import PairsExecutor
from relidar.pointcloud2 import CloudLayout, MalformedCloudError
from relidar.segmenter import Segmenter


@pytest.fixture(scope="module")
def segmenter(tiny_bundle: Path) -> Segmenter:
    bundle = open_bundle(tiny_bundle)
    return Segmenter.of_bundle(bundle, PairsExecutor(bundle, threads=1))


def test_every_point_is_labelled_in_order(segmenter: Segmenter, random_cloud: Callable, scan_of: Callable) -> None:
    sent = random_cloud(3000)
    xyz_m = sent.xyz_m.copy()
    xyz_m[::7] = np.nan
    cloud, found = segment_cloud(segmenter, *scan_of(xyz_m, sent.intensity))
    np.testing.assert_array_equal(cloud.xyz_m, xyz_m)
    expected = segmenter(xyz_m, sent.intensity)
    for name in ("label", "score", "margin"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert set(found.label[::7]) == {255}
    assert set(found.timings_ms) == {"decode", "voxelise", "rulebook", "infer", "scores"}


def test_an_empty_cloud_has_an_empty_answer_and_a_malformed_one_none(segmenter: Segmenter) -> None:
    _, found = segment_cloud(segmenter, CloudLayout(0, 0, (), 0, 0), b"")
    assert (found.label.shape, found.similarity.shape) == ((0,), (0, 0))
    with pytest.raises(MalformedCloudError, match="no field 'x'"):
        segment_cloud(segmenter, CloudLayout(1, 1, (), 4, 4), bytes(4))


def test_the_palette_is_grey_where_no_class_is(tiny_bundle: Path) -> None:
    classes = open_bundle(tiny_bundle).manifest.classes
    colours = palette(classes)
    assert all(tuple(colours[c.id]) == c.rgb for c in classes)
    assert {tuple(colours[label]) for label in range(len(classes), 256)} == {UNLABELLED_RGB}

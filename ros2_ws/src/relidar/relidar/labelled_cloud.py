"""A PointCloud2 in, a label for each of its points out, and the labels' colours. The live node and bag replay both use this."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from relidar.pointcloud2 import Buffer, Cloud, CloudLayout, decode, pack_rgb
from relidar.prompts import UNLABELLED, ClassPrompts
from relidar.segmenter import ClassScorer, Segmentation, Segmenter

UNLABELLED_RGB = (96, 96, 96)


def segment_cloud(
    segmenter: Segmenter, layout: CloudLayout, data: Buffer, scorer: ClassScorer | None = None
) -> tuple[Cloud, Segmentation]:
    """Decodes a cloud and labels every point of it; a cloud of no points gets an answer of no points.

    Args:
        segmenter: of the bundle.
        layout: of the input.
        data: of the input.
        scorer: other classes than the segmenter's own.

    Raises:
        MalformedCloudError: layout and data do not fit together.
    """
    start = time.perf_counter()
    cloud = decode(layout, data)
    decode_ms = 1e3 * (time.perf_counter() - start)
    segmentation = segmenter(cloud.xyz_m, cloud.intensity, scorer)
    return cloud, replace(segmentation, timings_ms={"decode": decode_ms, **segmentation.timings_ms})


def palette(classes: Sequence[ClassPrompts]) -> NDArray[np.uint8]:
    """(256, 3) colour of each label; grey for 255 and for ids that no class has."""
    rgb = np.full((UNLABELLED + 1, 3), UNLABELLED_RGB, np.uint8)
    for c in classes:
        rgb[c.id] = c.rgb
    return rgb


def colours_of(classes: Sequence[ClassPrompts]) -> NDArray[np.float32]:
    """(256,) the palette, packed as PointCloud2 carries it."""
    return pack_rgb(palette(classes))

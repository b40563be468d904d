"""A PointCloud2 in, the same PointCloud2 with labels out. The live node and bag replay both answer with this."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relidar.pointcloud2 import Buffer, CloudLayout, append_fields, decode, pack_rgb
from relidar.prompts import UNLABELLED, ClassPrompts
from relidar.segmenter import Segmentation, Segmenter

UNLABELLED_RGB = (96, 96, 96)


@dataclass(frozen=True)
class LabelledCloud:
    """The answer to one cloud: its points, in their order, with label, score and rgb appended."""

    layout: CloudLayout
    data: bytes
    segmentation: Segmentation


def label_cloud(segmenter: Segmenter, colours: NDArray[np.float32], layout: CloudLayout, data: Buffer) -> LabelledCloud:
    """Labels every point of a cloud; a cloud of no points gets an answer of no points.

    Args:
        segmenter: of the bundle.
        colours: (256,) packed rgb by label, from `colours_of`.
        layout: of the input.
        data: of the input.

    Raises:
        MalformedCloudError: layout and data do not fit together.
    """
    cloud = decode(layout, data)
    segmentation = segmenter(cloud.xyz_m, cloud.intensity) if layout.points else _nothing()
    added: dict[str, NDArray[Any]] = {
        "label": segmentation.label,
        "score": segmentation.score,
        "rgb": colours[segmentation.label],
    }
    answer_layout, answer_data = append_fields(layout, data, added)
    return LabelledCloud(answer_layout, answer_data, segmentation)


def palette(classes: Sequence[ClassPrompts]) -> NDArray[np.uint8]:
    """(256, 3) colour of each label; grey for 255 and for ids that no class has."""
    rgb = np.full((UNLABELLED + 1, 3), UNLABELLED_RGB, np.uint8)
    for c in classes:
        rgb[c.id] = c.rgb
    return rgb


def colours_of(classes: Sequence[ClassPrompts]) -> NDArray[np.float32]:
    """(256,) the palette, packed as PointCloud2 carries it."""
    return pack_rgb(palette(classes))


def _nothing() -> Segmentation:
    return Segmentation(np.empty(0, np.uint8), np.empty(0, np.float32), np.empty(0, np.float32), {})

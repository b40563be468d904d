"""The clouds that answer a cloud: labelled, coloured, and with some classes taken out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relidar.pointcloud2 import Cloud, CloudField, CloudLayout, append_fields
from relidar.prompts import UNLABELLED
from relidar.segmenter import Segmentation

_XYZ_RGB = tuple(CloudField(name, 4 * index, 7) for index, name in enumerate(("x", "y", "z", "rgb")))


@dataclass(frozen=True)
class OutputCloud:
    """All of a PointCloud2 but its header."""

    layout: CloudLayout
    data: bytes


def segmentation_cloud(cloud: Cloud, segmentation: Segmentation, query_fields: Sequence[str] = ()) -> OutputCloud:
    """The same points with label (uint8), score and margin (float32), and one float32 field for each query of the scorer.

    Every byte of the input's points stays; a field of the input with the name of a new one is no longer listed.
    """
    added: dict[str, NDArray[Any]] = {
        "label": segmentation.label,
        "score": segmentation.score,
        "margin": segmentation.margin,
    }
    added |= {name: segmentation.similarity[:, q] for q, name in enumerate(query_fields)}
    return OutputCloud(*append_fields(cloud.layout, cloud.data, added))


def visualization_cloud(cloud: Cloud, label: NDArray[np.uint8], colours: NDArray[np.float32]) -> OutputCloud:
    """The same points, in the same shape, as x, y, z (float32, metres) and rgb (packed as PCL and RViz take it).

    Args:
        cloud: the input.
        label: (N,) of its points.
        colours: (256,) packed rgb by label, from `colours_of`.
    """
    points = np.empty((cloud.layout.points, 4), "<f4")
    points[:, :3] = cloud.xyz_m
    points[:, 3] = colours[label]
    layout = CloudLayout(cloud.layout.height, cloud.layout.width, _XYZ_RGB, 16, 16 * cloud.layout.width)
    return OutputCloud(layout, points.tobytes())


def filtered_cloud(cloud: Cloud, label: NDArray[np.uint8], removed: Collection[int]) -> OutputCloud:
    """The points whose label is not in `removed`, byte for byte, in their order, as one row."""
    layout = cloud.layout
    keep = np.ones(UNLABELLED + 1, bool)
    keep[list(removed)] = False
    if layout.points == 0:
        return OutputCloud(replace(layout, height=1, width=0, row_step=0), b"")
    # A point as one opaque value: copied at once rather than byte by byte.
    strides = (layout.row_step, layout.point_step)
    points: NDArray[Any] = np.ndarray((layout.height, layout.width), f"V{layout.point_step}", cloud.data, 0, strides)
    data = points[keep[label].reshape(points.shape)].tobytes()
    width = len(data) // layout.point_step
    return OutputCloud(replace(layout, height=1, width=width, row_step=len(data)), data)

"""One scan answered: from the bytes of a PointCloud2 to those of every cloud that somebody wants. Without ROS."""

import time
from collections.abc import Collection
from dataclasses import dataclass

from relidar.cloud_outputs import OutputCloud, filtered_cloud, segmentation_cloud, visualization_cloud
from relidar.labelled_cloud import segment_cloud
from relidar.loaded_model import LoadedModel
from relidar.node_parameters import NodeParameters
from relidar.pointcloud2 import Buffer, CloudLayout
from relidar.segmenter import Segmenter
from relidar.vocabulary import Vocabulary, build_vocabulary

SEGMENTATION, VISUALIZATION, FILTERED = "segmentation", "visualization", "filtered"
OUTPUTS = (SEGMENTATION, VISUALIZATION, FILTERED)


@dataclass(frozen=True)
class Settings:
    """What may change from scan to scan; replaced as a whole, so that each scan sees one state."""

    vocabulary: Vocabulary
    removed: frozenset[int]
    """Labels whose points `filtered` leaves out."""


@dataclass(frozen=True)
class Answer:
    """The clouds that were wanted, by output, and milliseconds by stage."""

    points: int
    clouds: dict[str, OutputCloud]
    timings_ms: dict[str, float]
    """decode, voxelise, rulebook, infer, scores, encode."""
    over_capacity: bool = False
    """Whether the scan was too large for the engine, so that the CPU answered."""


def settings_of(model: LoadedModel, parameters: NodeParameters, version: int) -> Settings:
    """Settings as the parameters say; raises ConfigError, TextError or BundleError where they cannot be had."""
    words = (parameters.prompts, parameters.prompts_file, parameters.similarity_prompts)
    return with_filter(build_vocabulary(model.words, version, *words), parameters)


def with_filter(vocabulary: Vocabulary, parameters: NodeParameters) -> Settings:
    """Settings with this vocabulary; raises ConfigError where `filtered_classes` names a class that it lacks."""
    return Settings(vocabulary, vocabulary.ids_of("filtered_classes", parameters.filtered_classes))


def answer_scan(segmenter: Segmenter, settings: Settings, layout: CloudLayout, data: Buffer, wanted: Collection[str]) -> Answer:
    """Labels a scan and makes those of OUTPUTS that are wanted.

    Raises:
        MalformedCloudError: layout and data do not fit together.
    """
    vocabulary = settings.vocabulary
    cloud, segmentation = segment_cloud(segmenter, layout, data, vocabulary.scorer)
    start = time.perf_counter()
    clouds: dict[str, OutputCloud] = {}
    if SEGMENTATION in wanted:
        clouds[SEGMENTATION] = segmentation_cloud(cloud, segmentation, vocabulary.fields)
    if VISUALIZATION in wanted:
        clouds[VISUALIZATION] = visualization_cloud(cloud, segmentation.label, vocabulary.colours)
    if FILTERED in wanted:
        clouds[FILTERED] = filtered_cloud(cloud, segmentation.label, settings.removed)
    encode_ms = 1e3 * (time.perf_counter() - start)
    timings_ms = {**segmentation.timings_ms, "encode": encode_ms}
    return Answer(layout.points, clouds, timings_ms, segmentation.over_capacity)

"""Frozen image models: an image in, unit features out, in a space that text shares or, for `timm`, does not."""

from typing import Annotated, Literal

from pydantic import Field

from distill.teachers.maskclip import MaskClipConfig, MaskClipTeacher
from distill.teachers.onnx_segmenter import OnnxConfig, OnnxTeacher
from distill.teachers.street_teacher import StreetTeacher
from distill.teachers.teacher import Teacher
from distill.teachers.timm_backbone import TimmConfig, TimmTeacher
from relidar.config_file import Model

__all__ = ["StreetTeacherConfig", "Teacher", "TeacherConfig", "make_teacher"]


class StreetTeacherConfig(Model):
    """A small network trained on simulated streets, in the space of the `sentence` encoder."""

    kind: Literal["pixel_text", "street_clip"] = "pixel_text"
    weights: Annotated[str, Field(min_length=1)] | None = None
    """Path of its weights; by default those that come with relidar."""


TeacherConfig = Annotated[StreetTeacherConfig | MaskClipConfig | TimmConfig | OnnxConfig, Field(discriminator="kind")]
"""Which teacher to distil."""


def make_teacher(config: StreetTeacherConfig | MaskClipConfig | TimmConfig | OnnxConfig) -> Teacher:
    """The teacher of a configuration; raises CheckpointError, ConfigError or TextError if its files do not fit."""
    if isinstance(config, MaskClipConfig):
        return MaskClipTeacher(config)
    if isinstance(config, TimmConfig):
        return TimmTeacher(config)
    if isinstance(config, OnnxConfig):
        return OnnxTeacher(config)
    return StreetTeacher(config.kind, config.weights)

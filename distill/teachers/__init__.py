"""Frozen image models: an image in, unit features in a text-aligned space out."""

from typing import Annotated, Literal

from pydantic import Field

from distill.teachers.pixel_text import PixelTextTeacher
from distill.teachers.teacher import Teacher
from relidar.config_file import Model

__all__ = ["Teacher", "TeacherConfig", "make_teacher"]


class TeacherConfig(Model):
    """Which teacher to distil."""

    kind: Literal["pixel_text"] = "pixel_text"
    weights: Annotated[str, Field(min_length=1)] | None = None
    """Path of its weights; by default those that come with relidar."""


def make_teacher(config: TeacherConfig) -> Teacher:
    """The teacher of a configuration; raises CheckpointError if its weights do not fit."""
    return PixelTextTeacher(config.weights)

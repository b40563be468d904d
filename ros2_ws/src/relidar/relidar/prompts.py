"""Prompt sets: the classes that points are sorted into, each with the words that name it and its colour."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from relidar.config_file import Model, load

UNLABELLED = 255
"""The label of a point that no class answers for."""

Byte = Annotated[int, Field(ge=0, le=255)]


class ClassPrompts(Model):
    """One class: a point's score for it is the best cosine over its prompts."""

    id: Annotated[int, Field(ge=0, lt=UNLABELLED)]
    name: Annotated[str, Field(min_length=1)]
    prompts: Annotated[tuple[str, ...], Field(min_length=1)]
    rgb: tuple[Byte, Byte, Byte]


class PromptSet(Model):
    """The classes of one vocabulary."""

    name: str
    templates: Annotated[tuple[str, ...], Field(min_length=1)] = ("{}",)
    """Sentences with {} for the prompt; a prompt's embedding is the mean over them."""
    classes: Annotated[tuple[ClassPrompts, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> "PromptSet":
        check_distinct(self.classes)
        wrong = [template for template in self.templates if template.count("{}") != 1]
        if wrong:
            raise ValueError(f"template {wrong[0]!r} needs exactly one {{}} where the prompt goes")
        return self

    @property
    def prompts(self) -> tuple[str, ...]:
        """All prompts of all classes, in order, each once."""
        return tuple(dict.fromkeys(prompt for c in self.classes for prompt in c.prompts))


def check_distinct(classes: Sequence[ClassPrompts]) -> None:
    """Raises ValueError where two classes share an id or a name."""
    for what in ("id", "name"):
        values = [str(getattr(c, what)) for c in classes]
        repeated = sorted({value for value in values if values.count(value) > 1})
        if repeated:
            raise ValueError(f"class {what} {', '.join(repeated)} occurs twice; each class needs its own")


def load_prompt_set(path: Path) -> PromptSet:
    """Reads a prompt set such as configs/prompts/nuscenes16.yaml; raises ConfigError."""
    return load(path, PromptSet)

"""Label maps: which numbers in a dataset's truth and which classes of a bundle are one and the same evaluated class.

A map is matched to a bundle by class name, so it fits every bundle that has the names, whatever its ids:

    classes:
      - {name: car, truth: [17], predicted: [car]}

True numbers that no class lists are ignored. Predicted classes that none lists are wrong wherever they are predicted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from relidar.config_file import Model, load
from relidar.errors import ConfigError
from relidar.prompts import UNLABELLED, ClassPrompts

RawLabel = Annotated[int, Field(ge=0, le=65535)]


class MappedClass(Model):
    """One evaluated class."""

    name: Annotated[str, Field(min_length=1)]
    truth: Annotated[tuple[RawLabel, ...], Field(min_length=1)]
    """Numbers of the dataset that mean this class."""
    predicted: tuple[str, ...]
    """Names of the bundle's classes that mean it; none if the bundle has no such class, which then scores 0."""


class LabelMap(Model):
    """The evaluated classes of one dataset. Class k of the map is number k in a confusion matrix."""

    name: str
    description: str = ""
    classes: Annotated[tuple[MappedClass, ...], Field(min_length=1, max_length=UNLABELLED)]

    @model_validator(mode="after")
    def _distinct(self) -> "LabelMap":
        listed: dict[str, Sequence[int | str]] = {
            "class name": [c.name for c in self.classes],
            "truth": [raw for c in self.classes for raw in c.truth],
            "predicted class": [name for c in self.classes for name in c.predicted],
        }
        for what, values in listed.items():
            repeated = sorted({str(value) for value in values if values.count(value) > 1})
            if repeated:
                raise ValueError(f"{what} {', '.join(repeated)} is listed twice; each belongs to one class")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the evaluated classes."""
        return tuple(c.name for c in self.classes)

    def truth_lookup(self) -> NDArray[np.uint8]:
        """(65536,) raw number of the dataset -> class number, 255 where it is ignored."""
        lookup = np.full(65536, UNLABELLED, np.uint8)
        for number, entry in enumerate(self.classes):
            lookup[list(entry.truth)] = number
        return lookup

    def prediction_lookup(self, classes: Sequence[ClassPrompts]) -> NDArray[np.uint8]:
        """(256,) class id of a bundle -> class number, 255 where no class lists it or the point is unlabelled.

        Raises:
            ConfigError: the map names a class that `classes` lacks.
        """
        id_of = {c.name: c.id for c in classes}
        lookup = np.full(256, UNLABELLED, np.uint8)
        for number, entry in enumerate(self.classes):
            for name in entry.predicted:
                if name not in id_of:
                    raise ConfigError(
                        f"label map {self.name!r}: class {entry.name!r} counts predictions of {name!r}, but the bundle's classes "
                        f"are {', '.join(id_of)}; correct the map's `predicted`."
                    )
                lookup[id_of[name]] = number
        return lookup


def load_label_map(path: Path) -> LabelMap:
    """Reads a label map such as configs/label_maps/nuscenes32.yaml; raises ConfigError."""
    return load(path, LabelMap)

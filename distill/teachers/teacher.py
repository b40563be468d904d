"""What a teacher is: a frozen image model that gives every place of an image a unit feature."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Teacher(Protocol):
    """image -> features."""

    fingerprint: str
    """Changes whenever the features would: weights and settings. Cached features are kept under it."""
    feature_width: int
    """D"""
    text_encoder: str | None
    """The text encoder whose space the features lie in, as `distill.text_encoders` names it; None: no text shares it."""

    def __call__(self, image: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) RGB -> (D, h, w) float32 unit features; h and w may be smaller than H and W."""
        ...

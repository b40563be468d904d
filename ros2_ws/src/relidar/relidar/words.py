"""The prompts of all classes as one matrix, and what a voxel scores against them: all that is left of a scan after the network.

A class scores as its best prompt does. `Words.scores` is the reference; an executor may give the same answer another way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from relidar.errors import TextError
from relidar.prompts import ClassPrompts
from relidar.text_bank import TextBank

MOST_PROMPTS = 4096
"""Of all classes together: engines are built for 1 to so many."""
MOST_QUERIES = 32
"""Each query adds four bytes to every point of the answer."""
LOWEST_COSINE = -1.0
"""With a single class there is no second best, and its cosine cannot be lower than this."""


@dataclass(frozen=True)
class VoxelScores:
    """The answer for V voxels."""

    best: NDArray[np.int32]
    """(V,) index of the best class, 0 .. M - 1; of equal classes the first."""
    score: NDArray[np.float32]
    """(V,) cosine with the best prompt of that class."""
    margin: NDArray[np.float32]
    """(V,) score minus the second-best class's score, or minus LOWEST_COSINE where there is one class only."""
    similarity: NDArray[np.float32]
    """(V, Q) cosine with each query."""
    over_capacity: bool = False
    """Whether the scan was too large for the engine, so that the CPU answered."""


@dataclass(frozen=True, eq=False)
class Words:
    """What a scan is scored against: M classes with C prompts in all, and Q queries. Immutable, and equal to itself only."""

    text: NDArray[np.float32]
    """(C, D) unit rows: the prompts of the first class, then those of the second, ..."""
    first: NDArray[np.int64]
    """(M,) row of each class's first prompt."""
    queries: NDArray[np.float32]
    """(Q, D) unit rows."""

    def __post_init__(self) -> None:
        """Raises TextError for parts that do not fit together, more than MOST_PROMPTS prompts or MOST_QUERIES queries."""
        prompts, first = len(self.text), self.first
        if prompts > MOST_PROMPTS or len(self.queries) > MOST_QUERIES:
            raise TextError(
                f"{prompts} prompts and {len(self.queries)} queries, expected at most {MOST_PROMPTS} and {MOST_QUERIES}; "
                "take some out."
            )
        if self.text.ndim != 2 or self.queries.ndim != 2 or self.queries.shape[1] != self.text.shape[1]:
            raise TextError(f"text {self.text.shape}, queries {self.queries.shape}: expected (C, D) and (Q, D).")
        if not len(first) or first[0] != 0 or first[-1] >= prompts or (np.diff(first) < 1).any():
            raise TextError(f"classes that start at rows {first.tolist()} of {prompts} prompts: every class needs a prompt.")

    @classmethod
    def of_classes(cls, classes: Sequence[ClassPrompts], bank: TextBank, queries: Sequence[str] = ()) -> "Words":
        """Takes the embeddings from a bank; raises TextError for a prompt or query that it lacks, or too many of them."""
        text = bank.lookup([prompt for c in classes for prompt in c.prompts])
        first = np.cumsum([0] + [len(c.prompts) for c in classes[:-1]], dtype=np.int64)
        return cls(text, first, bank.lookup(queries))

    @cached_property
    def class_of_prompt(self) -> NDArray[np.int32]:
        """(C,) index of each prompt's class."""
        counts = np.diff(self.first, append=len(self.text))
        return np.repeat(np.arange(len(self.first), dtype=np.int32), counts)

    def scores(self, features: NDArray[np.float32]) -> VoxelScores:
        """(V, D) unit rows -> the answer."""
        by_class = np.maximum.reduceat(features @ self.text.T, self.first, axis=1)  # (V, M)
        best = by_class.argmax(axis=1)
        rows = np.arange(len(best))
        score = by_class[rows, best]
        by_class[rows, best] = LOWEST_COSINE
        margin = score - np.maximum(by_class.max(axis=1), LOWEST_COSINE)
        return VoxelScores(best.astype(np.int32), score, margin, features @ self.queries.T)

"""A TensorRT engine takes a limited number of voxels; a scan with more is answered on the CPU, whole and exactly, and counted.

A scan is never thinned out to fit: each of its points is answered, later than usual.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from relidar.bundle import Precision
from relidar.executor import Executor
from relidar.rulebook import Rulebook
from relidar.words import VoxelScores, Words


class CapacityFallback:
    """An engine, and for scans over its capacity an executor without one, opened when the first such scan comes."""

    def __init__(self, engine: Executor, capacity: Sequence[int], fallback: Callable[[], Executor]) -> None:
        """Takes the engine, the voxels of each level that it takes, and what opens the fallback."""
        self.name = engine.name
        self.identity = str(getattr(engine, "identity", ""))
        self.precision: Precision = getattr(engine, "precision", "fp32")
        self._engine = engine
        self._capacity = tuple(capacity)
        self._open = fallback
        self._fallback: Executor | None = None

    def scores(self, features: NDArray[np.float32], rulebook: Rulebook, words: Words) -> VoxelScores:
        """(V, C_in) -> what each voxel scores; `over_capacity` says that the fallback answered."""
        if all(voxels <= most for voxels, most in zip(rulebook.voxels, self._capacity, strict=True)):
            return self._engine.scores(features, rulebook, words)
        if self._fallback is None:
            self._fallback = self._open()
        return replace(self._fallback.scores(features, rulebook, words), over_capacity=True)

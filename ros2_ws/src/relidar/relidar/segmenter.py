"""The segmenter: a cloud in, a label for every point out. Node, bag replay and evaluation all use this one."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from relidar.bundle import Bundle
from relidar.errors import CloudError
from relidar.executor import Executor
from relidar.prompts import UNLABELLED, ClassPrompts
from relidar.rulebook import build_rulebook
from relidar.text_bank import TextBank
from relidar.voxels import Preprocessing, voxelise


@dataclass(frozen=True)
class Segmentation:
    """The answer for N points, in input order."""

    label: NDArray[np.uint8]
    """(N,) class id, 255 = unlabelled: not finite, out of range, or scored below the threshold."""
    score: NDArray[np.float32]
    """(N,) cosine with the best prompt of the label's class; 0 where there was no voxel."""
    margin: NDArray[np.float32]
    """(N,) score minus the second-best class's score; 0 where there was no voxel."""
    timings_ms: dict[str, float]
    """Milliseconds by stage: voxelise, rulebook, infer, scores."""
    similarity: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """(N, Q) cosine with each query of the scorer; 0 where there was no voxel."""


class ClassScorer:
    """Unit features to labels: a class scores as its best prompt does. Immutable."""

    def __init__(
        self, classes: Sequence[ClassPrompts], text: TextBank, unknown_threshold: float, queries: Sequence[str] = ()
    ) -> None:
        """Takes the embeddings of prompts and of Q further queries from `text`; raises TextError for one that it lacks."""
        self._text = np.ascontiguousarray(text.lookup([prompt for c in classes for prompt in c.prompts]).T)
        self._first = np.cumsum([0] + [len(c.prompts) for c in classes[:-1]])
        self._ids = np.array([c.id for c in classes], np.uint8)
        self._threshold = unknown_threshold
        self._queries = np.ascontiguousarray(text.lookup(queries).T)

    def __call__(self, features: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        """(V, D) unit rows -> label (V,), score (V,), margin (V,)."""
        by_class = np.maximum.reduceat(features @ self._text, self._first, axis=1)  # (V, classes)
        best = by_class.argmax(axis=1)
        rows = np.arange(len(best))
        score = by_class[rows, best]
        by_class[rows, best] = -np.inf
        # With a single class there is no second best, and its cosine cannot be lower than -1.
        margin = score - np.maximum(by_class.max(axis=1), -1.0)
        label = np.where(score >= self._threshold, self._ids[best], UNLABELLED).astype(np.uint8)
        return label, score, margin

    @property
    def queries(self) -> int:
        """Number of queries Q."""
        return self._queries.shape[1]

    def similarity(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(V, D) unit rows -> (V, Q) cosines with the queries."""
        return features @ self._queries


class Segmenter:
    """Labels points: voxelise, rulebook, student, scores."""

    def __init__(self, executor: Executor, preprocessing: Preprocessing, levels: int, scorer: ClassScorer) -> None:
        self.executor = executor
        self._preprocessing = preprocessing
        self._levels = levels
        self._scorer = scorer

    @classmethod
    def of_bundle(cls, bundle: Bundle, executor: Executor) -> "Segmenter":
        """The segmenter of a bundle's classes, run by an executor of the same bundle."""
        manifest = bundle.manifest
        scorer = ClassScorer(manifest.classes, bundle.text, manifest.unknown_threshold)
        return cls(executor, manifest.preprocessing, manifest.student.levels, scorer)

    def __call__(
        self, xyz_m: NDArray[np.float32], intensity: NDArray[np.float32] | None, scorer: ClassScorer | None = None
    ) -> Segmentation:
        """Labels one scan.

        Args:
            xyz_m: (N, 3) points in the sensor frame, metres; may hold NaN.
            intensity: (N,) in the sensor's unit, or None.
            scorer: other classes than the segmenter's own, for this scan.

        Raises:
            CloudError: shapes that do not fit together.
        """
        if xyz_m.ndim != 2 or xyz_m.shape[1] != 3 or (intensity is not None and intensity.shape != xyz_m.shape[:1]):
            shape = None if intensity is None else intensity.shape
            raise CloudError(f"points {xyz_m.shape}, intensity {shape}: expected (N, 3) and (N,) or None.")
        scorer = scorer or self._scorer
        clock = [time.perf_counter()]
        voxels = voxelise(xyz_m, intensity, self._preprocessing)
        clock.append(time.perf_counter())
        # One more row at the end answers for the points without a voxel, whose index is -1.
        label = np.full(len(voxels.coordinates) + 1, UNLABELLED, np.uint8)
        score = np.zeros(len(label), np.float32)
        margin = np.zeros(len(label), np.float32)
        similarity = np.zeros((len(label), scorer.queries), np.float32)
        if len(voxels.coordinates):
            rulebook = build_rulebook(voxels.coordinates, self._levels)
            clock.append(time.perf_counter())
            features = self.executor(voxels.features, rulebook)
            clock.append(time.perf_counter())
            label[:-1], score[:-1], margin[:-1] = scorer(features)
            if scorer.queries:
                similarity[:-1] = scorer.similarity(features)
            clock.append(time.perf_counter())
        stages = ("voxelise", "rulebook", "infer", "scores")
        timings = {stage: 1e3 * (end - start) for stage, start, end in zip(stages, clock, clock[1:], strict=False)}
        index = voxels.voxel_of_point
        return Segmentation(label[index], score[index], margin[index], timings, similarity[index])

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
from relidar.words import VoxelScores, Words


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
    """Milliseconds by stage: voxelise, rulebook, infer (network and scores of voxels), scores (labels, for every point)."""
    similarity: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """(N, Q) cosine with each query of the scorer; 0 where there was no voxel."""
    over_capacity: bool = False
    """Whether the scan was too large for the engine, so that the CPU answered."""


class ClassScorer:
    """What a scan is scored against, and the labels that follow from the scores. Immutable."""

    def __init__(
        self, classes: Sequence[ClassPrompts], text: TextBank, unknown_threshold: float, queries: Sequence[str] = ()
    ) -> None:
        """Takes the embeddings of prompts and of Q further queries from `text`; raises TextError for what it lacks."""
        self.words = Words.of_classes(classes, text, queries)
        self._ids = np.array([c.id for c in classes], np.uint8)
        self._threshold = unknown_threshold

    def labels(self, scores: VoxelScores) -> NDArray[np.uint8]:
        """(V,) id of each voxel's best class, 255 where that scores below the threshold."""
        return np.where(scores.score >= self._threshold, self._ids[scores.best], np.uint8(UNLABELLED))


class Segmenter:
    """Labels points: voxelise, rulebook, student, scores."""

    def __init__(
        self, executor: Executor, preprocessing: Preprocessing, levels: int, scorer: ClassScorer, threads: int = 0
    ) -> None:
        """Takes what a bundle holds, and the threads that voxels and rulebooks may use; 0 = one a core."""
        self.executor = executor
        self._preprocessing = preprocessing
        self._levels = levels
        self._scorer = scorer
        self._threads = threads

    @classmethod
    def of_bundle(cls, bundle: Bundle, executor: Executor, threads: int = 0) -> "Segmenter":
        """The segmenter of a bundle's classes, run by an executor of the same bundle; `threads` as of the constructor."""
        manifest = bundle.manifest
        scorer = ClassScorer(manifest.classes, bundle.text, manifest.unknown_threshold)
        return cls(executor, manifest.preprocessing, manifest.student.levels, scorer, threads)

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
        voxels = voxelise(xyz_m, intensity, self._preprocessing, self._threads)
        clock.append(time.perf_counter())
        # One more row at the end answers for the points without a voxel, whose index is -1.
        label = np.full(len(voxels.coordinates) + 1, UNLABELLED, np.uint8)
        score = np.zeros(len(label), np.float32)
        margin = np.zeros(len(label), np.float32)
        similarity = np.zeros((len(label), len(scorer.words.queries)), np.float32)
        over_capacity = False
        if len(voxels.coordinates):
            rulebook = build_rulebook(voxels.coordinates, self._levels, threads=self._threads)
            clock.append(time.perf_counter())
            answer = self.executor.scores(voxels.features, rulebook, scorer.words)
            clock.append(time.perf_counter())
            label[:-1], score[:-1], margin[:-1] = scorer.labels(answer), answer.score, answer.margin
            similarity[:-1] = answer.similarity
            over_capacity = answer.over_capacity
        index = voxels.voxel_of_point
        label, score, margin, similarity = label[index], score[index], margin[index], similarity[index]
        clock.append(time.perf_counter())
        stages = ("voxelise", "rulebook", "infer", "scores") if len(voxels.coordinates) else ("voxelise",)
        timings = {stage: 1e3 * (end - start) for stage, start, end in zip(stages, clock, clock[1:], strict=False)}
        return Segmentation(label, score, margin, timings, similarity, over_capacity)

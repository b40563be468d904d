"""The student in PyTorch as an executor: the reference that every exported form is compared with."""

import numpy as np
import torch
from numpy.typing import NDArray

from distill.checkpoint import StudentCheckpoint
from distill.sparse_conv import pair_tables
from distill.student import LEVELS, Student
from relidar.rulebook import Rulebook
from relidar.segmenter import ClassScorer, Segmenter
from relidar.words import VoxelScores, Words


class TorchExecutor:
    """Runs a student in evaluation mode, on the CPU."""

    name = "torch-pairs"

    def __init__(self, student: Student) -> None:
        self._student = student.eval()

    @torch.inference_mode()
    def __call__(self, features: NDArray[np.float32], rulebook: Rulebook) -> NDArray[np.float32]:
        """(V, C_in) and its tables -> (V, D) unit rows."""
        return self._student(torch.from_numpy(features), pair_tables(rulebook)).numpy()

    def scores(self, features: NDArray[np.float32], rulebook: Rulebook, words: Words) -> VoxelScores:
        """(V, C_in) and its tables -> what each voxel scores."""
        return words.scores(self(features, rulebook))


def student_segmenter(checkpoint: StudentCheckpoint) -> Segmenter:
    """The segmenter of a checkpoint that was not exported yet."""
    scorer = ClassScorer(checkpoint.prompt_set.classes, checkpoint.text, unknown_threshold=-1.0)
    return Segmenter(TorchExecutor(checkpoint.student), checkpoint.preprocessing, LEVELS, scorer)

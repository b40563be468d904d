"""The head folded into the words, so that prompts are compared with the last layer and no feature row is ever made.

With the head f = x W + b and a prompt's unit row t, the cosine is (x W t + b t) / |f|. W t is one column a prompt, C_in long
instead of D. The norm needs no row either: with the triangle R of a QR decomposition of [W b] (D, C_in + 1), |f| = |R [x 1]|,
which loses no precision as the quadratic form would.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relidar.compiled.fusion import Product
from relidar.compiled.kernel import COLUMNS
from relidar.compiled.places import Place, padded
from relidar.compiled.steps import SCORES, STEP
from relidar.compiled.weights import columns_of, pack
from relidar.words import VoxelScores, Words


@dataclass(frozen=True)
class FoldedWords:
    """One matrix of all that a row of the last layer is compared with: columns of the norm, prompts, queries."""

    words: Words
    weight: NDArray[np.float32]
    """(1, columns / COLUMNS, depth, COLUMNS)"""
    bias: NDArray[np.float32]
    """(columns,)"""
    norm_columns: int

    def step(self, rows: int, block_rows: int, answer: VoxelScores) -> NDArray[np.void]:
        """The step (1,) that fills in an answer; `x` and `x_stride` are left to the caller."""
        steps = np.zeros(1, STEP)
        step = steps[0]
        step["kind"], step["rows"], step["block_rows"], step["blocks"] = SCORES, rows, block_rows, -(-rows // block_rows)
        step["weight"], step["bias"] = self.weight.ctypes.data, self.bias.ctypes.data
        step["depth"], step["columns"] = self.weight.shape[2], len(self.bias)
        step["class_of_prompt"], step["prompts"] = self.words.class_of_prompt.ctypes.data, len(self.words.text)
        step["queries"], step["norm_columns"] = len(self.words.queries), self.norm_columns
        for name in ("best", "score", "margin", "similarity"):
            step[name] = getattr(answer, name).ctypes.data
        return steps


def fold(words: Words, head: Product, place: Place) -> FoldedWords:
    """Folds a head, the last product of a program, whose input lies at `place`."""
    weight, bias = head.weight[0].astype(np.float64), head.bias.astype(np.float64)  # (C_in, D), (D,)
    triangle = np.asarray(np.linalg.qr(np.vstack([weight, bias]).T, mode="r"))  # (min(D, C_in + 1), C_in + 1)
    norm_columns = padded(len(triangle), COLUMNS)
    text = np.concatenate([words.text, words.queries]).astype(np.float64).T  # (D, C + Q)
    matrix = np.zeros((len(weight), norm_columns + text.shape[1]))
    offset = np.zeros(matrix.shape[1])
    matrix[:, : len(triangle)], offset[: len(triangle)] = triangle[:, :-1].T, triangle[:, -1]
    matrix[:, norm_columns:], offset[norm_columns:] = weight @ text, bias @ text
    packed = pack(matrix[None].astype(np.float32), place)
    return FoldedWords(words, packed, columns_of(offset), norm_columns)


def empty_scores(words: Words, rows: int) -> VoxelScores:
    """An answer to be filled in."""
    score, margin = np.empty(rows, np.float32), np.empty(rows, np.float32)
    return VoxelScores(np.empty(rows, np.int32), score, margin, np.empty((rows, len(words.queries)), np.float32))

"""What the exported graphs are made of, and what the dense one takes and gives beside features and tables.

The words of a scan go in, the scores of its voxels come out.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from relidar.words import Words

OPSET = 17
"""The newest opset that TensorRT 8.6 to 11, TensorRT-RTX and every ONNX Runtime since 1.12 read; ScatterND(add) needs 16."""

TEXT = "text"
"""Input (C, D) float32, C from 1 to MOST_PROMPTS."""
CLASS_OF_PROMPT = "class_of_prompt"
"""Input (C,) int32."""
QUERIES = "queries"
"""Input (Q, D) float32, Q from 1 to MOST_QUERIES."""
WORD_INPUTS = (TEXT, CLASS_OF_PROMPT, QUERIES)

BEST, SCORE, MARGIN, SIMILARITY = "best", "score", "margin", "similarity"
SCORE_OUTPUTS = (BEST, SCORE, MARGIN, SIMILARITY)
"""The fields of `VoxelScores`, of its shapes and types."""


def word_inputs(words: Words) -> dict[str, NDArray[Any]]:
    """The inputs by name. Without a query there is one of zeros, since TensorRT takes no empty input."""
    queries = words.queries if len(words.queries) else np.zeros((1, words.text.shape[1]), np.float32)
    return {
        TEXT: np.ascontiguousarray(words.text),
        CLASS_OF_PROMPT: words.class_of_prompt,
        QUERIES: np.ascontiguousarray(queries),
    }

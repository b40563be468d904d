"""A block of rows against the words: the best two classes are kept while its products are in the cache."""

import numba
import numpy as np
from numba import carray

from relidar.compiled.products import add_f32, norm_of
from relidar.raw_memory import f32_at, i32_at

GROUP = 32
"""Prompts that are looked at together."""


@numba.njit(nogil=True, fastmath={"reassoc", "nnan", "nsz"})
def _largest(values, start, end):  # type: ignore[no-untyped-def]
    largest = values[start]
    for index in range(start + 1, end):
        largest = max(largest, values[index])
    return largest


@numba.njit(nogil=True)
def scores_of_block(step, block, every_row, scratch):  # type: ignore[no-untyped-def]
    """Runs a step of kind SCORES for one block; scratch holds block_rows x columns x 4 bytes."""
    start = block * step.block_rows
    rows = min(step.rows - start, step.block_rows)
    columns = step.columns
    x = step.x + start * step.x_stride
    add_f32(every_row, every_row, rows, x, step.x_stride, step.weight, step.depth, columns, scratch, 4 * columns, step.bias)
    class_of_prompt = carray(i32_at(step.class_of_prompt), step.prompts)
    best_of = carray(i32_at(step.best), step.rows)
    score_of = carray(f32_at(step.score), step.rows)
    margin_of = carray(f32_at(step.margin), step.rows)
    for row in range(rows):
        values = carray(f32_at(scratch + 4 * row * columns), columns)
        norm = norm_of(values, step.norm_columns)
        cosines = values[step.norm_columns : step.norm_columns + step.prompts]
        best, score, second = np.int32(0), np.float32(-np.inf), np.float32(-np.inf)
        for group in range(0, step.prompts, GROUP):
            end = min(group + GROUP, step.prompts)
            # Most groups hold neither of the best two, which vector code sees at once.
            if not _largest(cosines, group, end) > second:
                continue
            for prompt in range(group, end):
                value, index = cosines[prompt], class_of_prompt[prompt]
                if value > score:
                    second = second if index == best else score
                    score, best = value, index
                elif value > second and index != best:
                    second = value
        second = max(second, -norm)  # a cosine cannot be lower than -1, nor can that of a class that is not there
        best_of[start + row] = best
        score_of[start + row] = score / norm
        margin_of[start + row] = (score - second) / norm
        if step.queries:
            similarity = carray(f32_at(step.similarity + 4 * (start + row) * step.queries), step.queries)
            for query in range(step.queries):
                similarity[query] = values[step.norm_columns + step.prompts + query] / norm

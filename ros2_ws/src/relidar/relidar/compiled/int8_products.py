"""Products of gathered uint8 rows with int8 weights, one block of output rows at a time."""

import numba
import numpy as np
from numba import carray

from relidar.compiled.block_pairs import offset_of_turn, splits_of
from relidar.compiled.kernel import COLUMNS, INT8_ROWS, tile
from relidar.compiled.products import start_with_bias
from relidar.raw_memory import f32_at, i32_at, i64_at

INT8_DEPTH_CHUNK = 1024
"""Channels that are multiplied before the next panel's turn: their weights, 16 KB of 16 columns, stay in the nearest caches."""

_int8_1, _int8_2, _int8_3, _int8_4 = tile(1, "int8"), tile(2, "int8"), tile(3, "int8"), tile(4, "int8")


@numba.njit(nogil=True)
def _int8_rows(source, target, rows, x, x_stride, weight, depth, y, y_stride):  # type: ignore[no-untyped-def]
    """y[target] += x[source] @ weight for one panel of weights, y being int32."""
    while rows >= INT8_ROWS:
        _int8_4(source, target, x, x_stride, weight, depth, y, y_stride, 0)
        source += 4 * INT8_ROWS
        target += 4 * INT8_ROWS
        rows -= INT8_ROWS
    if rows == 3:
        _int8_3(source, target, x, x_stride, weight, depth, y, y_stride, 0)
    elif rows == 2:
        _int8_2(source, target, x, x_stride, weight, depth, y, y_stride, 0)
    elif rows == 1:
        _int8_1(source, target, x, x_stride, weight, depth, y, y_stride, 0)


@numba.njit(nogil=True)
def add_int8(source, target, rows, x, x_stride, weight, depth, columns, y, y_stride):  # type: ignore[no-untyped-def]
    """y[target] += x[source] @ weight, panel by panel, so that a panel meets all rows of the block while it is in the cache."""
    for panel in range(columns // COLUMNS):
        for start in range(0, depth, INT8_DEPTH_CHUNK):
            part = min(INT8_DEPTH_CHUNK, depth - start)
            at = weight + (panel * depth + start) * COLUMNS
            _int8_rows(source, target, rows, x + start, x_stride, at, part, y + panel * COLUMNS * 4, y_stride)


@numba.njit(nogil=True)
def int8_product(step, block, every_row, y, y_stride, sums):  # type: ignore[no-untyped-def]
    """Bias and products of a step for one block, in float32 rows of y; sums is memory of int32, block_rows x columns."""
    start = block * step.block_rows
    rows, columns = min(step.rows - start, step.block_rows), step.columns
    start_with_bias(step.bias, columns, every_row, rows, y, y_stride)
    origin = sums - start * columns * 4
    itself = every_row + 4 * start
    carray(i32_at(sums), rows * columns)[:] = 0
    if step.splits:
        splits = carray(i64_at(step.splits), (step.blocks, splits_of(step.offsets)))
        for turn in range(step.offsets):
            first, pairs = splits[block, 2 * turn], splits[block, 2 * turn + 2] - splits[block, 2 * turn]
            if pairs:
                weight = step.weight + offset_of_turn(turn, step.offsets) * step.depth * columns
                source, target = step.source + 4 * first, step.target + 4 * first
                add_int8(source, target, pairs, step.x, step.x_stride, weight, step.depth, columns, origin, 4 * columns)
    else:
        add_int8(itself, itself, rows, step.x, step.x_stride, step.weight, step.depth, columns, origin, 4 * columns)
    _add_scaled(sums, step.scale, rows, columns, y, y_stride)
    if step.shortcut:
        carray(i32_at(sums), rows * columns)[:] = 0
        x, stride, depth = step.shortcut, step.shortcut_stride, step.shortcut_depth
        add_int8(itself, itself, rows, x, stride, step.shortcut_weight, depth, columns, origin, 4 * columns)
        _add_scaled(sums, step.shortcut_scale, rows, columns, y, y_stride)


@numba.njit(nogil=True)
def _add_scaled(sums, scale, rows, columns, y, y_stride):  # type: ignore[no-untyped-def]
    factors = carray(f32_at(scale), columns)
    for row in range(rows):
        row_of_sums = carray(i32_at(sums + 4 * row * columns), columns)
        values = carray(f32_at(y + row * y_stride), columns)
        for column in range(columns):
            values[column] += np.float32(row_of_sums[column]) * factors[column]

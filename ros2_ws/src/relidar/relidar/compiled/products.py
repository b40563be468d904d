"""Products of gathered rows with weights in single precision, one block of output rows at a time."""

from typing import Any

import numba
import numpy as np
from numba import carray

from relidar.compiled.block_pairs import offset_of_turn, splits_of
from relidar.compiled.kernel import COLUMNS, F32_ROWS, tile
from relidar.program import SMALLEST_NORM
from relidar.raw_memory import f32_at, i32_at, i64_at, prefetch

F32_DEPTH_CHUNK = 256
"""Channels that are multiplied before the next panel's turn: their weights, 16 KB of 16 columns, stay in the nearest caches."""
F32_ROWS_CHUNK = 36
"""Rows that meet all panels before the next rows' turn, so that they stay in the first-level cache too; whole tiles."""


@numba.njit(nogil=True)
def _fetch(source, x, x_stride, line_bytes):  # type: ignore[no-untyped-def]
    rows = carray(i32_at(source), F32_ROWS)
    for row in range(F32_ROWS):
        start = x + rows[row] * x_stride
        for line in range(0, line_bytes, 64):
            prefetch(start + line)


def _rows_function(kind: str) -> Any:
    tile_1, tile_2, tile_3, tile_4, tile_5, tile_6 = (tile(rows, kind) for rows in range(1, F32_ROWS + 1))

    @numba.njit(nogil=True)
    def rows_of_panel(source, target, rows, x, x_stride, weight, depth, y, y_stride, bias, ahead):  # type: ignore[no-untyped-def]
        while rows == F32_ROWS or rows >= 10:
            if ahead:
                _fetch(source + 4 * F32_ROWS, x, x_stride, ahead)
            tile_6(source, target, x, x_stride, weight, depth, y, y_stride, bias)
            source += 4 * F32_ROWS
            target += 4 * F32_ROWS
            rows -= F32_ROWS
        # Fewer than 4 rows take as long as 4 do: 7 are quicker as 4 + 3 than as 6 + 1.
        if rows == 5 or rows == 9:
            tile_5(source, target, x, x_stride, weight, depth, y, y_stride, bias)
            source += 20
            target += 20
            rows -= 5
        if rows == 4 or rows >= 7:
            tile_4(source, target, x, x_stride, weight, depth, y, y_stride, bias)
            source += 16
            target += 16
            rows -= 4
        if rows == 4:
            tile_4(source, target, x, x_stride, weight, depth, y, y_stride, bias)
        elif rows == 3:
            tile_3(source, target, x, x_stride, weight, depth, y, y_stride, bias)
        elif rows == 2:
            tile_2(source, target, x, x_stride, weight, depth, y, y_stride, bias)
        elif rows == 1:
            tile_1(source, target, x, x_stride, weight, depth, y, y_stride, bias)

    return rows_of_panel


_add_rows, _start_rows = _rows_function("f32"), _rows_function("f32_start")


@numba.njit(nogil=True)
def add_f32(source, target, rows, x, x_stride, weight, depth, columns, y, y_stride, bias):  # type: ignore[no-untyped-def]
    """y[target] += x[source] @ weight; with the address of a bias, y[target] = bias + x[source] @ weight."""
    while rows > 0:
        # A few rows more are no chunk of their own: they would make poor tiles.
        count = F32_ROWS_CHUNK if rows >= F32_ROWS_CHUNK + F32_ROWS else rows
        for panel in range(columns // COLUMNS):
            at_y, at_bias = y + panel * COLUMNS * 4, bias + panel * COLUMNS * 4
            for start in range(0, depth, F32_DEPTH_CHUNK):
                part = min(F32_DEPTH_CHUNK, depth - start)
                at, at_x = weight + (panel * depth + start) * COLUMNS * 4, x + 4 * start
                ahead = 0 if panel else 4 * part
                if bias and not start:
                    _start_rows(source, target, count, at_x, x_stride, at, part, at_y, y_stride, at_bias, ahead)
                else:
                    _add_rows(source, target, count, at_x, x_stride, at, part, at_y, y_stride, 0, ahead)
        source += 4 * count
        target += 4 * count
        rows -= count


@numba.njit(nogil=True)
def start_with_bias(bias, columns, target, rows, y, y_stride):  # type: ignore[no-untyped-def]
    """y[target] = bias."""
    values, targets = carray(f32_at(bias), columns), carray(i32_at(target), rows)
    for index in range(rows):
        row = carray(f32_at(y + targets[index] * y_stride), columns)
        for column in range(columns):
            row[column] = values[column]


@numba.njit(nogil=True, fastmath={"reassoc"})
def norm_of(values, columns):  # type: ignore[no-untyped-def]
    """Length of a row, at least SMALLEST_NORM; summed up lane by lane, as one by one takes longer than the product."""
    total = np.float32(0)
    for column in range(columns):
        total += values[column] * values[column]
    return max(np.float32(np.sqrt(total)), np.float32(SMALLEST_NORM))


@numba.njit(nogil=True)
def f32_product(step, block, every_row, y, y_stride):  # type: ignore[no-untyped-def]
    """Bias and products of a step for one block, in float32 rows of y, the first row of the block being at y."""
    start = block * step.block_rows
    rows, columns = min(step.rows - start, step.block_rows), step.columns
    origin = y - start * y_stride
    itself = every_row + 4 * start
    if step.splits:
        splits = carray(i64_at(step.splits), (step.blocks, splits_of(step.offsets)))
        for turn in range(step.offsets):
            weight = step.weight + offset_of_turn(turn, step.offsets) * step.depth * columns * 4
            bias = step.bias
            for part in range(2 * turn, 2 * turn + 2):
                first, pairs = splits[block, part], splits[block, part + 1] - splits[block, part]
                if pairs:
                    source, target = step.source + 4 * first, step.target + 4 * first
                    add_f32(source, target, pairs, step.x, step.x_stride, weight, step.depth, columns, origin, y_stride, bias)
                bias = 0
        first = splits[block, 2 * step.offsets]
        alone = splits[block, 2 * step.offsets + 1] - first
        start_with_bias(step.bias, columns, step.target + 4 * first, alone, origin, y_stride)
    else:
        add_f32(itself, itself, rows, step.x, step.x_stride, step.weight, step.depth, columns, origin, y_stride, step.bias)
    if step.shortcut:
        x, stride, depth = step.shortcut, step.shortcut_stride, step.shortcut_depth
        add_f32(itself, itself, rows, x, stride, step.shortcut_weight, depth, columns, origin, y_stride, 0)

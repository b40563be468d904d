"""Products of gathered rows with weights, one block of output rows at a time."""

import numba
import numpy as np
from numba import carray

from relidar.compiled.kernel import COLUMNS, F32_ROWS, INT8_ROWS, tile
from relidar.compiled.memory import f32_at, i32_at, i64_at, prefetch
from relidar.program import SMALLEST_NORM

F32_DEPTH_CHUNK = 256
INT8_DEPTH_CHUNK = 1024
"""Channels that are multiplied before the next panel's turn: their weights, 16 KB, stay in the first-level cache."""

_tile_1, _tile_2, _tile_3 = tile(1, "f32"), tile(2, "f32"), tile(3, "f32")
_tile_4, _tile_5, _tile_6 = tile(4, "f32"), tile(5, "f32"), tile(6, "f32")


@numba.njit(nogil=True)
def _fetch(source, x, x_stride, line_bytes):  # type: ignore[no-untyped-def]
    rows = carray(i32_at(source), F32_ROWS)
    for row in range(F32_ROWS):
        start = x + rows[row] * x_stride
        for line in range(0, line_bytes, 64):
            prefetch(start + line)


@numba.njit(nogil=True)
def _f32_rows(source, target, rows, x, x_stride, weight, depth, y, y_stride, ahead):  # type: ignore[no-untyped-def]
    """y[target] += x[source] @ weight for one panel of weights."""
    while rows == F32_ROWS or rows >= 10:
        if ahead:
            _fetch(source + 4 * F32_ROWS, x, x_stride, ahead)
        _tile_6(source, target, x, x_stride, weight, depth, y, y_stride)
        source += 4 * F32_ROWS
        target += 4 * F32_ROWS
        rows -= F32_ROWS
    # Fewer than 4 rows take as long as 4 do: 7 are quicker as 4 + 3 than as 6 + 1.
    if rows == 5 or rows == 9:
        _tile_5(source, target, x, x_stride, weight, depth, y, y_stride)
        source += 20
        target += 20
        rows -= 5
    if rows == 4 or rows >= 7:
        _tile_4(source, target, x, x_stride, weight, depth, y, y_stride)
        source += 16
        target += 16
        rows -= 4
    if rows == 4:
        _tile_4(source, target, x, x_stride, weight, depth, y, y_stride)
    elif rows == 3:
        _tile_3(source, target, x, x_stride, weight, depth, y, y_stride)
    elif rows == 2:
        _tile_2(source, target, x, x_stride, weight, depth, y, y_stride)
    elif rows == 1:
        _tile_1(source, target, x, x_stride, weight, depth, y, y_stride)


_int8_1, _int8_2, _int8_3, _int8_4 = tile(1, "int8"), tile(2, "int8"), tile(3, "int8"), tile(4, "int8")


@numba.njit(nogil=True)
def _int8_rows(source, target, rows, x, x_stride, weight, depth, y, y_stride):  # type: ignore[no-untyped-def]
    """The same of uint8 rows and int8 weights, the sums being int32."""
    while rows >= INT8_ROWS:
        _int8_4(source, target, x, x_stride, weight, depth, y, y_stride)
        source += 4 * INT8_ROWS
        target += 4 * INT8_ROWS
        rows -= INT8_ROWS
    if rows == 3:
        _int8_3(source, target, x, x_stride, weight, depth, y, y_stride)
    elif rows == 2:
        _int8_2(source, target, x, x_stride, weight, depth, y, y_stride)
    elif rows == 1:
        _int8_1(source, target, x, x_stride, weight, depth, y, y_stride)


@numba.njit(nogil=True)
def add_f32(source, target, rows, x, x_stride, weight, depth, columns, y, y_stride):  # type: ignore[no-untyped-def]
    """y[target] += x[source] @ weight, panel by panel, so that a panel meets all rows of the block while it is in the cache."""
    for panel in range(columns // COLUMNS):
        for start in range(0, depth, F32_DEPTH_CHUNK):
            part = min(F32_DEPTH_CHUNK, depth - start)
            at = weight + (panel * depth + start) * COLUMNS * 4
            ahead = 0 if panel else 4 * part
            _f32_rows(source, target, rows, x + 4 * start, x_stride, at, part, y + panel * COLUMNS * 4, y_stride, ahead)


@numba.njit(nogil=True)
def add_int8(source, target, rows, x, x_stride, weight, depth, columns, y, y_stride):  # type: ignore[no-untyped-def]
    """The same of uint8 rows and int8 weights, the sums being int32."""
    for panel in range(columns // COLUMNS):
        for start in range(0, depth, INT8_DEPTH_CHUNK):
            part = min(INT8_DEPTH_CHUNK, depth - start)
            at = weight + (panel * depth + start) * COLUMNS
            _int8_rows(source, target, rows, x + start, x_stride, at, part, y + panel * COLUMNS * 4, y_stride)


@numba.njit(nogil=True)
def start_with_bias(bias, columns, rows, y, y_stride):  # type: ignore[no-untyped-def]
    """Every row of y = bias."""
    values = carray(f32_at(bias), columns)
    for row in range(rows):
        carray(f32_at(y + row * y_stride), columns)[:] = values


@numba.njit(nogil=True, fastmath={"reassoc"})
def norm_of(values, columns):  # type: ignore[no-untyped-def]
    """Length of a row, at least SMALLEST_NORM; summed up lane by lane, as one by one takes longer than the product."""
    total = np.float32(0)
    for column in range(columns):
        total += values[column] * values[column]
    return max(np.float32(np.sqrt(total)), np.float32(SMALLEST_NORM))


@numba.njit(nogil=True)
def f32_product(step, block, every_row, y, y_stride):  # type: ignore[no-untyped-def]
    """Adds a step's products for one block to float32 rows of y, the first row of the block being at y."""
    start = block * step.block_rows
    rows, columns = min(step.rows - start, step.block_rows), step.columns
    origin = y - start * y_stride
    itself = every_row + 4 * start
    if step.splits:
        splits = carray(i64_at(step.splits), (step.blocks, step.offsets + 1))
        for offset in range(step.offsets):
            first, pairs = splits[block, offset], splits[block, offset + 1] - splits[block, offset]
            if pairs:
                weight = step.weight + offset * step.depth * columns * 4
                source, target = step.source + 4 * first, step.target + 4 * first
                add_f32(source, target, pairs, step.x, step.x_stride, weight, step.depth, columns, origin, y_stride)
    else:
        add_f32(itself, itself, rows, step.x, step.x_stride, step.weight, step.depth, columns, origin, y_stride)
    if step.shortcut:
        x, stride, depth = step.shortcut, step.shortcut_stride, step.shortcut_depth
        add_f32(itself, itself, rows, x, stride, step.shortcut_weight, depth, columns, origin, y_stride)


@numba.njit(nogil=True)
def int8_product(step, block, every_row, y, y_stride, sums):  # type: ignore[no-untyped-def]
    """The same from uint8 rows; sums is memory of int32, block_rows x columns."""
    start = block * step.block_rows
    rows, columns = min(step.rows - start, step.block_rows), step.columns
    origin = sums - start * columns * 4
    itself = every_row + 4 * start
    carray(i32_at(sums), rows * columns)[:] = 0
    if step.splits:
        splits = carray(i64_at(step.splits), (step.blocks, step.offsets + 1))
        for offset in range(step.offsets):
            first, pairs = splits[block, offset], splits[block, offset + 1] - splits[block, offset]
            if pairs:
                weight = step.weight + offset * step.depth * columns
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

"""One layer for one block of rows: bias, products, and all that happens to the rows while they are in the cache."""

import numba
import numpy as np
from numba import carray

from relidar.compiled.int8_products import int8_product
from relidar.compiled.products import f32_product, norm_of
from relidar.compiled.steps import INT8_PRODUCT
from relidar.raw_memory import f32_at, u8_at


@numba.njit(nogil=True)
def layer_of_block(step, block, every_row, scratch):  # type: ignore[no-untyped-def]
    """Runs a step of kind PRODUCT or INT8_PRODUCT for one block; scratch: `Plan.scratch_size` bytes."""
    start = block * step.block_rows
    rows, columns = min(step.rows - start, step.block_rows), step.columns
    output = step.output + start * step.output_stride
    # Rows that end as uint8 are summed up elsewhere.
    y, y_stride = (scratch, 4 * columns) if step.int8_output else (output, step.output_stride)
    if step.kind == INT8_PRODUCT:
        int8_product(step, block, every_row, y, y_stride, scratch + 4 * step.block_rows * columns)
    else:
        f32_product(step, block, every_row, y, y_stride)
    residual = step.residual + start * step.residual_stride if step.residual else 0
    if residual and step.int8_residual:
        _add_steps(residual, step.residual_stride, carray(f32_at(step.factors), 2)[0], rows, columns, y, y_stride)
        residual = 0
    if residual or step.relu:
        _add_and_clip(residual, step.residual_stride, step.relu, rows, columns, y, y_stride)
    if step.unit_columns:
        _make_unit(step.unit_columns, rows, columns, y, y_stride)
    if step.int8_output:
        _round(carray(f32_at(step.factors), 2)[1], rows, columns, y, y_stride, output, step.output_stride)


@numba.njit(nogil=True)
def _add_and_clip(residual, residual_stride, relu, rows, columns, y, y_stride):  # type: ignore[no-untyped-def]
    """Adds rows as they are, where `residual` is their address; negative values to 0, where `relu`."""
    lowest = np.float32(0) if relu else np.float32(-np.inf)
    for row in range(rows):
        values = carray(f32_at(y + row * y_stride), columns)
        if residual:
            added = carray(f32_at(residual + row * residual_stride), columns)
            for column in range(columns):
                value = values[column] + added[column]
                values[column] = lowest if value < lowest else value  # a NaN stays one
        else:
            for column in range(columns):
                value = values[column]
                values[column] = lowest if value < lowest else value


@numba.njit(nogil=True)
def _add_steps(residual, residual_stride, factor, rows, columns, y, y_stride):  # type: ignore[no-untyped-def]
    """Adds rows of uint8 steps."""
    for row in range(rows):
        values = carray(f32_at(y + row * y_stride), columns)
        steps = carray(u8_at(residual + row * residual_stride), columns)
        for column in range(columns):
            values[column] += factor * np.float32(steps[column])


@numba.njit(nogil=True)
def _make_unit(unit_columns, rows, columns, y, y_stride):  # type: ignore[no-untyped-def]
    """Rows of unit length, over so many columns."""
    for row in range(rows):
        values = carray(f32_at(y + row * y_stride), columns)
        factor = np.float32(1) / norm_of(values, unit_columns)
        for column in range(columns):
            values[column] *= factor


@numba.njit(nogil=True)
def _round(steps_of_unit, rows, columns, y, y_stride, output, output_stride):  # type: ignore[no-untyped-def]
    """Rows of uint8 steps from rows that are not negative."""
    for row in range(rows):
        values = carray(f32_at(y + row * y_stride), columns)
        rounded = carray(u8_at(output + row * output_stride), columns)
        for column in range(columns):
            rounded[column] = np.uint8(np.int32(min(values[column] * steps_of_unit + np.float32(0.5), np.float32(255))))

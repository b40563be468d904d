"""One layer for one block of rows: bias, products, and all that happens to the rows while they are in the cache."""

import numba
import numpy as np
from numba import carray

from relidar.compiled.memory import f32_at, u8_at
from relidar.compiled.products import f32_product, int8_product, norm_of, start_with_bias
from relidar.compiled.steps import INT8_PRODUCT


@numba.njit(nogil=True)
def layer_of_block(step, block, every_row, scratch):  # type: ignore[no-untyped-def]
    """Runs a step of kind PRODUCT or INT8_PRODUCT for one block; scratch: `Plan.scratch_size` bytes, in int8."""
    start = block * step.block_rows
    rows, columns = min(step.rows - start, step.block_rows), step.columns
    output = step.output + start * step.output_stride
    # Rows that end as uint8 are summed up elsewhere.
    y, y_stride = (scratch, 4 * columns) if step.int8_output else (output, step.output_stride)
    start_with_bias(step.bias, columns, rows, y, y_stride)
    if step.kind == INT8_PRODUCT:
        int8_product(step, block, every_row, y, y_stride, scratch + 4 * step.block_rows * columns)
    else:
        f32_product(step, block, every_row, y, y_stride)
    for row in range(rows):
        values = carray(f32_at(y + row * y_stride), columns)
        if step.residual:
            _add_residual(step, start + row, values)
        if step.relu:
            for column in range(columns):
                value = values[column]
                values[column] = np.float32(0) if value < 0 else value  # a NaN stays one
        if step.unit_columns:
            factor = np.float32(1) / norm_of(values, step.unit_columns)
            for column in range(columns):
                values[column] *= factor
        if step.int8_output:
            steps_of_unit = carray(f32_at(step.factors), 2)[1]
            rounded = carray(u8_at(output + row * step.output_stride), columns)
            for column in range(columns):
                rounded[column] = np.uint8(np.int32(min(values[column] * steps_of_unit + np.float32(0.5), np.float32(255))))


@numba.njit(nogil=True)
def _add_residual(step, row, values):  # type: ignore[no-untyped-def]
    address = step.residual + row * step.residual_stride
    if step.int8_residual:
        factor = carray(f32_at(step.factors), 2)[0]
        steps = carray(u8_at(address), step.columns)
        for column in range(step.columns):
            values[column] += factor * np.float32(steps[column])
    else:
        residual = carray(f32_at(address), step.columns)
        for column in range(step.columns):
            values[column] += residual[column]

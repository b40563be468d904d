"""One step as the compiled code reads it: a record of addresses, counts, and strides in bytes."""

import numpy as np

PAIRS, PRODUCT, INT8_PRODUCT, SCORES = range(4)
"""Kinds of steps."""
STEP = np.dtype(
    [
        (name, np.int64)
        for name in (
            # Of every step: output rows, cut into blocks.
            *("kind", "rows", "block_rows", "blocks"),
            # The pairs of a table (rows, offsets), and where the parts of each block start: `splits` (blocks, 2 * offsets + 2),
            # of which `block_pairs` says more.
            *("table", "table_rows", "offsets", "source", "target", "splits"),
            # x (any rows, depth) times weight (offsets, columns / COLUMNS, depth, COLUMNS), plus bias (columns,).
            *("x", "x_stride", "depth", "weight", "bias", "columns", "output", "output_stride"),
            # A second product over each row itself, and rows that are added as they are; address 0 for none.
            *("shortcut", "shortcut_stride", "shortcut_depth", "shortcut_weight", "residual", "residual_stride"),
            # What ends a product: negative values to 0; rows of unit length, over so many columns.
            *("relu", "unit_columns"),
            # Int8: float32 factors of the sums (columns,) and of the shortcut's; whether residual and output are uint8; and
            # float32 (2,): what one step of the residual stands for, and how many steps of the output a unit is.
            *("scale", "shortcut_scale", "int8_residual", "int8_output", "factors"),
            # Scores: each prompt's class (int32), the columns whose squares are the norm's, and where the answers go.
            *("class_of_prompt", "prompts", "queries", "norm_columns", "best", "score", "margin", "similarity"),
        )
    ]
)
MEETINGS, FAULTS, COUNTERS = 0, 1, 2
"""Places in the int64 array that the threads share: arrivals, table entries without a row, a counter of blocks for each step."""

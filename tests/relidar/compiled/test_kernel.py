"""One tile against the sums that it stands for."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relidar.compiled import kernel
from relidar.compiled.kernel import COLUMNS, DEPTH_UNIT, F32_ROWS, INT8_ROWS, tile

F32 = [tile(rows, "f32") for rows in range(1, F32_ROWS + 1)]
F32_START = [tile(rows, "f32_start") for rows in range(1, F32_ROWS + 1)]
INT8 = [tile(rows, "int8") for rows in range(1, INT8_ROWS + 1)]


def call(
    function: object,
    source: np.ndarray,
    target: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    y: np.ndarray,
    bias: np.ndarray | None = None,
) -> None:
    @numba.njit
    def go(source, target, x, x_stride, weight, depth, y, y_stride, bias):  # type: ignore[no-untyped-def]
        function(source, target, x, x_stride, weight, depth, y, y_stride, bias)

    addresses = [array.ctypes.data for array in (source, target, x)]
    start = 0 if bias is None else bias.ctypes.data
    go(*addresses, x.strides[0], weight.ctypes.data, x.shape[1], y.ctypes.data, y.strides[0], start)


@pytest.mark.parametrize("rows", range(1, F32_ROWS + 1))
@pytest.mark.parametrize("starts", [False, True])
def test_f32_tiles_add_the_products_of_their_rows_or_start_with_them(rows: int, starts: bool) -> None:
    random = np.random.default_rng(rows)
    source, target = random.integers(0, 9, rows).astype(np.int32), random.permutation(8)[:rows].astype(np.int32)
    x = random.normal(size=(9, 3 * DEPTH_UNIT)).astype(np.float32)
    weight = random.normal(size=(3 * DEPTH_UNIT, COLUMNS)).astype(np.float32)
    y = random.normal(size=(8, COLUMNS + 5)).astype(np.float32)
    bias = random.normal(size=COLUMNS).astype(np.float32)
    expected = y.astype(np.float64)
    for s, t in zip(source, target, strict=True):
        expected[t, :COLUMNS] = (bias if starts else expected[t, :COLUMNS]) + x[s].astype(np.float64) @ weight
    y[target] = np.nan if starts else y[target]
    expected[target, COLUMNS:] = y[target, COLUMNS:]
    call((F32_START if starts else F32)[rows - 1], source, target, x, weight, y, bias)
    np.testing.assert_allclose(y, expected, atol=1e-5)


# Each number of rows is compiled anew, which takes seconds.
MIDDLE = [pytest.param(rows, marks=pytest.mark.slow) for rows in range(2, INT8_ROWS)]


@pytest.mark.parametrize("rows", [1, *MIDDLE, INT8_ROWS])
@settings(max_examples=5, deadline=None)
@given(st.sampled_from([None, (255, 63), (255, -63)]), st.integers(0, 2**32 - 1))
def test_int8_tiles_are_exact_up_to_the_largest_values(rows: int, extreme: tuple[int, int] | None, seed: int) -> None:
    random = np.random.default_rng(seed)
    source, target = random.integers(0, 9, rows).astype(np.int32), random.permutation(8)[:rows].astype(np.int32)
    depth = 8 * DEPTH_UNIT
    x = random.integers(0, 256, (9, depth)).astype(np.uint8)
    weight = random.integers(-63, 64, (depth, COLUMNS)).astype(np.int8)
    if extreme is not None:
        x[:], weight[:] = extreme
    packed = np.ascontiguousarray(weight.reshape(-1, 4, COLUMNS).transpose(0, 2, 1))
    y = random.integers(-9, 9, (8, COLUMNS)).astype(np.int32)
    expected = y.astype(np.int64)
    for s, t in zip(source, target, strict=True):
        expected[t] += x[s].astype(np.int64) @ weight.astype(np.int64)
    call(INT8[rows - 1], source, target, x, packed, y)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("lacking", [("avx512vnni",), ("avx512vnni", "avx512bw", "avx2")], ids=["pairs", "plain"])
def test_int8_is_the_same_on_a_processor_that_lacks_instructions(
    lacking: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    rows = np.arange(2, dtype=np.int32)
    x = random.integers(0, 256, (2, 4 * DEPTH_UNIT)).astype(np.uint8)
    weight = random.integers(-63, 64, (DEPTH_UNIT, COLUMNS, 4)).astype(np.int8)
    answers = []
    for features in (kernel._FEATURES, {name: there for name, there in kernel._FEATURES.items() if name not in lacking}):
        monkeypatch.setattr(kernel, "_FEATURES", features)
        y = np.zeros((2, COLUMNS), np.int32)
        call(tile(2, "int8"), rows, rows, x, weight, y)
        answers.append(y)
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("functions", [F32, F32_START], ids=["adds", "starts"])
def test_a_row_is_the_same_to_the_bit_in_every_tile(functions: list[object]) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(F32_ROWS, 40)).astype(np.float32)
    weight = random.normal(size=(40, COLUMNS)).astype(np.float32)
    bias = random.normal(size=COLUMNS).astype(np.float32)
    rows = np.arange(F32_ROWS, dtype=np.int32)
    answers = []
    for function in functions:
        y = np.zeros((F32_ROWS, COLUMNS), np.float32)
        call(function, rows, rows, x, weight, y, bias)
        answers.append(y[0])
    assert all(np.array_equal(answer, answers[0]) for answer in answers)

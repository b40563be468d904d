"""The innermost loop of the compiled executor: a few gathered rows times one panel of weights, held in vector registers.

numba's loops do not stay in registers over gathered rows, so these functions are written as LLVM IR: plain vectors and
multiply-adds, which LLVM lowers for whatever processor it runs on. A tile is up to F32_ROWS rows by COLUMNS columns, as many sums
as there are registers for:

  y[target[r], 0:COLUMNS] += sum over c of x[source[r], c] * weight[c, 0:COLUMNS]     for the rows r of the tile

The rows of x are read where they lie. Each row's sum runs over c in order and meets y once, so it is the same to the bit whatever
rows it shares a tile with. A tile that starts its rows has `=` for `+=`, and its sums begin with a bias. The rows of y are asked
for before the loop, so that they are in the cache after it. All arguments are addresses and strides in bytes; nothing is checked
here, but by those who made them.

In int8 activations are 0..255 and weights -63..63: the sum of two products fits into 16 bits (2 x 255 x 63 < 2^15). So on any
processor they are multiplied and added up in 16 bits, vpmaddubsw of AVX2 and AVX-512, which does both, never saturates, and four
products a lane cost two multiplications instead of four. AVX-512 VNNI has one instruction for all four.
"""

from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from relidar.raw_memory import emit_prefetch

_FEATURES: dict[str, bool] = dict(llvmlite.binding.get_host_cpu_features())
LANES = 16 if _FEATURES.get("avx512f") else 8 if _FEATURES.get("avx") else 4
"""float32 values of a vector register."""
VECTORS = 2
COLUMNS = VECTORS * LANES
"""Columns of a tile and of a packed panel of weights."""
F32_ROWS = 6
"""12 sums, 2 weights and a broadcast value: 15 of the 16 registers of AVX2."""
INT8_ROWS = 4
"""8 sums, 2 weights, a broadcast value, a product and a vector of ones."""
LARGEST_ACTIVATION, LARGEST_WEIGHT = 255, 63
"""Of int8 products."""
DEPTH_UNIT = 4
"""The depth of a product is padded to a multiple of this."""

_I8, _I16, _I32, _I64, _F32 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
_Builder = Any


def tile(rows: int, kind: str) -> Callable[..., None]:
    """A function for numba: (source, target, x, x_stride, weight, depth, y, y_stride, bias), all int64, for one tile of rows.

    `source` and `target` are addresses of int32 rows; strides are in bytes, depth is a multiple of DEPTH_UNIT.
    kind "f32": x, weight (depth, COLUMNS) and y are float32; the bias is not read.
    kind "f32_start": y starts with the bias (COLUMNS,).
    kind "int8": x is uint8, weight (depth / 4, COLUMNS, 4) int8, y int32; the bias is not read.
    """
    emit = {"f32": _f32_tile, "f32_start": _f32_start_tile, "int8": _int8_tile}[kind]

    @intrinsic
    def call_tile(typing_context, source, target, x, x_stride, weight, depth, y, y_stride, bias):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            name = f"relidar_{kind}_tile_{rows}"
            function = builder.module.globals.get(name)
            if function is None:
                function = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [_I64] * 9), name)
                function.linkage = "internal"
                function.attributes.add("noinline")
                emit(function, rows)
            builder.call(function, arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9), generate

    result: Callable[..., None] = call_tile
    return result


def _f32_start_tile(function: ir.Function, rows: int) -> None:
    _f32_tile(function, rows, starts=True)


def _f32_tile(function: ir.Function, rows: int, starts: bool = False) -> None:
    vector = ir.VectorType(_F32, LANES)

    def products(builder: _Builder, x: list[Any], weight: Any, sums: list[Any], position: Any) -> list[Any]:
        """Adds DEPTH_UNIT channels, from `position` on."""
        for step in range(DEPTH_UNIT):
            channel = builder.add(position, _I64(step))
            at = builder.add(weight, builder.mul(channel, _I64(4 * COLUMNS)))
            columns = [_load(builder, builder.add(at, _I64(4 * LANES * v)), vector) for v in range(VECTORS)]
            for row in range(rows):
                value = _splat(builder, _load(builder, builder.add(x[row], builder.mul(channel, _I64(4))), _F32), LANES)
                for v in range(VECTORS):
                    index = row * VECTORS + v
                    sums[index] = _call(builder, f"llvm.fmuladd.v{LANES}f32", vector, [value, columns[v], sums[index]])
        return sums

    _emit(function, rows, vector, products, None if starts else lambda builder, old, new: builder.fadd(old, new))


def _int8_tile(function: ir.Function, rows: int) -> None:
    vector = ir.VectorType(_I32, LANES)

    def products(builder: _Builder, x: list[Any], weight: Any, sums: list[Any], position: Any) -> list[Any]:
        at = builder.add(weight, builder.mul(position, _I64(COLUMNS)))
        packed = ir.VectorType(_I8, 4 * LANES)
        columns = [_load(builder, builder.add(at, _I64(4 * LANES * v)), packed) for v in range(VECTORS)]
        for row in range(rows):
            four = _load(builder, builder.add(x[row], position), _I32)
            value = builder.bitcast(_splat(builder, four, LANES), packed)
            for v in range(VECTORS):
                index = row * VECTORS + v
                sums[index] = _add_four(builder, sums[index], value, columns[v])
        return sums

    _emit(function, rows, vector, products, lambda builder, old, new: builder.add(old, new))


def _add_four(builder: _Builder, total: Any, activations: Any, weights: Any) -> Any:
    """Adds the sums of four neighbouring products, <4 LANES x i8> each, to <LANES x i32>."""
    bits = 32 * LANES
    if bits == 512 and _FEATURES.get("avx512vnni"):
        return _call(builder, "llvm.x86.avx512.vpdpbusd.512", total.type, [total, activations, weights])
    names = _PAIRS_AND_FOURS.get(bits)
    if names and _FEATURES.get(names[0]):
        wide = ir.VectorType(_I16, 2 * LANES)
        pairs = _call(builder, names[1], wide, [activations, weights])
        fours = _call(builder, names[2], total.type, [pairs, ir.Constant(wide, [1] * (2 * LANES))])
        return builder.add(total, fours)
    every = ir.VectorType(_I16, 4 * LANES)
    products = builder.mul(builder.zext(activations, every), builder.sext(weights, every))
    pairs = builder.sext(_neighbours_added(builder, products), ir.VectorType(_I32, 2 * LANES))
    return builder.add(total, _neighbours_added(builder, pairs))


_PAIRS_AND_FOURS = {
    256: ("avx2", "llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd"),
    512: ("avx512bw", "llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512"),
}
"""By bits of a vector: the feature, and its instructions that add up two products of bytes, and two of those sums."""


def _neighbours_added(builder: _Builder, values: Any) -> Any:
    """<2 n> -> <n>"""
    lanes = values.type.count
    even, odd = (ir.Constant(ir.VectorType(_I32, lanes // 2), list(range(first, lanes, 2))) for first in (0, 1))
    nothing = ir.Constant(values.type, ir.Undefined)
    return builder.add(builder.shuffle_vector(values, nothing, even), builder.shuffle_vector(values, nothing, odd))


def _call(builder: _Builder, intrinsic_name: str, returned: Any, arguments: list[Any]) -> Any:
    kind = ir.FunctionType(returned, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, intrinsic_name), arguments)


def _emit(
    function: ir.Function, rows: int, vector: Any, products: Callable[..., list[Any]], join: Callable[..., Any] | None
) -> None:
    """The body that all kinds share: find the rows, loop over the depth, join the sums with y; without `join`, start y."""
    source, target, x, x_stride, weight, depth, y, y_stride, bias = function.args
    start, loop, end = (function.append_basic_block(name) for name in ("start", "loop", "end"))
    builder = ir.IRBuilder(start)
    rows_of_x = [_row_address(builder, source, row, x, x_stride) for row in range(rows)]
    for row in range(rows):
        row_of_y = _row_address(builder, target, row, y, y_stride)
        for line in range(0, 4 * COLUMNS, 64):
            emit_prefetch(builder, builder.add(row_of_y, _I64(line)), writes=True)
    first = [ir.Constant(vector, None)] * VECTORS
    if join is None:
        first = [_load(builder, builder.add(bias, _I64(4 * LANES * v)), vector) for v in range(VECTORS)]
    builder.branch(loop)

    builder.position_at_end(loop)
    position = builder.phi(_I64)
    sums = [builder.phi(vector) for _ in range(rows * VECTORS)]
    position.add_incoming(_I64(0), start)
    for index, value in enumerate(sums):
        value.add_incoming(first[index % VECTORS], start)
    sums_next = products(builder, rows_of_x, weight, list(sums), position)
    position_next = builder.add(position, _I64(DEPTH_UNIT))
    position.add_incoming(position_next, loop)
    for value, value_next in zip(sums, sums_next, strict=True):
        value.add_incoming(value_next, loop)
    builder.cbranch(builder.icmp_signed("<", position_next, depth), loop, end)

    builder.position_at_end(end)
    for row in range(rows):
        row_of_y = _row_address(builder, target, row, y, y_stride)
        for v in range(VECTORS):
            pointer = builder.inttoptr(builder.add(row_of_y, _I64(4 * LANES * v)), vector.as_pointer())
            total = sums_next[row * VECTORS + v]
            builder.store(total if join is None else join(builder, builder.load(pointer, align=4), total), pointer, align=4)
    builder.ret_void()


def _row_address(builder: _Builder, indices: Any, row: int, base: Any, stride: Any) -> Any:
    index = builder.sext(_load(builder, builder.add(indices, _I64(4 * row)), _I32), _I64)
    return builder.add(base, builder.mul(index, stride))


def _load(builder: _Builder, address: Any, kind: Any) -> Any:
    # Rows start at any multiple of four bytes, so no stricter alignment may be assumed.
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=4)


def _splat(builder: _Builder, value: Any, lanes: int) -> Any:
    vector = ir.VectorType(value.type, lanes)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, _I32(0))
    zeros = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), zeros)

"""The occupied slots of a table's rows as the bits of integers, and the walk over them.

Most slots of a scan's tables are empty. To test each costs a mispredicted branch for most of the occupied ones; to walk over bits
costs one a row. Numba has no words for either.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def lowest_bit(typing_context, bits):  # type: ignore[no-untyped-def]
    """For kernels: the number of the lowest set bit of an integer that is not 0."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return bits(bits), generate


@intrinsic
def eight_occupied(typing_context, address):  # type: ignore[no-untyped-def]
    """For kernels: which of the eight int32 from an address on are not negative, as bits of a uint32."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        eight = ir.VectorType(ir.IntType(32), 8)
        values = builder.load(builder.inttoptr(arguments[0], eight.as_pointer()), align=4)
        there = builder.icmp_signed(">=", values, ir.Constant(eight, [0] * 8))
        return builder.zext(builder.bitcast(there, ir.IntType(8)), ir.IntType(32))

    return types.uint32(types.int64), generate

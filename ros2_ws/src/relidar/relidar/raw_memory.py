"""What numba has no words for: memory by its address, and counters that several threads share."""

from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_SPINS = 4000
"""Looks at a counter before the rest of the time slice is given away: some tens of microseconds."""
_X86 = llvmlite.binding.get_process_triple().startswith(("x86_64", "i686"))
_sched_yield = types.ExternalFunction("sched_yield", types.int32())


def _pointer_function(kind: Any) -> Callable[[int], Any]:
    @intrinsic
    def pointer(typing_context, address):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.int64), generate

    result: Callable[[int], Any] = pointer
    return result


f32_at = _pointer_function(types.float32)
"""A pointer for numba.carray to float32 values at an address; likewise the others."""
i32_at = _pointer_function(types.int32)
u8_at = _pointer_function(types.uint8)
i64_at = _pointer_function(types.int64)


@intrinsic
def atomic_add(typing_context, address, value):  # type: ignore[no-untyped-def]
    """Adds to the int64 at an address and returns what was there before, as one indivisible operation."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", pointer, arguments[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def _pause(typing_context):  # type: ignore[no-untyped-def]
    """Tells a processor that runs two threads on one core that this one only waits."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        if _X86:
            name = "llvm.x86.sse2.pause"
            function = builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(ir.VoidType(), []), name)
            builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def prefetch(typing_context, address):  # type: ignore[no-untyped-def]
    """Asks for the cache line of an address, which may be any: nothing is read."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        emit_prefetch(builder, arguments[0], writes=False)
        return context.get_dummy_value()

    return types.void(types.int64), generate


def emit_prefetch(builder: Any, address: Any, writes: bool) -> None:
    """Writes LLVM's code for `prefetch`, of a line that will be read or written."""
    pointer, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [builder.inttoptr(address, pointer), i32(int(writes)), i32(3), i32(1)])


@numba.njit(nogil=True)
def meet(address, arrivals):  # type: ignore[no-untyped-def]
    """Counts this thread's arrival and waits until there are so many in all since the counter was 0."""
    seen = atomic_add(address, 1) + 1
    spins = 0
    while seen < arrivals:
        spins += 1
        if spins % _SPINS == 0:
            _sched_yield()
        else:
            _pause()
        seen = atomic_add(address, 0)

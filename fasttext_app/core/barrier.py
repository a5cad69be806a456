"""A barrier for threads in compiled code, as numba intrinsics: it costs a tenth of a microsecond.

Waiting threads spin on a counter. If a thread is late for long, because the machine has other work
for its core, the others give theirs up: two threads that spin on one core would each wait for a
whole time slice of the other.
"""

from __future__ import annotations

from typing import Any

import numba  # noqa: F401  # first: waits until another thread has imported all of it
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

from fasttext_app.core.arrays import I64
from fasttext_app.core.jit import compiled

SPINS = 2000
"""How often a thread looks at the counter before it gives up its core: for 50 to 100 µs."""
YIELDS = 20
"""How often it gives up its core before it sleeps."""
SLEEP_MICROSECONDS = 50


def _counter(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


def _make_increment(typing_context: Any, counter: Any) -> Any:
    """Add 1 to ``counter[0]``, and return its new value."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, one = _counter(context, builder, counter, arguments[0]), ir.IntType(64)(1)
        return builder.add(builder.atomic_rmw("add", pointer, one, "seq_cst"), one)

    return types.int64(counter), generate


def _make_read(typing_context: Any, counter: Any) -> Any:
    """Return ``counter[0]``, and see all that was written before another thread set it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _counter(context, builder, counter, arguments[0])
        return builder.load_atomic(pointer, "seq_cst", 8)

    return types.int64(counter), generate


def _make_pause(typing_context: Any) -> Any:
    """Tell the core that this loop only waits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        machine, int32 = builder.module.triple.partition("-")[0], ir.IntType(32)
        hints = {
            "x86_64": ("llvm.x86.sse2.pause", []),
            "aarch64": ("llvm.aarch64.hint", [int32(1)]),
            "arm64": ("llvm.aarch64.hint", [int32(1)]),
        }
        if machine in hints:
            name, options = hints[machine]
            kind = ir.FunctionType(ir.VoidType(), [int32 for _ in options])
            builder.call(get_or_insert_function(builder.module, kind, name), options)
        return context.get_dummy_value()

    return types.void(), generate


def _make_give_up_core(typing_context: Any, microseconds: Any) -> Any:
    """Let another thread have the core, for some time or, with 0, only if one is waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        int32 = ir.IntType(32)
        time = context.cast(builder, arguments[0], microseconds, types.int32)
        with builder.if_else(builder.icmp_signed(">", time, int32(0))) as (sleep, give_up):
            with sleep:
                kind = ir.FunctionType(int32, [int32])
                builder.call(get_or_insert_function(builder.module, kind, "usleep"), [time])
            with give_up:
                kind = ir.FunctionType(int32, [])
                builder.call(get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(microseconds), generate


_increment: Any = intrinsic(_make_increment)
_read: Any = intrinsic(_make_read)
_pause: Any = intrinsic(_make_pause)
_give_up_core: Any = intrinsic(_make_give_up_core)


def new_barrier() -> I64:
    """Return the counter of a barrier; it has a cache line of its own."""
    return np.zeros(32, np.int64)[16:17]


@compiled
def meet(counter: I64, threads: Any, meetings: Any) -> Any:
    """Wait until all threads have come; return the number of meetings so far.

    What each of them wrote before is then seen by all.

    Args:
        counter: the barrier; 0 at first.
        threads: the number of threads that meet.
        meetings: the number of meetings before this one.
    """
    meetings += 1
    if threads > 1 and _increment(counter) < meetings * threads:
        waited = 0
        while _read(counter) < meetings * threads:
            waited += 1
            if waited < SPINS:
                _pause()
            else:
                _give_up_core(0 if waited < SPINS + YIELDS else SLEEP_MICROSECONDS)
    return meetings

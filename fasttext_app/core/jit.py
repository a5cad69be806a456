"""``compiled``: how the hot loops become machine code (numba, without the GIL, cached on disk)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba.core import types
from numba.core.cgutils import get_or_insert_function, unpack_tuple
from numba.extending import intrinsic

from fasttext_app.core.startup import forgo_blas

forgo_blas()

AHEAD = 16
"""How many rows before its turn a row is prefetched."""

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function at its first call; later processes load the machine code from a cache.

    The cache is beside the module, or in the user's cache folder where that is read-only. Where
    neither can be written, every process compiles anew. A division by zero gives inf or nan, as in
    NumPy: Python's check of every divisor would keep loops out of the vector units.
    """
    how: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        made = numba.njit(cache=True, **how)(function)
    except RuntimeError:  # numba found no place for a cache
        made = numba.njit(**how)(function)
    return cast("Function", made)


def _prefetch(array: Any, row: Any, *, write: bool) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array_type, row_type = signature.args
        view = context.make_array(array_type)(context, builder, arguments[0])
        stride = unpack_tuple(builder, view.strides, array_type.ndim)[0]
        number = context.cast(builder, arguments[1], row_type, types.intp)
        start = builder.ptrtoint(view.data, stride.type)
        byte_pointer, int32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        address = builder.inttoptr(builder.add(start, builder.mul(number, stride)), byte_pointer)
        kind = ir.FunctionType(ir.VoidType(), [byte_pointer, int32, int32, int32])
        fetch = get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        keep_close, data = int32(3), int32(1)
        builder.call(fetch, [address, int32(int(write)), keep_close, data])
        return context.get_dummy_value()

    return types.void(array, row), generate


def _to_read(typing_context: Any, array: Any, row: Any) -> Any:
    return _prefetch(array, row, write=False)


def _to_write(typing_context: Any, array: Any, row: Any) -> Any:
    return _prefetch(array, row, write=True)


prefetch_row: Any = intrinsic(_to_read)
"""``prefetch_row(array, row)``: have the first cache line of ``array[row]`` brought in.

For compiled code only. Rows that are looked up at random come from far away; the processor goes on
with other rows while they come.
"""

prefetch_to_write: Any = intrinsic(_to_write)
"""The same for a row that will be written to, which no other core may keep."""

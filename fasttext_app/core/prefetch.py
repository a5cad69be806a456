"""Prefetching of table rows in compiled code: LLVM's prefetch as two numba intrinsics.

Rows that are looked up at random are rarely in the cache. A loop that prefetches them some steps
ahead works on earlier rows while they load.
"""

from __future__ import annotations

from typing import Any

import numba  # noqa: F401  # first: waits until another thread has imported all of it
from llvmlite import ir
from numba.core import types
from numba.core.cgutils import get_or_insert_function, unpack_tuple
from numba.extending import intrinsic

PREFETCH_DISTANCE = 16
"""Number of rows by which a prefetch precedes the use of a row."""


def _prefetch(array: Any, row: Any, *, for_write: bool) -> Any:
    """Return the signature and the code generator that ``@intrinsic`` expects."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array_type, row_type = signature.args
        # The address of array[row]: the data pointer plus row * strides[0].
        view = context.make_array(array_type)(context, builder, arguments[0])
        stride = unpack_tuple(builder, view.strides, array_type.ndim)[0]
        index = context.cast(builder, arguments[1], row_type, types.intp)
        base = builder.ptrtoint(view.data, stride.type)
        byte_pointer, int32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        address = builder.inttoptr(builder.add(base, builder.mul(index, stride)), byte_pointer)
        # llvm.prefetch(address, read or write, locality, cache type)
        prefetch_type = ir.FunctionType(ir.VoidType(), [byte_pointer, int32, int32, int32])
        prefetch = get_or_insert_function(builder.module, prefetch_type, "llvm.prefetch.p0i8")
        keep_in_cache, data_cache = int32(3), int32(1)
        builder.call(prefetch, [address, int32(int(for_write)), keep_in_cache, data_cache])
        return context.get_dummy_value()

    return types.void(array, row), generate


def _prefetch_for_read(typing_context: Any, array: Any, row: Any) -> Any:
    return _prefetch(array, row, for_write=False)


def _prefetch_for_write(typing_context: Any, array: Any, row: Any) -> Any:
    return _prefetch(array, row, for_write=True)


prefetch_row: Any = intrinsic(_prefetch_for_read)
"""``prefetch_row(array, row)``: load the first cache line of ``array[row]``."""

prefetch_row_for_write: Any = intrinsic(_prefetch_for_write)
"""``prefetch_row`` for a row that will be written to: other cores give up their copies."""

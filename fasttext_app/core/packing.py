"""Constant arrays of a compiled function as one argument.

A call from Python takes a fifth of a microsecond for each array that it passes, and more for
tuples. A model has many arrays that never change, so they are packed once: an array of their
addresses and lengths stands for all of them, and costs as much as one.
"""

from __future__ import annotations

from typing import Any

import numba  # noqa: F401  # first: waits until another thread has imported all of it
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from fasttext_app.core.arrays import I64, Array


class Packed:
    """Arrays and whole numbers, packed; the arrays live as long as this object.

    Args:
        values: numbers of 64 bits, and arrays of one dimension.

    Attributes:
        numbers: for each value two numbers: an address and a length, or the number and 0.
    """

    def __init__(self, *values: int | Array) -> None:
        self._arrays = [np.ascontiguousarray(value) for value in values if not np.isscalar(value)]
        arrays = iter(self._arrays)
        pairs = []
        for value in values:
            array = None if np.isscalar(value) else next(arrays)
            pairs.append((value, 0) if array is None else (array.ctypes.data, len(array)))
        self.numbers: I64 = np.array(pairs, np.int64).ravel()


def _packed_array(typing_context: Any, numbers: Any, item: Any, dtype: Any) -> Any:
    array_type = types.Array(dtype.dtype, 1, "C", readonly=True)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        packed = make_array(signature.args[0])(context, builder, arguments[0])
        item = context.cast(builder, arguments[1], signature.args[1], types.intp)
        first = builder.mul(item, item.type(2))
        address = builder.load(builder.gep(packed.data, [first]))
        length = builder.load(builder.gep(packed.data, [builder.add(first, item.type(1))]))
        view = make_array(array_type)(context, builder)
        size = context.get_abi_sizeof(context.get_data_type(array_type.dtype))
        populate_array(
            view,
            data=builder.inttoptr(address, view.data.type),
            shape=[length],
            strides=[ir.Constant(item.type, size)],
            itemsize=ir.Constant(item.type, size),
            meminfo=None,
        )
        return view._getvalue()

    return array_type(numbers, item, dtype), generate


packed_array: Any = intrinsic(_packed_array)
"""``packed_array(numbers, item, dtype)``: the array that is value ``item`` of a :class:`Packed`."""

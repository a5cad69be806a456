"""Eight bytes at a time, and bits of 64-bit words, in compiled code: LLVM's, as numba intrinsics.

Words have the first byte lowest. Arrays are contiguous; nothing checks that a position is in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba  # noqa: F401  # first: waits until another thread has imported all of it
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

from fasttext_app.core.arrays import mix_bits
from fasttext_app.core.jit import inlined

EACH_BYTE, HIGH_BITS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
"""1 in each byte of a word, and the highest bit of each."""

_INT32, _INT64, _INT128 = ir.IntType(32), ir.IntType(64), ir.IntType(128)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, at: Any, kind: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), kind.as_pointer())


def _load_word(typing_context: Any, data: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at = arguments
        return builder.load(
            _pointer(context, builder, signature.args[0], array, at, _INT64), align=1
        )

    return types.uint64(data, types.int64), generate


def _store(kind: Any, code: Any) -> Any:
    """Return the intrinsic that writes a value of a kind, whose type in LLVM is ``code``."""

    def define(typing_context: Any, data: Any, at: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array, at, value = arguments
            place = _pointer(context, builder, signature.args[0], array, at, code)
            builder.store(value, place, align=1)
            return context.get_dummy_value()

        return types.void(data, types.int64, kind), generate

    return intrinsic(define)


def _of_words(count: int, body: Callable[..., Any]) -> Any:
    """Return an intrinsic from ``count`` 64-bit words to one, whose code ``body`` emits."""
    words = [types.uint64] * count

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return body(builder, *arguments)

    if count == 1:
        return intrinsic(lambda typing_context, word: (types.uint64(*words), generate))
    return intrinsic(lambda typing_context, word, other: (types.uint64(*words), generate))


def _trailing_zeros(builder: Any, word: Any) -> Any:
    kind = ir.FunctionType(_INT64, [_INT64, ir.IntType(1)])
    count = get_or_insert_function(builder.module, kind, "llvm.cttz.i64")
    return builder.call(count, [word, ir.IntType(1)(0)])


def _set_bits(builder: Any, word: Any) -> Any:
    kind = ir.FunctionType(_INT64, [_INT64])
    return builder.call(get_or_insert_function(builder.module, kind, "llvm.ctpop.i64"), [word])


def _high_product(builder: Any, word: Any, other: Any) -> Any:
    product = builder.mul(builder.zext(word, _INT128), builder.zext(other, _INT128))
    return builder.trunc(builder.lshr(product, _INT128(64)), _INT64)


load_word: Any = intrinsic(_load_word)
"""``load_word(data, at)``: the eight bytes from ``data[at]`` on as a 64-bit word."""

store_half: Any = _store(types.uint32, _INT32)
"""``store_half(data, at, half)``: write the four bytes of ``half`` from ``data[at]`` on."""

store_word: Any = _store(types.uint64, _INT64)
"""``store_word(data, at, word)``: write the eight bytes of ``word`` from ``data[at]`` on."""

trailing_zeros: Any = _of_words(1, _trailing_zeros)
"""``trailing_zeros(word)``: the number of bits below the lowest one that is set; 64 if none is."""

set_bits: Any = _of_words(1, _set_bits)
"""``set_bits(word)``: the number of bits that are set."""

high_product: Any = _of_words(2, _high_product)
"""``high_product(word, other)``: the upper half of the product of two words."""

mix_word: Any = inlined(mix_bits)
"""``mix_word(word)``: :func:`.mix_bits` of one number."""

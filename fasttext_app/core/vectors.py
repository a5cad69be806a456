"""Loops over contiguous numbers that always use vector instructions, as numba intrinsics.

LLVM turns a loop of numba into vector instructions only if it can tell that its arrays do not
overlap, which depends on details. These functions emit vectors of :data:`LANES` numbers themselves,
and handle the numbers left over one by one. Each sum adds its terms in order, and no operations are
fused, so the results equal those of plain loops to the bit.

All arrays are flat and contiguous; ``at`` is the position of a first number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba  # noqa: F401  # first: waits until another thread has imported all of it
from llvmlite import ir
from numba.core import types
from numba.core.cgutils import (
    alloca_once_value,
    for_range,
    for_range_slice,
    get_or_insert_function,
)
from numba.extending import intrinsic

from fasttext_app.core.prefetch import PREFETCH_DISTANCE

LANES = 8
PANEL = 2 * LANES
"""Columns that :data:`multiply_tile` computes together."""
LINE = 16
"""Numbers in a cache line."""

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_ZERO = _INT64(0)


class _Code:
    """The code of one intrinsic: arrays as pointers, other arguments as int64 or float32."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.builder, self.arguments = builder, []
        for kind, value in zip(signature.args, arguments, strict=True):
            if isinstance(kind, types.Array):
                self.arguments.append(context.make_array(kind)(context, builder, value).data)
            else:
                target = types.float32 if isinstance(kind, types.Float) else types.int64
                self.arguments.append(context.cast(builder, value, kind, target))

    def pointer(self, array: Any, at: Any, kind: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(array, [at]), kind.as_pointer())

    def load(self, array: Any, at: Any, kind: Any) -> Any:
        return self.builder.load(self.pointer(array, at, kind), align=4)

    def store(self, value: Any, array: Any, at: Any) -> None:
        self.builder.store(value, self.pointer(array, at, value.type), align=4)

    def spread(self, value: Any, kind: Any) -> Any:
        """Return a number as a value of the kind: a vector of equal numbers, or the number."""
        if kind is _FLOAT:
            return value
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        first = self.builder.insert_element(undefined, value, _INT32(0))
        lanes = ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def call(self, name: str, result: Any, *values: Any) -> Any:
        kind = ir.FunctionType(result, [value.type for value in values])
        return self.builder.call(get_or_insert_function(self.builder.module, kind, name), values)

    def square_root(self, value: Any) -> Any:
        suffix = "f32" if value.type is _FLOAT else f"v{LANES}f32"
        return self.call(f"llvm.sqrt.{suffix}", value.type, value)

    def prefetch(self, array: Any, at: Any, *, for_write: bool = False) -> None:
        address, in_cache, data = self.pointer(array, at, ir.IntType(8)), _INT32(3), _INT32(1)
        options = _INT32(int(for_write)), in_cache, data
        self.call("llvm.prefetch.p0i8", ir.VoidType(), address, *options)

    def blocks(
        self, width: Any, sizes: Sequence[int], body: Callable[[Any, Sequence[Any], Any], None]
    ) -> None:
        """Emit loops over ``width`` numbers: ``body(at, offsets, kind)`` for each block of them.

        Args:
            width: how many numbers there are.
            sizes: vectors in a block, largest first; then come single numbers.
            body: emits the code of one block, which begins at ``at`` and has values of the kind
                ``kind`` at each of the ``offsets`` from there.
        """
        builder, done = self.builder, _ZERO
        for vectors in (*sizes, 0):
            kind, numbers = (_VECTOR, vectors * LANES) if vectors else (_FLOAT, 1)
            offsets = [_INT64(LANES * number) for number in range(max(vectors, 1))]
            blocks = builder.sdiv(builder.sub(width, done), _INT64(numbers))
            with for_range(builder, blocks) as loop:
                at = builder.add(done, builder.mul(loop.index, _INT64(numbers)))
                body(at, offsets, kind)
            done = builder.add(done, builder.mul(blocks, _INT64(numbers)))


def _typed(generate: Callable[[_Code], None], *kinds: Any) -> Any:
    """Return the signature and the code generator that ``@intrinsic`` expects."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        generate(_Code(context, builder, signature, arguments))
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _sum_rows(
    typing_context: Any,
    sums: Any,
    at: Any,
    table: Any,
    stride: Any,
    column: Any,
    ids: Any,
    begin: Any,
    end: Any,
    last: Any,
    weights: Any,
    weighted: Any,
    width: Any,
) -> Any:
    def generate(code: _Code) -> None:
        sums, at, table, stride, column, ids, begin, end, last, weights, weighted, width = (
            code.arguments
        )
        builder = code.builder

        def emit(first: Any, offsets: Sequence[Any], kind: Any) -> None:
            totals = [alloca_once_value(builder, ir.Constant(kind, None)) for _ in offsets]
            for total in totals:
                builder.store(ir.Constant(kind, None), total)
            place = builder.add(column, first)

            def row(number: Any) -> Any:
                number = builder.sext(code.load(ids, number, _INT32), _INT64)
                return builder.add(builder.mul(number, stride), place)

            with for_range_slice(builder, begin, end, _INT64(1)) as (i, _):
                ahead = builder.add(i, _INT64(PREFETCH_DISTANCE))
                ahead = builder.select(builder.icmp_signed("<", ahead, last), ahead, last)
                for line in range(0, len(offsets) * LANES if kind is _VECTOR else 0, LINE):
                    code.prefetch(table, builder.add(row(ahead), _INT64(line)))
                # Without weights, position 0 has the weight 1.
                weight = code.load(weights, builder.mul(i, weighted), _FLOAT)
                weight, here = code.spread(weight, kind), row(i)
                for total, offset in zip(totals, offsets, strict=True):
                    value = code.load(table, builder.add(here, offset), kind)
                    term = builder.fmul(weight, value)
                    builder.store(builder.fadd(builder.load(total), term), total)
            for total, offset in zip(totals, offsets, strict=True):
                position = builder.add(builder.add(at, first), offset)
                code.store(builder.load(total), sums, position)

        code.blocks(width, (4, 2, 1), emit)

    return _typed(
        generate, sums, at, table, stride, column, ids, begin, end, last, weights, weighted, width
    )


sum_rows: Any = intrinsic(_sum_rows)
"""``sum_rows(sums, at, table, stride, column, ids, begin, end, last, weights, weighted, width)``

``sums[at : at + width]`` becomes the sum of ``weights[i] * table[ids[i] * stride + column :]`` over
``i`` from ``begin`` to ``end``. Rows of later ids, up to ``ids[last]``, are prefetched. If
``weighted`` is 0, only ``weights[0]`` is read, which must be 1.
"""


# --- update rules ------------------------------------------------------------------------------


def _rule(formula: Callable[..., None]) -> Any:
    """Return the intrinsic of an update rule.

    Its arguments are ``(table, first, second, at, gradient, gradient_at, width, lr, eps, new1,
    new2)``, as in ``cpu_kernels.step_rows``; table and state have the same positions.
    """

    def define(
        typing_context: Any,
        table: Any,
        first: Any,
        second: Any,
        at: Any,
        gradient: Any,
        gradient_at: Any,
        width: Any,
        lr: Any,
        eps: Any,
        new1: Any,
        new2: Any,
    ) -> Any:
        def generate(code: _Code) -> None:
            *arrays, at, gradient, gradient_at, width, lr, eps, new1, new2 = code.arguments
            builder = code.builder

            def emit(start: Any, offsets: Sequence[Any], kind: Any) -> None:
                places = [builder.add(builder.add(at, start), offset) for offset in offsets]
                slopes = [
                    code.load(gradient, builder.add(builder.add(gradient_at, start), offset), kind)
                    for offset in offsets
                ]
                settings = [code.spread(value, kind) for value in (lr, eps, new1, new2)]
                for place, slope in zip(places, slopes, strict=True):
                    formula(code, arrays, place, slope, *settings)

            code.blocks(width, (1,), emit)

        return _typed(
            generate, table, first, second, at, gradient, gradient_at, width, lr, eps, new1, new2
        )

    return intrinsic(define)


def _descend(code: _Code, table: Any, at: Any, lr: Any, direction: Any) -> None:
    """Emit ``table[at] -= lr * direction``."""
    value = code.load(table, at, direction.type)
    code.store(code.builder.fsub(value, code.builder.fmul(lr, direction)), table, at)


def _sgd(
    code: _Code, arrays: Any, at: Any, slope: Any, lr: Any, eps: Any, new1: Any, new2: Any
) -> None:
    _descend(code, arrays[0], at, lr, slope)


def _adagrad(
    code: _Code, arrays: Any, at: Any, slope: Any, lr: Any, eps: Any, new1: Any, new2: Any
) -> None:
    builder, (table, first, _) = code.builder, arrays
    square = builder.fadd(code.load(first, at, slope.type), builder.fmul(slope, slope))
    code.store(square, first, at)
    divisor = builder.fadd(code.square_root(square), eps)
    _descend(code, table, at, lr, builder.fdiv(slope, divisor))


def _adam(
    code: _Code, arrays: Any, at: Any, slope: Any, lr: Any, eps: Any, new1: Any, new2: Any
) -> None:
    builder, (table, first, second) = code.builder, arrays
    mean, square = (code.load(array, at, slope.type) for array in (first, second))
    mean = builder.fadd(mean, builder.fmul(new1, builder.fsub(slope, mean)))
    change = builder.fsub(builder.fmul(slope, slope), square)
    square = builder.fadd(square, builder.fmul(new2, change))
    code.store(mean, first, at)
    code.store(square, second, at)
    _descend(code, table, at, lr, builder.fdiv(mean, builder.fadd(code.square_root(square), eps)))


step_sgd, step_adagrad, step_adam = _rule(_sgd), _rule(_adagrad), _rule(_adam)


def _block_squares(typing_context: Any, values: Any, at: Any) -> Any:
    """Return the sum of the squares of ``values[at : at + LANES]``, added up by halves."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = _Code(context, builder, signature, arguments)
        array, first = code.arguments
        vector = code.load(array, first, _VECTOR)
        squares, size = builder.fmul(vector, vector), LANES
        while size > 1:
            size //= 2
            low, high = (
                builder.shuffle_vector(
                    squares, squares, ir.Constant(ir.VectorType(_INT32, size), list(part))
                )
                for part in (range(size), range(size, 2 * size))
            )
            squares = builder.fadd(low, high)
        return builder.extract_element(squares, _INT32(0))

    return types.float32(values, at), codegen


block_squares: Any = intrinsic(_block_squares)


def _prefetch_columns(typing_context: Any, table: Any, at: Any, width: Any) -> Any:
    def generate(code: _Code) -> None:
        table, at, width = code.arguments
        with for_range_slice(code.builder, _ZERO, width, _INT64(LINE)) as (column, _):
            code.prefetch(table, code.builder.add(at, column), for_write=True)

    return _typed(generate, table, at, width)


prefetch_columns: Any = intrinsic(_prefetch_columns)
"""``prefetch_columns(table, at, width)``: load these numbers, which will be written to."""


# --- products of matrices ----------------------------------------------------------------------


def _tile(rows: int) -> Any:
    """Return the intrinsic that multiplies so many rows with a panel of columns."""

    def define(
        typing_context: Any,
        sums: Any,
        at: Any,
        sums_stride: Any,
        left: Any,
        left_at: Any,
        left_stride: Any,
        left_step: Any,
        right: Any,
        right_at: Any,
        right_step: Any,
        depth: Any,
    ) -> Any:
        def generate(code: _Code) -> None:
            sums, at, sums_stride, left, left_at, left_stride, left_step, *rest = code.arguments
            right, right_at, right_step, depth = rest
            builder = code.builder
            row_numbers = [_INT64(row) for row in range(rows)]
            offsets = [_INT64(offset) for offset in range(0, PANEL, LANES)]
            places = [
                [
                    builder.add(builder.add(at, builder.mul(row, sums_stride)), offset)
                    for offset in offsets
                ]
                for row in row_numbers
            ]
            totals = [
                [alloca_once_value(builder, code.load(sums, place, _VECTOR)) for place in row]
                for row in places
            ]
            lefts = [builder.add(left_at, builder.mul(row, left_stride)) for row in row_numbers]
            with for_range(builder, depth) as loop:
                here = builder.add(right_at, builder.mul(loop.index, right_step))
                terms = [code.load(right, builder.add(here, offset), _VECTOR) for offset in offsets]
                for start, row in zip(lefts, totals, strict=True):
                    position = builder.add(start, builder.mul(loop.index, left_step))
                    factor = code.spread(code.load(left, position, _FLOAT), _VECTOR)
                    for total, term in zip(row, terms, strict=True):
                        product = builder.fmul(factor, term)
                        builder.store(builder.fadd(builder.load(total), product), total)
            for row, row_places in zip(totals, places, strict=True):
                for total, place in zip(row, row_places, strict=True):
                    code.store(builder.load(total), sums, place)

        return _typed(
            generate,
            sums,
            at,
            sums_stride,
            left,
            left_at,
            left_stride,
            left_step,
            right,
            right_at,
            right_step,
            depth,
        )

    return intrinsic(define)


TILE_ROWS = 4
multiply_tile, multiply_row = _tile(TILE_ROWS), _tile(1)
"""``(sums, at, sums_stride, left, left_at, left_stride, left_step, right, right_at, right_step,
depth)``: for each row m of the tile and each column n of a panel, add the terms ``left[m, k] *
right[k, n]`` in order of k < ``depth``. ``stride`` goes from row to row, ``step`` from k to k."""

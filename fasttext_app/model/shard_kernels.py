"""Sums of table rows in whole numbers, compiled; see ``shard.Rows``.

Shapes: **N** ids, **B** bags, **D** embedding dim.
"""

from __future__ import annotations

import numpy as np

from fasttext_app.core.arrays import F32, I32, I64
from fasttext_app.core.jit import compiled
from fasttext_app.core.prefetch import prefetch_row

SCALE = 2.0**40
"""Sums count in units of 1 / SCALE: finer than a float is, down to numbers of 2^-16."""
SIZE_SCALE = 1 << 10
"""The sizes of terms count in units of 1 / SIZE_SCALE, rounded up."""
LARGEST = 1 << 22
"""What the sizes of a bag's terms may add up to: then no sum in units of 1 / SCALE leaves 64
bits."""
MAGNITUDE = np.int32(0x7FFFFFFF)
"""The bits of a float without its sign. They are ordered like its size, and NaN is the largest."""
ROUNDER = 1.5 * 2.0**52
"""Added to a number below 2^51, it rounds it to a whole one, as ``rint`` does."""
ROUNDER_BITS = int(np.float64(ROUNDER).view(np.int64))
ROUNDED = 1 << 10
"""Terms below this are below 2^51 units."""


@compiled
def sum_rows(table: F32, ids: I32, offsets: I32, weights: F32, first: int, step: int) -> I64:
    """Sum those rows of each bag that the table has; return the sums and their sizes, [B, D + 1].

    Every term ``weight * number`` is rounded to whole units, so sums of sums do not depend on their
    order. The last column has an upper bound of the sum of the terms' absolute values, for the
    largest number of each row.

    Args:
        table: the rows ``first``, ``first + step``, ... of a table, [rows, D].
        ids: rows of the whole table, end to end, [N].
        offsets: bounds of each bag in ``ids``, [B + 1].
        weights: the weight of each id, [N]; [1] if all are the same.
        first: the first row that this table has.
        step: the distance of its rows in the whole table.

    Rows 1 and 3 of a table add to the bags [1, 1] and [0, 3]:

    >>> table, one = np.array([[1, 2], [0.5, -4]], np.float32), np.ones(1, np.float32)
    >>> ids, offsets = np.array([1, 1, 0, 3], np.int32), np.array([0, 2, 4], np.int32)
    >>> sums = sum_rows(table, ids, offsets, one, 1, 2)
    >>> (sums[:, :2] / SCALE).tolist(), (sums[:, 2] / SIZE_SCALE).tolist()
    ([[2.0, 4.0], [0.5, -4.0]], [4.0, 4.0])
    """
    dim, weighted, divisor = table.shape[1], len(weights) > 1, np.int32(step)
    bits = table.view(np.int32)
    sums = np.zeros((len(offsets) - 1, dim + 1), np.int64)
    rows, places = np.empty(len(ids), np.int32), np.empty(len(ids), np.int32)
    largest_bits, terms = np.empty(1, np.int32), np.empty(dim)
    largest, term_bits = largest_bits.view(np.float32), terms.view(np.int64)
    for bag in range(len(sums)):
        # Find the ids whose rows are here. Rows lie at random addresses: start loading them.
        count = 0
        for i in range(offsets[bag], offsets[bag + 1]):
            row = ids[i] // divisor
            if ids[i] - row * divisor == first:
                rows[count], places[count] = row, i
                prefetch_row(table, row)
                count += 1

        totals = sums[bag]
        for number in range(count):
            values, value_bits = table[rows[number]], bits[rows[number]]
            weight = np.float64(weights[places[number] if weighted else 0])
            most = np.int32(0)
            for d in range(dim):
                most = max(most, np.int32(value_bits[d] & MAGNITUDE))
            largest_bits[0] = most
            size = abs(weight) * np.float64(largest[0])
            if not size <= LARGEST:  # it may be NaN
                totals[dim] += LARGEST * SIZE_SCALE + 1
                continue
            totals[dim] += np.int64(np.ceil(size * SIZE_SCALE))

            # A product of 32-bit floats is exact in 64 bits, so a term is rounded once. ROUNDER
            # leaves the whole number in the low bits, for which there are vector instructions.
            weight *= SCALE
            if size < ROUNDED:
                for d in range(dim):
                    terms[d] = weight * np.float64(values[d]) + ROUNDER
                for d in range(dim):
                    totals[d] += term_bits[d] - ROUNDER_BITS
            else:
                for d in range(dim):
                    totals[d] += np.int64(np.rint(weight * np.float64(values[d])))
    return sums


@compiled
def sum_sums(sums: I64, ids: I32, offsets: I32) -> I64:
    """Add up the sums of the words of each text.

    >>> sums, ids = np.array([[1, 2], [10, 20]]), np.array([0, 1, 1], np.int32)
    >>> sum_sums(sums, ids, np.array([0, 2, 2, 3], np.int32)).tolist()
    [[11, 22], [0, 0], [10, 20]]
    """
    totals = np.zeros((len(offsets) - 1, sums.shape[1]), np.int64)
    for text in range(len(totals)):
        for i in range(offsets[text], offsets[text + 1]):
            for d in range(sums.shape[1]):
                totals[text, d] += sums[ids[i], d]
    return totals

"""Sums of table rows in whole numbers, compiled; see ``shard.Rows``.

Shapes: **N** ids, **B** bags, **D** embedding dim.
"""

from __future__ import annotations

import numpy as np

from fasttext_app.core.arrays import F32, I32, I64
from fasttext_app.core.jit import compiled

SCALE = 2.0**40
"""Sums count in units of 1 / SCALE: finer than a float is, down to numbers of 2^-16."""
SIZE_SCALE = 1 << 10
"""The sizes of terms count in units of 1 / SIZE_SCALE, rounded up."""
LARGEST = 1 << 22
"""What the sizes of a bag's terms may add up to: then no sum in units of 1 / SCALE leaves 64
bits."""
MAGNITUDE = np.int32(0x7FFFFFFF)
"""The bits of a float without its sign. They are ordered like its size, and NaN is the largest."""


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
    dim, weighted = table.shape[1], len(weights) > 1
    bits = table.view(np.int32)
    sums = np.zeros((len(offsets) - 1, dim + 1), np.int64)
    largest = np.empty(1, np.int32)
    for bag in range(len(sums)):
        for i in range(offsets[bag], offsets[bag + 1]):
            if ids[i] % step != first:
                continue
            row = ids[i] // step
            weight = np.float64(weights[i if weighted else 0])
            largest[0] = 0
            for d in range(dim):
                largest[0] = max(largest[0], bits[row, d] & MAGNITUDE)
            size = abs(weight) * np.float64(largest.view(np.float32)[0])
            if not size <= LARGEST:  # or NaN
                sums[bag, dim] += LARGEST * SIZE_SCALE + 1
                continue
            sums[bag, dim] += np.int64(np.ceil(size * SIZE_SCALE))
            weight *= SCALE
            for d in range(dim):
                sums[bag, d] += np.int64(np.rint(weight * np.float64(table[row, d])))
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

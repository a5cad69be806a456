"""The compiled matrix product; the reference implementation is in :func:`.matmul.matmul`."""

from __future__ import annotations

import numpy as np

from fasttext_app.core.arrays import F32
from fasttext_app.core.jit import compiled

FEW_COLUMNS = 16
TILE = 512
"""Columns of a tile, which stays in the cache for all rows: 200 KB if D is 100."""


@compiled
def matmul_in_order(vectors: F32, matrix: F32) -> F32:
    """Return ``vectors @ matrix`` [B, C]; each sum adds its D terms in order.

    >>> matmul_in_order(np.float32([[1, 2]]), np.float32([[3, 4, 5], [6, 7, 8]])).tolist()
    [[15.0, 18.0, 21.0]]
    """
    dim, columns = matrix.shape
    products = np.zeros((len(vectors), columns), np.float32)
    if columns >= FEW_COLUMNS:
        # Many columns: the sums of a row are updated together by vector instructions.
        for first in range(0, columns, TILE):
            last = min(first + TILE, columns)
            for row in range(len(vectors)):
                sums = products[row, first:last]
                for d in range(dim):
                    value, terms = vectors[row, d], matrix[d, first:last]
                    for c in range(len(sums)):
                        sums[c] += value * terms[c]
        return products
    # Few columns: four sums at a time stay in registers; the remaining columns follow one by one.
    fours = columns - columns % 4
    for row in range(len(vectors)):
        for c in range(0, fours, 4):
            sum0, sum1, sum2, sum3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for d in range(dim):
                value = vectors[row, d]
                sum0 += value * matrix[d, c]
                sum1 += value * matrix[d, c + 1]
                sum2 += value * matrix[d, c + 2]
                sum3 += value * matrix[d, c + 3]
            products[row, c], products[row, c + 1] = sum0, sum1
            products[row, c + 2], products[row, c + 3] = sum2, sum3
        for c in range(fours, columns):
            for d in range(dim):
                products[row, c] += vectors[row, d] * matrix[d, c]
    return products

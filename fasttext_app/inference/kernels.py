"""The forward pass of ``nn.EmbeddingBag`` on the CPU in compiled code."""

from __future__ import annotations

from typing import Any

import numpy as np

from fasttext_app.core.arrays import F32, I32, I64
from fasttext_app.core.jit import compiled
from fasttext_app.core.prefetch import PREFETCH_DISTANCE, prefetch_row

SUM, MEAN, MAX = range(3)
NO_F32 = np.empty(0, dtype=np.float32)


@compiled
def sum_bags(
    table: Any, scales: F32, ids: I32, offsets: I64, idf: F32, mode: int, padding: int
) -> F32:
    """Return one vector per bag, [B, D], as ``nn.EmbeddingBag`` does; zero for an empty bag.

    Args:
        table: [V, D], 32-bit floats, or integers with ``scales``.
        scales: scale of each row, [V]; empty: 1.
        ids: [N].
        offsets: [B + 1].
        idf: inverse document frequency of each row, [V], for tf-idf weights; empty: none.
        mode: ``SUM``, ``MEAN`` or ``MAX``.
        padding: the row that is left out; -1: none.

    >>> table, ids = np.array([[1, 2], [3, 6]], np.float32), np.array([0, 1, 1], np.int32)
    >>> offsets = np.array([0, 2, 2, 3])
    >>> sum_bags(table, NO_F32, ids, offsets, NO_F32, MEAN, -1).tolist()
    [[2.0, 4.0], [0.0, 0.0], [3.0, 6.0]]
    """
    dim, weighted, scaled = table.shape[1], len(idf) > 0, len(scales) > 0
    vectors, summed = np.zeros((len(offsets) - 1, dim), np.float32), np.empty(dim, np.float32)
    for bag in range(len(offsets) - 1):
        used, total = 0, np.float32(0)
        for position in range(offsets[bag], offsets[bag + 1]):
            row = ids[position]
            # Fetch the rows of an id that comes soon, in this bag or a later one.
            if position + PREFETCH_DISTANCE < len(ids):
                prefetch_row(table, ids[position + PREFETCH_DISTANCE])
                if weighted:
                    prefetch_row(idf, ids[position + PREFETCH_DISTANCE])
                if scaled:
                    prefetch_row(scales, ids[position + PREFETCH_DISTANCE])
            # The weight of a padding id counts in the total, but its row is left out.
            weight = idf[row] if weighted else np.float32(1)
            total += weight
            if row == padding:
                continue
            if scaled:
                weight *= scales[row]
            # The first row is stored, the others are added to it or compared with it.
            if used == 0:
                for d in range(dim):
                    summed[d] = weight * table[row, d]
            elif mode == MAX:
                for d in range(dim):
                    value = weight * table[row, d]
                    if value > summed[d]:
                        summed[d] = value
            else:
                for d in range(dim):
                    summed[d] += weight * table[row, d]
            used += 1
        # Divide by the sum of the weights, or by the number of rows for a mean.
        if used > 0:
            factor = np.float32(1)
            if weighted or mode == MEAN:
                factor /= total if weighted else np.float32(used)
            for d in range(dim):
                vectors[bag, d] = summed[d] * factor
    return vectors

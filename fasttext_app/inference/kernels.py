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
    """Return one vector a bag, [B, D], zero for an empty one, as ``nn.EmbeddingBag`` makes them.

    Args:
        table: [V, D], of 32-bit floats, or of smaller numbers with ``scales``.
        scales: what the numbers of a row are multiplied by, [V]; [0]: they are as they are.
        ids: [N].
        offsets: [B + 1].
        idf: the inverse document frequency of every row, for tf-idf weights; [0]: no weights.
        mode: ``SUM``, ``MEAN`` or ``MAX``.
        padding: the row that takes no part; -1: none.
    """
    dim, weighted, scaled = table.shape[1], len(idf) > 0, len(scales) > 0
    vectors, summed = np.zeros((len(offsets) - 1, dim), np.float32), np.empty(dim, np.float32)
    for bag in range(len(offsets) - 1):
        real, total = 0, np.float32(0)
        for at in range(offsets[bag], offsets[bag + 1]):
            row = ids[at]
            if at + PREFETCH_DISTANCE < len(ids):
                prefetch_row(table, ids[at + PREFETCH_DISTANCE])
                if weighted:
                    prefetch_row(idf, ids[at + PREFETCH_DISTANCE])
                if scaled:
                    prefetch_row(scales, ids[at + PREFETCH_DISTANCE])
            weight = idf[row] if weighted else np.float32(1)
            total += weight
            if row == padding:
                continue
            if scaled:
                weight *= scales[row]
            if real == 0:
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
            real += 1
        if real > 0:
            share = np.float32(1)
            if weighted or mode == MEAN:
                share /= total if weighted else np.float32(real)
            for d in range(dim):
                vectors[bag, d] = summed[d] * share
    return vectors

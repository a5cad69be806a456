"""The forward pass on the CPU in compiled code: of bags, and of one text from its bytes on."""

from __future__ import annotations

from typing import Any

import numpy as np

from fasttext_app.core.arrays import F32, I32, I64, U8
from fasttext_app.core.jit import compiled
from fasttext_app.core.matmul_kernels import matmul_in_order
from fasttext_app.core.prefetch import PREFETCH_DISTANCE, prefetch_row
from fasttext_app.text.kernels import encode_text

SUM, MEAN, MAX = range(3)
NO_F32 = np.empty(0, dtype=np.float32)


@compiled
def sum_bags(
    ids: I32, offsets: I64, table: Any, scales: F32, idf: F32, mode: int, padding: int
) -> F32:
    """Return one vector per bag, [B, D], as ``nn.EmbeddingBag`` does; zero for an empty bag.

    Args:
        ids: [N].
        offsets: [B + 1].
        table: [V, D], 32-bit floats, or integers with ``scales``.
        scales: scale of each row, [V]; empty: 1.
        idf: inverse document frequency of each row, [V], for tf-idf weights; empty: none.
        mode: ``SUM``, ``MEAN`` or ``MAX``.
        padding: the row that is left out; -1: none.

    >>> table, ids = np.array([[1, 2], [3, 6]], np.float32), np.array([0, 1, 1], np.int32)
    >>> offsets = np.array([0, 2, 2, 3])
    >>> sum_bags(ids, offsets, table, NO_F32, NO_F32, MEAN, -1).tolist()
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


@compiled
def text_outputs(
    data: U8, bounds: I32, encoder: Any, bags: Any, matrix: F32, bias: F32
) -> tuple[F32, int, int]:
    """Return the outputs of the linear layer for one text, [1, C], in one call.

    Args:
        data: the UTF-8 bytes of the text.
        bounds: where it begins and ends, [2].
        encoder: ``TextEncoder.kernel_arguments()``.
        bags: the arguments of :func:`sum_bags` after ``offsets``.
        matrix: the weights of the linear layer, [D, C].
        bias: its biases, [C].

    Returns:
        The outputs, the number of rows that are summed, and the number of words and n-grams.
    """
    rows, offsets, features = encode_text(data, bounds, *encoder)
    vectors = sum_bags(rows, offsets, *bags)
    return matmul_in_order(vectors, matrix) + bias, len(rows), features

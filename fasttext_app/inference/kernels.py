"""The forward pass on the CPU in compiled code: of bags, and of one text from its bytes on."""

from __future__ import annotations

from typing import Any

import numpy as np

from fasttext_app.core.arrays import F32, F64, I32, I64, constant
from fasttext_app.core.jit import compiled
from fasttext_app.core.matmul_kernels import matmul_in_order
from fasttext_app.core.packing import Packed, packed_array
from fasttext_app.core.prefetch import PREFETCH_DISTANCE, prefetch_row
from fasttext_app.text.kernels import encode_text

SUM, MEAN, MAX = range(3)
NO_F32 = constant(np.empty(0, dtype=np.float32))
FEW_TERMS = 128
"""The number of terms up to which :func:`sum_like_numpy` is right."""


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


# What is packed, in order:
RULES, PREFIX, ENDS_LINES, SLOTS, WORDS, BOUNDS, MINN, MAXN, LONGEST = range(9)
BUCKETS, FIRST_ROW, BITS, RANKS, STARTS, IDS, SCALES, IDF, MODE, PADDING = range(9, 19)
MATRIX, BIAS, RELATIVE = range(19, 22)


def pack_model(encoder: Any, bags: Any, matrix: F32, bias: F32, *, relative: bool) -> Packed:
    """Return the constants of a model for :func:`text_outputs`, all but its table.

    Args:
        encoder: ``TextEncoder.kernel_arguments()``.
        bags: the arguments of :func:`sum_bags` after the table.
        matrix: the weights of the linear layer, [D, C].
        bias: its biases, [C].
        relative: whether the outputs are relative to the largest one.
    """
    rules, prefix, ends_lines, (slots, *words), minn, maxn, longest, buckets, ranges = encoder
    values = (rules, prefix, ends_lines, slots.ravel(), *words, minn, maxn, longest)
    return Packed(*values, *buckets, *ranges, *bags, matrix.ravel(), bias, relative)


@compiled
def text_outputs(text: Any, table: Any, packed: I64, outputs: F64) -> tuple[int, int, int]:
    """Write the outputs of the linear layer for one text into ``outputs`` [C], in one call.

    Args:
        text: the UTF-8 bytes of the text.
        table: the table, [V, D].
        packed: the numbers of :func:`pack_model`.
        outputs: takes the outputs.

    Returns:
        The first class with the largest output, the number of rows that are summed, and the number
        of words and n-grams.
    """
    data = np.frombuffer(text, np.uint8)
    slots = packed_array(packed, SLOTS, np.uint64)
    rows, features = encode_text(
        data,
        packed[2 * RULES],
        packed_array(packed, PREFIX, np.uint8),
        packed[2 * ENDS_LINES] > 0,
        (
            slots.reshape(len(slots) // 2, 2),
            packed_array(packed, WORDS, np.uint8),
            packed_array(packed, BOUNDS, np.int32),
        ),
        packed[2 * MINN],
        packed[2 * MAXN],
        packed[2 * LONGEST],
        (
            packed[2 * BUCKETS],
            packed[2 * FIRST_ROW],
            packed_array(packed, BITS, np.uint64),
            packed_array(packed, RANKS, np.int32),
        ),
        (packed_array(packed, STARTS, np.int32), packed_array(packed, IDS, np.int32)),
    )
    vectors = sum_bags(
        rows,
        np.array([0, len(rows)]),
        table,
        packed_array(packed, SCALES, np.float32),
        packed_array(packed, IDF, np.float32),
        packed[2 * MODE],
        packed[2 * PADDING],
    )
    bias = packed_array(packed, BIAS, np.float32)
    matrix = packed_array(packed, MATRIX, np.float32).reshape(table.shape[1], len(bias))
    products = matmul_in_order(vectors, matrix)
    # The first of the largest outputs; one that is not a number is less than any other.
    best = 0
    for c in range(len(bias)):
        outputs[c] = products[0, c] + bias[c]
        if outputs[c] > outputs[best] or outputs[best] != outputs[best]:
            best = c
    if packed[2 * RELATIVE] > 0:
        largest = outputs[best]
        for c in range(len(bias)):
            outputs[c] -= largest
    return best, len(rows), features


@compiled
def sum_like_numpy(terms: F64) -> float:
    """Return the sum of up to 128 terms, added in the order of ``np.add.reduce``.

    NumPy takes longer to begin than to add so few.

    >>> terms = np.random.default_rng(0).random(100)
    >>> sum_like_numpy(terms) == np.add.reduce(terms).item()
    True
    """
    total, eights = 0.0, len(terms) - len(terms) % 8
    if eights:
        # Eight sums go side by side, and are then added in pairs.
        sums = np.zeros(8)
        for start in range(0, eights, 8):
            for lane in range(8):
                sums[lane] += terms[start + lane]
        total = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + (
            (sums[4] + sums[5]) + (sums[6] + sums[7])
        )
    for position in range(eights, len(terms)):
        total += terms[position]
    return total

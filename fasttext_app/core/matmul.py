"""A matrix product whose rows are bit-identical in any batch.

BLAS adds up the terms of a row in an order that depends on the number of rows, so the logits of a
text would depend on its batch. Here each sum adds its terms in order.
"""

from __future__ import annotations

import numpy as np

from fasttext_app.core import jit
from fasttext_app.core.arrays import F32

BYTES_LIKE_TEXT = 16
"""Bytes of vectors that NumPy multiplies about as fast as plain Python handles a byte of text."""


def matmul(vectors: F32, matrix: F32) -> F32:
    """Return ``vectors @ matrix`` [B, C]; each sum adds its D terms in order.

    Args:
        vectors: [B, D].
        matrix: [D, C], C-contiguous.

    >>> matmul(np.float32([[1, 2]]), np.float32([[3, 4, 5], [6, 7, 8]])).tolist()
    [[15.0, 18.0, 21.0]]
    """
    if jit.enabled(vectors.nbytes // BYTES_LIKE_TEXT):
        from fasttext_app.core.matmul_kernels import matmul_in_order

        return matmul_in_order(vectors, matrix)
    products = np.zeros((len(vectors), matrix.shape[1]), np.float32)
    for d in range(len(matrix)):
        products += vectors[:, d, None] * matrix[d]
    return products

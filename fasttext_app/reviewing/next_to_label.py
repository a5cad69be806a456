"""Unlabeled texts in the order in which labels for them teach most.

The rule is BADGE (Ash et al. 2020, "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower
Bounds", arXiv:1906.03671): the gradient of the output layer, if the predicted label were true, is
large for an uncertain text and points elsewhere for another kind of text. The seeds of k-means++
over these gradients are uncertain and diverse.

Shapes: **B** texts, **C** classes, **D** embedding dim.
"""

from __future__ import annotations

import numpy as np

from fasttext_app.core.arrays import F32, F64, I64


def next_to_label(
    proba: F64, vectors: F32, count: int, *, seed: int, independent: bool = False
) -> I64:
    """Return the texts to label first, in that order, [count].

    Args:
        proba: the probability of each class, [B, C].
        vectors: the vectors of the texts, [B, D].
        count: how many texts to return, at most B.
        seed: the seed of k-means++.
        independent: whether a text may have several labels.

    >>> proba = np.array([[0.9, 0.1], [0.5, 0.5], [0.5, 0.5], [0.6, 0.4]])
    >>> vectors = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    >>> next_to_label(proba, vectors, 2, seed=0).tolist()
    [1, 3]
    """
    # The gradient is the outer product of `error` and the vector, so that its inner products are
    # products of inner products, and it never needs to be written out.
    if independent:
        error = proba - (proba >= 0.5)
    else:
        error = proba.copy()
        error[np.arange(len(error)), proba.argmax(axis=1)] -= 1
    vectors = vectors.astype(np.float64)
    squares = (error**2).sum(axis=1) * (vectors**2).sum(axis=1)
    generator = np.random.default_rng(seed)
    order: list[int] = []
    distances = np.full(len(proba), np.inf)
    taken = np.zeros(len(proba), bool)
    for _ in range(min(count, len(proba))):
        if not order:
            row = int(squares.argmax())
        else:
            weights = np.where(taken, 0.0, distances)
            total = weights.sum()
            if total > 0:
                row = int(np.searchsorted(np.cumsum(weights), generator.random() * total, "right"))
                row = min(row, len(proba) - 1)
            else:  # all that is left is like a text that is chosen
                row = int(np.flatnonzero(~taken)[0])
        order.append(row)
        taken[row] = True
        products = (error @ error[row]) * (vectors @ vectors[row])
        distances = np.minimum(distances, np.maximum(squares + squares[row] - 2 * products, 0.0))
    return np.array(order, np.int64)

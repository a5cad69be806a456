"""Row-wise Adagrad on some columns of the table, compiled."""

from __future__ import annotations

import numpy as np

from fasttext_app.core.arrays import F32, I32
from fasttext_app.core.jit import compiled
from fasttext_app.core.prefetch import PREFETCH_DISTANCE, prefetch_row_for_write


@compiled
def step_rowwise_columns(
    table: F32,
    sums: F32,
    rows: I32,
    starts: I32,
    bags: I32,
    id_weights: F32,
    trained: F32,
    gradient: F32,
    first_column: int,
    settings: F32,
) -> None:
    """Update some columns of the rows of a batch from the gradient of all columns.

    The mean square of a row is summed over all D columns in their order, as
    ``cpu_kernels.step_rows`` sums it, so the result does not depend on who holds which columns.

    Args:
        table: columns of the parameter, [V, width]; updated in place.
        sums: the sum of the mean squares of each row, [V, 1]; updated in place.
        rows: the distinct rows of the batch, [U].
        starts: bounds of each row's group of ids, [U + 1].
        bags: the bag of each grouped id, [N].
        id_weights: the weight of each grouped id in its bag, [N]; [0] if all are 1.
        trained: 0 for each frozen row, else 1, [V]; [0] if none is frozen.
        gradient: gradient of the loss with respect to the bags, [B, D].
        first_column: the column of the parameter that is column 0 of ``table``.
        settings: lr and eps.
    """
    dim, weighted = gradient.shape[1], len(id_weights) > 0
    lr, eps = settings[0], settings[1]
    summed = np.empty(dim, np.float32)
    for group in range(len(rows)):
        row = rows[group]
        if group + PREFETCH_DISTANCE < len(rows):
            prefetch_row_for_write(table, rows[group + PREFETCH_DISTANCE])
            prefetch_row_for_write(sums, rows[group + PREFETCH_DISTANCE])
        if len(trained) and trained[row] == 0:
            continue

        # Sum the gradient of the whole row over its ids, in batch order.
        bag = bags[starts[group]]
        weight = id_weights[starts[group]] if weighted else np.float32(1)
        for d in range(dim):
            summed[d] = weight * gradient[bag, d]
        for i in range(starts[group] + 1, starts[group + 1]):
            bag, weight = bags[i], id_weights[i] if weighted else np.float32(1)
            for d in range(dim):
                summed[d] += weight * gradient[bag, d]

        # Add its mean square to the state, and update these columns.
        total = np.float32(0)
        for d in range(dim):
            total += summed[d] * summed[d]
        sums[row, 0] += total / np.float32(dim)
        scale = lr / (np.sqrt(sums[row, 0]) + eps)
        for d in range(table.shape[1]):
            table[row, d] -= scale * summed[first_column + d]

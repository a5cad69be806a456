"""Row-wise Adagrad on some columns of the table, compiled."""

from __future__ import annotations

import numpy as np

from fasttext_app.core.arrays import F32, I32
from fasttext_app.core.jit import compiled
from fasttext_app.core.prefetch import PREFETCH_DISTANCE, prefetch_row_for_write
from fasttext_app.core.vectors import LANES, prefetch_columns, sum_rows
from fasttext_app.training.optim.cpu_kernels import mean_square, step_row
from fasttext_app.training.optim.rules import ROWWISE_ADAGRAD


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

    The mean square of a row is that of all D columns, as ``cpu_kernels.step_rows`` sums it, so the
    result does not depend on who holds which columns.

    Args:
        table: columns of the parameter, [V, width]; updated in place.
        sums: the sum of the mean squares of each row, [V, 1]; updated in place.
        rows: the distinct rows of the batch, [U].
        starts: bounds of each row's group of ids, [U + 1].
        bags: the bag of each grouped id, [N].
        id_weights: the weight of each grouped id in its bag, [N]; [1] if all are 1.
        trained: 0 for each frozen row, else 1, [V]; [0] if none is frozen.
        gradient: gradient of the loss with respect to the bags, [B, D].
        first_column: the column of the parameter that is column 0 of ``table``.
        settings: as in ``cpu_kernels.step_rows``.
    """
    zero, dim, width, first = np.int64(0), gradient.shape[1], table.shape[1], sums.reshape(-1)
    flat, flat_gradient = table.reshape(-1), gradient.reshape(-1)
    last, weighted = len(bags) - 1, len(id_weights) > 1
    summed = np.zeros(dim + LANES, np.float32)
    for group in range(len(rows)):
        row = np.int64(rows[group])
        if group + PREFETCH_DISTANCE < len(rows):
            prefetch_columns(flat, rows[group + PREFETCH_DISTANCE] * width, width)
            prefetch_row_for_write(first, rows[group + PREFETCH_DISTANCE])
        if len(trained) and trained[row] == 0:
            continue
        sum_rows(
            summed, 0, flat_gradient, dim, 0, bags, starts[group], starts[group + 1], last,
            id_weights, weighted, dim,
        )  # fmt: skip
        square = mean_square(ROWWISE_ADAGRAD, summed, dim)
        step_row(
            ROWWISE_ADAGRAD, flat, first, first, row, width, zero, summed, first_column, width,
            square, settings, zero,
        )  # fmt: skip

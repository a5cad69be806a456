"""The table in compiled code: batches cut out, rows stepped, bags summed up for prediction.

=================  =============================================================================
``cut_batches``    ``EncodedDataset.gather``, batch by batch, and each batch's :class:`RowPlan`
``STEP_ROWS``      the optimizers of ``torch.optim`` on a sparse gradient
``sum_bags``       ``nn.EmbeddingBag``
=================  =============================================================================

Tests hold each equal to what it stands for. Shapes: **N** ids, **B** bags, **U** distinct rows of a
batch, **V** table rows, **D** embedding dim.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasttext_app.core.arrays import F32, I32, I64
from fasttext_app.core.jit import compiled
from fasttext_app.core.prefetch import PREFETCH_DISTANCE, prefetch_row, prefetch_row_for_write
from fasttext_app.training.token_dropout_kernels import keep_ids

NO_F32 = np.empty(0, dtype=np.float32)
TEXTS_AHEAD, LINE_IDS = 8, 16  # the same for the ids of a text; a cache line holds so many of them


@compiled
def cut_batches(
    indices: I32,
    offsets: I64,
    order: I64,
    batch_size: int,
    idf: F32,
    mean: bool,
    padding: int,
    scratch: I32,
    dropped: int,
    key: np.uint64,
) -> tuple[Any, ...]:
    """Gather texts in an order and cut them into batches, each with its ids grouped by row.

    Args:
        indices: the ids of all texts, end to end.
        offsets: where each text begins and ends.
        order: the texts to gather, in their order.
        batch_size: texts in a batch.
        idf: the inverse document frequency of every row, for tf-idf weights; empty: no weights.
        mean: whether a bag is the mean of its rows: then every id weighs 1 / length in the groups.
        padding: the row that takes no part; -1: none.
        scratch: a working space of one entry for each table row; it may hold anything at first.
        dropped: how many of 2^32 ids are left out, by a hash of key, text and place; 0: none.
        key: makes the hash another one in each epoch.

    Returns:
        ``ids`` and their ``weights``, cut by ``id_bounds`` [batches + 1]; the ``bag_offsets`` of
        every batch (its texts + 1 each); the distinct ``rows``, cut by ``row_bounds``; where each
        row's group ``starts`` in its batch (rows + 1 each); and the ``bags`` that the grouped ids
        stand in, with their ``shares``, cut by ``group_bounds``.
    """
    batches = (len(order) + batch_size - 1) // batch_size
    total, longest = 0, 0
    for batch in range(batches):
        size = 0
        for text in order[batch * batch_size : (batch + 1) * batch_size]:
            size += offsets[text + 1] - offsets[text]
        total += size
        longest = max(longest, size)
    weighted = len(idf) > 0
    ids, rows = np.empty(total, np.int32), np.empty(total, np.int32)
    bags, starts = np.empty(total, np.int32), np.empty(total + batches, np.int32)
    weights = np.empty(total if weighted else 0, np.float32)
    shares = np.empty(total if weighted or mean else 0, np.float32)
    bag_offsets = np.empty(len(order) + batches, np.int32)
    id_bounds, row_bounds, group_bounds = (
        np.zeros(batches + 1, np.int64),
        np.zeros(batches + 1, np.int64),
        np.zeros(batches + 1, np.int64),
    )
    group_of, sizes = np.empty(longest, np.int32), np.empty(longest, np.int32)
    for batch in range(batches):
        texts = order[batch * batch_size : (batch + 1) * batch_size]
        first_id, first_row, grouped = id_bounds[batch], row_bounds[batch], group_bounds[batch]
        my_offsets = bag_offsets[batch * batch_size + batch :]
        my_offsets[0] = made = 0
        for bag in range(len(texts)):
            if bag + TEXTS_AHEAD < len(texts):
                ahead = texts[bag + TEXTS_AHEAD]
                for at in range(offsets[ahead], offsets[ahead + 1], LINE_IDS):
                    prefetch_row(indices, at)
            begin, end = offsets[texts[bag]], offsets[texts[bag] + 1]
            if dropped == 0:
                for at in range(begin, end):
                    ids[first_id + made + at - begin] = indices[at]
                made += end - begin
            else:
                made += keep_ids(
                    indices[begin:end], ids[first_id + made :], dropped, key, texts[bag]
                )
            my_offsets[bag + 1] = made
        my_ids, my_rows, found = ids[first_id : first_id + made], rows[first_row:], 0
        for at in range(made):
            if at + PREFETCH_DISTANCE < made:
                prefetch_row_for_write(scratch, my_ids[at + PREFETCH_DISTANCE])
            row = my_ids[at]
            if row == padding:
                group_of[at] = -1
                continue
            group = scratch[row]  # this row's group, or a number left from before
            if group < 0 or group >= found or my_rows[group] != row:
                group = found
                scratch[row], my_rows[group], sizes[group] = group, row, 0
                found += 1
            sizes[group] += 1
            group_of[at] = group
        my_starts, place = starts[first_row + batch :], 0
        for group in range(found):  # `sizes` becomes where the next id of each group goes
            my_starts[group] = place
            place += sizes[group]
            sizes[group] = my_starts[group]
        my_starts[found] = place
        my_bags, my_shares, my_weights = bags[grouped:], shares[grouped:], weights[first_id:]
        for bag in range(len(texts)):
            begin, end, share = my_offsets[bag], my_offsets[bag + 1], np.float32(1)
            if weighted:
                sum_idf = np.float32(0)
                for at in range(begin, end):
                    if at + PREFETCH_DISTANCE < made:
                        prefetch_row(idf, my_ids[at + PREFETCH_DISTANCE])
                    my_weights[at] = idf[my_ids[at]]
                    sum_idf += my_weights[at]
                for at in range(begin, end):
                    my_weights[at] /= sum_idf
            elif mean:
                real = 0
                for at in range(begin, end):
                    real += group_of[at] >= 0
                share = np.float32(1) / np.float32(max(real, 1))
            for at in range(begin, end):
                group = group_of[at]
                if group >= 0:
                    place = sizes[group]
                    sizes[group] += 1
                    my_bags[place] = bag
                    if weighted:
                        my_shares[place] = my_weights[at]
                    elif mean:
                        my_shares[place] = share
        id_bounds[batch + 1] = first_id + made
        row_bounds[batch + 1] = first_row + found
        group_bounds[batch + 1] = grouped + my_starts[found]
    return (
        ids,
        weights,
        id_bounds,
        bag_offsets,
        rows,
        row_bounds,
        starts,
        bags,
        shares,
        group_bounds,
    )

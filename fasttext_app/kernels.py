"""The table in compiled code: batches cut out, rows stepped, bags summed up for prediction.

=================  =============================================================================
``cut_batches``    ``EncodedDataset.gather``, batch by batch, and each batch's :class:`RowPlan`
``step_rows``      the optimizers of ``torch.optim`` on a sparse gradient
``sum_bags``       ``nn.EmbeddingBag``
=================  =============================================================================

Tests hold each equal to what it stands for. Shapes: **N** ids, **B** bags, **U** distinct rows of a
batch, **V** table rows, **D** embedding dim.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fasttext_app.compiled import compiled, prefetch_row, prefetch_to_write

__all__ = [
    "ADAGRAD",
    "ADAM",
    "ROWWISE",
    "SGD",
    "cut_batches",
    "find_winners",
    "load_kernels",
    "step_rows",
    "sum_bags",
]

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

SGD, ADAGRAD, ROWWISE, ADAM = range(4)
SUM, MEAN, MAX = range(3)
NO_F32 = np.empty(0, dtype=np.float32)
AHEAD = 16  # how many rows before its turn a row is fetched


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
    group_of, bag_of = np.empty(longest, np.int32), np.empty(longest, np.int32)
    share_of = np.empty(longest if mean else 0, np.float32)
    sizes = np.empty(longest, np.int32)
    for batch in range(batches):
        first_id, first_row, first_grouped = (
            id_bounds[batch],
            row_bounds[batch],
            group_bounds[batch],
        )
        first_text = batch * batch_size
        made, found, grouped = 0, 0, 0
        offset_at = first_text + batch
        bag_offsets[offset_at] = 0
        for bag, text in enumerate(order[first_text : first_text + batch_size]):
            begin, end, sum_idf = offsets[text], offsets[text + 1], np.float32(0)
            real = end - begin
            for at in range(begin, end):
                row = indices[at]
                if at + AHEAD < end:
                    prefetch_to_write(scratch, indices[at + AHEAD])
                ids[first_id + made] = row
                if weighted:
                    weights[first_id + made] = idf[row]
                    sum_idf += idf[row]
                if row == padding:
                    group_of[made] = -1
                    real -= 1
                else:
                    group = scratch[row]  # this row's group, or a number left from before
                    if group < 0 or group >= found or rows[first_row + group] != row:
                        group = found
                        scratch[row] = found
                        rows[first_row + found] = row
                        sizes[found] = 0
                        found += 1
                    sizes[group] += 1
                    group_of[made] = group
                    grouped += 1
                bag_of[made] = bag
                made += 1
            if weighted:
                for at in range(first_id + made - (end - begin), first_id + made):
                    weights[at] /= sum_idf
            elif mean:
                share_of[made - (end - begin) : made] = np.float32(1) / np.float32(max(real, 1))
            bag_offsets[offset_at + bag + 1] = made
        first_start, at = first_row + batch, 0
        for group in range(found):  # `sizes` becomes where the next id of each group goes
            starts[first_start + group] = at
            at += sizes[group]
            sizes[group] = starts[first_start + group]
        starts[first_start + found] = at
        for number in range(made):
            group = group_of[number]
            if group >= 0:
                place = first_grouped + sizes[group]
                sizes[group] += 1
                bags[place] = bag_of[number]
                if weighted:
                    shares[place] = weights[first_id + number]
                elif mean:
                    shares[place] = share_of[number]
        id_bounds[batch + 1] = first_id + made
        row_bounds[batch + 1] = first_row + found
        group_bounds[batch + 1] = first_grouped + grouped
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


@compiled
def find_winners(table: F32, ids: I32, bag_offsets: I32, padding: int) -> I32:
    """Return the row that gives each number of a ``max`` bag, [B, D]; -1 in an empty bag."""
    winners = np.full((len(bag_offsets) - 1, table.shape[1]), -1, np.int32)
    for bag in range(len(winners)):
        for at in range(bag_offsets[bag], bag_offsets[bag + 1]):
            row = ids[at]
            if row != padding:
                for d in range(table.shape[1]):
                    best = winners[bag, d]
                    if best < 0 or table[row, d] > table[best, d]:
                        winners[bag, d] = row
    return winners


@compiled
def step_rows(
    rule: int,
    table: F32,
    first: F32,
    second: F32,
    rows: I32,
    starts: I32,
    bags: I32,
    shares: F32,
    winners: I32,
    trained: F32,
    gradient: F32,
    settings: F32,
) -> None:
    """Step the rows of a batch, by the gradient of its bags.

    A row's gradient is summed up over the ids that stand on it, in their order in the batch, so the
    result is the same to the bit however the work was shared out.

    Args:
        rule: ``SGD``, ``ADAGRAD``, ``ROWWISE`` or ``ADAM``.
        table: [V, D], stepped in place.
        first: ADAGRAD: sums of squares [V, D]; ROWWISE: their means by row [V, 1]; ADAM: the first
            moments [V, D]; else [0, 0].
        second: ADAM: the second moments [V, D]; else [0, 0].
        rows: the distinct rows of the batch, [U].
        starts: where the group of each row begins and ends, [U + 1].
        bags: the bag of every grouped id, [N].
        shares: the weight of every grouped id, [N]; [0]: all 1.
        winners: for ``max`` bags, which row gave each number, [B, D]; else [0, 0].
        trained: 1 for a row that is stepped, 0 for one that stays, [V]; [0]: all are stepped.
        gradient: the loss by the bags, [B, D].
        settings: rate, eps, 1 - beta 1, 1 - beta 2; the rate of ADAM has its bias corrections.
    """
    dim, by_winner = table.shape[1], len(winners) > 0
    rate, eps, new1, new2 = settings[0], settings[1], settings[2], settings[3]
    summed = np.empty(dim, np.float32)
    for group in range(len(rows)):
        row = rows[group]
        if group + AHEAD < len(rows):
            prefetch_to_write(table, rows[group + AHEAD])
            if len(first):
                prefetch_to_write(first, rows[group + AHEAD])
            if len(second):
                prefetch_to_write(second, rows[group + AHEAD])
        if len(trained) and trained[row] == 0:
            continue
        summed[:] = 0
        last = -1
        for at in range(starts[group], starts[group + 1]):
            bag = bags[at]
            if by_winner:
                if bag != last:  # a row that is twice in a bag wins once
                    for d in range(dim):
                        if winners[bag, d] == row:
                            summed[d] += gradient[bag, d]
                last = bag
            elif len(shares):
                share = shares[at]
                for d in range(dim):
                    summed[d] += share * gradient[bag, d]
            else:
                for d in range(dim):
                    summed[d] += gradient[bag, d]
        if rule == SGD:
            for d in range(dim):
                table[row, d] -= rate * summed[d]
        elif rule == ADAGRAD:
            for d in range(dim):
                first[row, d] += summed[d] * summed[d]
                table[row, d] -= rate * (summed[d] / (np.sqrt(first[row, d]) + eps))
        elif rule == ROWWISE:
            square = np.float32(0)
            for d in range(dim):
                square += summed[d] * summed[d]
            first[row, 0] += square / np.float32(dim)
            scale = rate / (np.sqrt(first[row, 0]) + eps)
            for d in range(dim):
                table[row, d] -= scale * summed[d]
        else:
            for d in range(dim):
                first[row, d] += new1 * (summed[d] - first[row, d])
                second[row, d] += new2 * (summed[d] * summed[d] - second[row, d])
                table[row, d] -= rate * (first[row, d] / (np.sqrt(second[row, d]) + eps))


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
    dim, weighted = table.shape[1], len(idf) > 0
    vectors = np.zeros((len(offsets) - 1, dim), np.float32)
    for bag in range(len(offsets) - 1):
        real, total = 0, np.float32(0)
        for at in range(offsets[bag], offsets[bag + 1]):
            row = ids[at]
            if at + AHEAD < len(ids):
                prefetch_row(table, ids[at + AHEAD])
            weight = idf[row] if weighted else np.float32(1)
            total += weight
            if row == padding:
                continue
            if len(scales):
                weight *= scales[row]
            if mode == MAX:
                for d in range(dim):
                    value = weight * table[row, d]
                    if real == 0 or value > vectors[bag, d]:
                        vectors[bag, d] = value
            else:
                for d in range(dim):
                    vectors[bag, d] += weight * table[row, d]
            real += 1
        if weighted or mode == MEAN:
            if real > 0:
                share = np.float32(1) / (total if weighted else np.float32(real))
                for d in range(dim):
                    vectors[bag, d] *= share
    return vectors


def load_kernels() -> None:
    """Load the code of a training step, by a step of next to nothing; a tenth of a second."""
    one, ends = np.zeros(1, np.int32), np.array([0, 1], np.int64)
    nothing = np.empty((0, 0), np.float32)
    made = cut_batches(one, ends, ends[:1], 1, NO_F32, False, -1, np.zeros(1, np.int32))
    rows, starts, bags, shares = made[4], made[6], made[7], made[8]
    values, settings = np.zeros((1, 1), np.float32), np.ones(4, np.float32)
    winners = np.empty((0, 0), np.int32)
    step_rows(
        SGD,
        values,
        nothing,
        nothing,
        rows,
        starts,
        bags,
        shares,
        winners,
        NO_F32,
        values.copy(),
        settings,
    )

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

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttext_app.compiled import compiled, prefetch_row, prefetch_to_write
from fasttext_app.dropout_kernels import keep_ids

__all__ = [
    "ADAGRAD",
    "ADAM",
    "ROWWISE",
    "RULES",
    "SGD",
    "STEP_ROWS",
    "cut_batches",
    "dense_rule",
    "find_winners",
    "load_kernels",
    "sum_bags",
]

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

SGD, ADAGRAD, ROWWISE, ADAM = range(4)
RULES = {"sgd": SGD, "adagrad": ADAGRAD, "rowwise_adagrad": ROWWISE, "sparse_adam": ADAM}
"""The rule of each optimizer."""
SUM, MEAN, MAX = range(3)
NO_F32 = np.empty(0, dtype=np.float32)
AHEAD = 16  # how many rows before its turn a row is fetched
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
            if at + AHEAD < made:
                prefetch_to_write(scratch, my_ids[at + AHEAD])
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
                    if at + AHEAD < made:
                        prefetch_row(idf, my_ids[at + AHEAD])
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


def _stepper(rule: int) -> Callable[..., None]:
    """Return the kernel of one rule; without a choice amid it, the compiler makes better code."""

    @compiled
    def step_rows(
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

        A row's gradient is summed up over the ids that stand on it, in their order in the batch, so
        the result is the same to the bit however the work was shared out.

        Args:
            table: [V, D], stepped in place.
            first: ADAGRAD: sums of squares [V, D]; ROWWISE: their means by row [V, 1]; ADAM: the
                first moments [V, D]; else [0, 0].
            second: ADAM: the second moments [V, D]; else [0, 0].
            rows: the distinct rows of the batch, [U].
            starts: where the group of each row begins and ends, [U + 1]; none is empty.
            bags: the bag of every grouped id, [N].
            shares: the weight of every grouped id, [N]; [0]: all 1.
            winners: for ``max`` bags, which row gave each number, [B, D]; else [0, 0].
            trained: 1 for a row that is stepped, 0 for one that stays, [V]; [0]: all are stepped.
            gradient: the loss by the bags, [B, D].
            settings: rate, eps, 1 - beta 1, 1 - beta 2; the rate of ADAM has its bias corrections.
        """
        dim, by_winner, weighted = table.shape[1], len(winners) > 0, len(shares) > 0
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
            begin, end = starts[group], starts[group + 1]
            if by_winner:
                for d in range(dim):
                    summed[d] = 0
                last = -1
                for at in range(begin, end):
                    bag = bags[at]
                    if bag != last:  # a row that is twice in a bag wins once
                        for d in range(dim):
                            if winners[bag, d] == row:
                                summed[d] += gradient[bag, d]
                    last = bag
            else:  # most rows of a batch stand in one of its texts
                bag, share = bags[begin], shares[begin] if weighted else np.float32(1)
                for d in range(dim):
                    summed[d] = share * gradient[bag, d]
                for at in range(begin + 1, end):
                    bag, share = bags[at], shares[at] if weighted else np.float32(1)
                    for d in range(dim):
                        summed[d] += share * gradient[bag, d]
            if rule == SGD:
                for d in range(dim):
                    table[row, d] -= rate * summed[d]
            elif rule == ADAGRAD:
                for d in range(dim):
                    square = first[row, d] + summed[d] * summed[d]
                    first[row, d] = square
                    table[row, d] -= rate * (summed[d] / (np.sqrt(square) + eps))
            elif rule == ROWWISE:
                total = np.float32(0)
                for d in range(dim):
                    total += summed[d] * summed[d]
                first[row, 0] += total / np.float32(dim)
                scale = rate / (np.sqrt(first[row, 0]) + eps)
                for d in range(dim):
                    table[row, d] -= scale * summed[d]
            else:
                for d in range(dim):
                    mean = first[row, d] + new1 * (summed[d] - first[row, d])
                    square = second[row, d]
                    square += new2 * (summed[d] * summed[d] - square)
                    first[row, d], second[row, d] = mean, square
                    table[row, d] -= rate * (mean / (np.sqrt(square) + eps))

    return step_rows


STEP_ROWS = [_stepper(rule) for rule in range(len(RULES))]
"""By rule."""


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
            if at + AHEAD < len(ids):
                prefetch_row(table, ids[at + AHEAD])
                if weighted:
                    prefetch_row(idf, ids[at + AHEAD])
                if scaled:
                    prefetch_row(scales, ids[at + AHEAD])
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


def dense_rule(optimizer: str) -> int:
    """Return the rule for the layer on top: where the table's is by row, its plain form."""
    return ADAGRAD if RULES[optimizer] == ROWWISE else RULES[optimizer]


def load_kernels(optimizer: str) -> None:
    """Load the code of a training step, by a step of next to nothing; a tenth of a second."""
    one, ends, none = np.zeros(1, np.int32), np.array([0, 1], np.int64), np.empty((0, 0), np.int32)
    made = cut_batches(one, ends, ends[:1], 1, NO_F32, False, -1, one.copy(), 0, np.uint64(0))
    plan = made[4], made[6], made[7], made[8]
    values, state, more, gradient = np.zeros((4, 1, 1), np.float32)
    for rule in {RULES[optimizer], dense_rule(optimizer)}:
        STEP_ROWS[rule](values, state, more, *plan, none, NO_F32, gradient, np.ones(4, np.float32))

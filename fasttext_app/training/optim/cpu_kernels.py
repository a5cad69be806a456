"""The optimizers of ``torch.optim`` on a sparse gradient, in compiled code for the CPU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fasttext_app.core.arrays import F32, I32
from fasttext_app.core.jit import PREFETCH_DISTANCE, compiled, prefetch_row_for_write
from fasttext_app.training.batch_kernels import NO_F32, cut_batches

SGD, ADAGRAD, ROWWISE, ADAM = range(4)


RULES = {"sgd": SGD, "adagrad": ADAGRAD, "rowwise_adagrad": ROWWISE, "sparse_adam": ADAM}
"""The rule of each optimizer."""


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
            if group + PREFETCH_DISTANCE < len(rows):
                prefetch_row_for_write(table, rows[group + PREFETCH_DISTANCE])
                if len(first):
                    prefetch_row_for_write(first, rows[group + PREFETCH_DISTANCE])
                if len(second):
                    prefetch_row_for_write(second, rows[group + PREFETCH_DISTANCE])
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

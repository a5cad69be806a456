"""Row updates on the CPU: the rules of :mod:`fasttext_app.training.optim.rules`, compiled.

Shapes: **N** ids in a batch, **B** bags (texts), **U** distinct rows of a batch, **V** table rows,
**D** embedding dim.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fasttext_app.core.arrays import F32, I32, I64
from fasttext_app.core.jit import compiled
from fasttext_app.core.prefetch import PREFETCH_DISTANCE, prefetch_row, prefetch_row_for_write
from fasttext_app.training.batch_kernels import NO_F32, cut_batches, cut_words
from fasttext_app.training.optim.rules import ADAGRAD, OPTIMIZERS, ROWWISE_ADAGRAD, RULES, SGD

NO_WINNERS = np.empty((0, 0), np.int32)


@compiled
def find_winners(table: F32, ids: I32, bag_offsets: I32, padding: int) -> I32:
    """Return the row that supplies each number of a ``max`` bag, [B, D]; -1 in an empty bag.

    >>> table = np.array([[1, 9], [5, 2], [3, 3]], np.float32)
    >>> ids, offsets = np.array([0, 1, 2], np.int32), np.array([0, 3, 3], np.int32)
    >>> find_winners(table, ids, offsets, -1).tolist()  # the bags are [5, 9] and empty
    [[1, 0], [-1, -1]]
    """
    winners = np.full((len(bag_offsets) - 1, table.shape[1]), -1, np.int32)
    for bag in range(len(winners)):
        for i in range(bag_offsets[bag], bag_offsets[bag + 1]):
            row = ids[i]
            if row != padding:
                for d in range(table.shape[1]):
                    best = winners[bag, d]
                    if best < 0 or table[row, d] > table[best, d]:
                        winners[bag, d] = row
    return winners


@compiled
def pool_rows(table: F32, ids: I32, offsets: I32, weights: F32) -> F32:
    """Return the weighted sum of the rows of each bag, [B, D].

    Args:
        table: [V, D].
        ids: the rows of the bags, end to end, [N].
        offsets: bounds of each bag in ``ids``, [B + 1].
        weights: the weight of each id, [N]; [0] if all are 1.

    >>> table, ids = np.array([[1, 2], [10, 20]], np.float32), np.array([0, 1, 1], np.int32)
    >>> pool_rows(table, ids, np.array([0, 2, 2, 3], np.int32), np.empty(0, np.float32)).tolist()
    [[11.0, 22.0], [0.0, 0.0], [10.0, 20.0]]
    """
    bags, dim, weighted = len(offsets) - 1, table.shape[1], len(weights) > 0
    vectors = np.empty((bags, dim), np.float32)
    total = np.empty(dim, np.float32)
    for bag in range(bags):
        for d in range(dim):
            total[d] = 0
        for i in range(offsets[bag], offsets[bag + 1]):
            if i + PREFETCH_DISTANCE < len(ids):
                prefetch_row(table, ids[i + PREFETCH_DISTANCE])
            row, weight = ids[i], weights[i] if weighted else np.float32(1)
            for d in range(dim):
                total[d] += weight * table[row, d]
        for d in range(dim):
            vectors[bag, d] = total[d]
    return vectors


@compiled
def layer_gradients(
    bags: F32,
    classes: I64,
    text_weights: F32,
    weight: F32,
    bias: F32,
    smoothing: float,
    softmax: bool,
) -> tuple[np.float64, F32, F32, F32]:
    """Return the mean loss of a batch and its gradients; see ``losses.Loss``.

    Args:
        bags: the vector of each text, [B, D].
        classes: the class of each text, [B].
        text_weights: the weight of each text in the loss, [B]; [0]: 1.
        weight: of the linear layer, [C, D].
        bias: of the linear layer, [C, 1].
        smoothing: the part of each target that is spread evenly over all classes.
        softmax: softmax; otherwise one-vs-all.

    Returns:
        The loss, and its gradients with respect to bags, weight and bias.
    """
    texts, dim, outputs = len(bags), bags.shape[1], len(weight)
    weight_columns = np.ascontiguousarray(weight.T)
    bag_gradient = np.zeros((texts, dim), np.float32)
    weight_gradient = np.zeros((outputs, dim), np.float32)
    bias_gradient = np.zeros((outputs, 1), np.float32)
    logits, probabilities = np.empty(outputs, np.float32), np.empty(outputs, np.float32)
    spread = np.float32(smoothing / outputs)
    right = np.float32(1 - smoothing) + spread
    mean_loss = np.float64(0)
    for text in range(texts):
        for c in range(outputs):
            logits[c] = bias[c, 0]
        for d in range(dim):
            value = bags[text, d]
            for c in range(outputs):
                logits[c] += value * weight_columns[d, c]

        # The probabilities, and the loss: minus the sum of target x log probability.
        loss = np.float32(0)
        if softmax:
            largest = logits.max()
            total = np.float32(0)
            for c in range(outputs):
                probabilities[c] = np.exp(logits[c] - largest)
                total += probabilities[c]
            log_total = largest + np.log(total)
            for c in range(outputs):
                target = right if c == classes[text] else spread
                probabilities[c] /= total
                loss += target * (log_total - logits[c])
        else:
            for c in range(outputs):
                target = right if c == classes[text] else spread
                small = np.exp(-np.abs(logits[c]))
                probabilities[c] = (np.float32(1) if logits[c] >= 0 else small) / (
                    np.float32(1) + small
                )
                loss += max(logits[c], np.float32(0)) - target * logits[c] + np.log1p(small)

        share = np.float32(1) / np.float32(texts)
        if len(text_weights):
            share *= text_weights[text]
        mean_loss += share * loss
        for c in range(outputs):
            target = right if c == classes[text] else spread
            logit_gradient = share * (probabilities[c] - target)
            bias_gradient[c, 0] += logit_gradient
            for d in range(dim):
                weight_gradient[c, d] += logit_gradient * bags[text, d]
            for d in range(dim):
                bag_gradient[text, d] += logit_gradient * weight[c, d]
    return mean_loss, bag_gradient, weight_gradient, bias_gradient


def _compile_step_rows(rule: int) -> Callable[..., None]:
    """Return the kernel of one rule; with the rule fixed, its inner loops have no branches.

    An example, with ``sgd``, lr 0.1 and ``mean`` bags. The ids of two texts, [7, 2] and [7], are
    grouped as rows [7, 2], starts [0, 2, 3], bags [0, 1, 0] and id_weights [0.5, 1, 0.5]. Then

        table[7] -= 0.1 * (0.5 * gradient[0] + 1 * gradient[1])
        table[2] -= 0.1 * (0.5 * gradient[0])
    """

    @compiled
    def step_rows(
        table: F32,
        first: F32,
        second: F32,
        rows: I32,
        starts: I32,
        bags: I32,
        id_weights: F32,
        winners: I32,
        trained: F32,
        gradient: F32,
        settings: F32,
    ) -> None:
        """Update the rows of a batch from the gradient of its bags.

        A row's gradient is summed over the ids that refer to it, in batch order, so the result is
        bit-identical for any number of threads.

        Args:
            table: the parameter, [V, D]; updated in place.
            first: first state array; updated in place. Sums of squared gradients [V, D] for
                ADAGRAD, sums of their row means [V, 1] for ROWWISE_ADAGRAD, first moments [V, D]
                for ADAM, [0, 0] for SGD.
            second: second state array; updated in place. Second moments [V, D] for ADAM, else
                [0, 0].
            rows: the distinct rows of the batch, [U].
            starts: bounds of each row's group of ids, [U + 1]; no group is empty.
            bags: the bag of each grouped id, [N].
            id_weights: the weight of each grouped id in its bag, [N]; [0] if all are 1.
            winners: the row that supplies each number of a ``max`` bag, [B, D]; else [0, 0].
            trained: 0 for each frozen row, else 1, [V]; [0] if none is frozen.
            gradient: gradient of the loss with respect to the bags, [B, D].
            settings: lr, eps, 1 - beta1, 1 - beta2; for ADAM, lr includes the bias corrections.
        """
        dim, by_winner, weighted = table.shape[1], len(winners) > 0, len(id_weights) > 0
        lr, eps, new1, new2 = settings[0], settings[1], settings[2], settings[3]
        summed = np.empty(dim, np.float32)
        for group in range(len(rows)):
            # Rows lie at random addresses: start loading the ones that are needed soon.
            row = rows[group]
            if group + PREFETCH_DISTANCE < len(rows):
                prefetch_row_for_write(table, rows[group + PREFETCH_DISTANCE])
                if len(first):
                    prefetch_row_for_write(first, rows[group + PREFETCH_DISTANCE])
                if len(second):
                    prefetch_row_for_write(second, rows[group + PREFETCH_DISTANCE])
            if len(trained) and trained[row] == 0:
                continue

            # Sum the row's gradient over its ids. In a `max` bag a row takes the gradient only of
            # the numbers it supplies, and only once, even if its id is in the bag twice. The other
            # branch starts from the first id, as most rows of a batch have just one.
            begin, end = starts[group], starts[group + 1]
            if by_winner:
                for d in range(dim):
                    summed[d] = 0
                last = -1
                for i in range(begin, end):
                    bag = bags[i]
                    if bag != last:
                        for d in range(dim):
                            if winners[bag, d] == row:
                                summed[d] += gradient[bag, d]
                    last = bag
            else:
                bag, weight = bags[begin], id_weights[begin] if weighted else np.float32(1)
                for d in range(dim):
                    summed[d] = weight * gradient[bag, d]
                for i in range(begin + 1, end):
                    bag, weight = bags[i], id_weights[i] if weighted else np.float32(1)
                    for d in range(dim):
                        summed[d] += weight * gradient[bag, d]

            # Apply the rule to the row and its state.
            if rule == SGD:
                for d in range(dim):
                    table[row, d] -= lr * summed[d]
            elif rule == ADAGRAD:
                for d in range(dim):
                    square = first[row, d] + summed[d] * summed[d]
                    first[row, d] = square
                    table[row, d] -= lr * (summed[d] / (np.sqrt(square) + eps))
            elif rule == ROWWISE_ADAGRAD:
                total = np.float32(0)
                for d in range(dim):
                    total += summed[d] * summed[d]
                first[row, 0] += total / np.float32(dim)
                scale = lr / (np.sqrt(first[row, 0]) + eps)
                for d in range(dim):
                    table[row, d] -= scale * summed[d]
            else:  # ADAM
                for d in range(dim):
                    mean = first[row, d] + new1 * (summed[d] - first[row, d])
                    square = second[row, d]
                    square += new2 * (summed[d] * summed[d] - square)
                    first[row, d], second[row, d] = mean, square
                    table[row, d] -= lr * (mean / (np.sqrt(square) + eps))

    return step_rows


STEP_ROWS = [_compile_step_rows(rule) for rule in RULES]
"""The kernel of each rule."""


def load_kernels(optimizer: str, *, by_word: bool = False) -> None:
    """Load the kernels of a training step by a step on one id; takes a tenth of a second."""
    one, ends = np.zeros(1, np.int32), np.array([0, 1], np.int64)
    values, first, second, gradient = np.zeros((4, 1, 1), np.float32)
    bags = pool_rows(values, one, ends.astype(np.int32), NO_F32)
    layer_gradients(bags, ends[:1], NO_F32, values, values, 0.0, True)
    if by_word:
        cut = cut_words(one, ends, ends[:1], 1, one + 1, NO_F32, False, one.copy())
        groups = cut[13], cut[14], cut[7], NO_F32
    else:
        cut = cut_batches(one, ends, ends[:1], 1, NO_F32, False, -1, one.copy(), 0, np.uint64(0))
        groups = cut[4], cut[6], cut[7], cut[8]
    for rule in set(OPTIMIZERS[optimizer]):
        STEP_ROWS[rule](
            values, first, second, *groups, NO_WINNERS, NO_F32, gradient, np.ones(4, np.float32)
        )

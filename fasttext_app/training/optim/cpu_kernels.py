"""The training step on the CPU, compiled: bags, output layer, loss, gradients and row updates.

:func:`train_batches` does all of it for the losses that look at every class, on several threads.
Each thread owns some *columns* of the table, of its optimizer state and of the output layer, goes
through all ids of a batch, and updates its own columns. So no number is ever written by two
threads, no sum changes its order, and the result is the same for any number of threads. Only bags
and logit gradients cross between the threads::

    own columns   bags, as sums of words, and those as sums of table rows
    own texts     logits, loss and its gradient
    own columns   gradients of bags, layer, words and rows; updates of layer and rows

Between two of these phases all threads meet. Two meetings in a batch suffice: what a phase writes
is either read by the same thread only (columns), or by others in the next phase (bags, logit
gradients) or in the middle phase of the next batch (the layer), and it is written again only after
the next meeting but one.

The other losses use autograd for the layer, and :func:`pool_rows` and :func:`step_rows` for rows.

Shapes: **N** ids in a batch, **B** bags (texts), **U** distinct rows of a batch, **V** table rows,
**D** embedding dim, **C** classes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fasttext_app.core.arrays import F32, F64, I32, I64
from fasttext_app.core.barrier import meet
from fasttext_app.core.jit import compiled
from fasttext_app.core.prefetch import PREFETCH_DISTANCE, prefetch_row_for_write
from fasttext_app.core.vectors import (
    LANES,
    PANEL,
    TILE_ROWS,
    block_squares,
    multiply_row,
    multiply_tile,
    prefetch_columns,
    step_adagrad,
    step_adam,
    step_sgd,
    sum_rows,
)
from fasttext_app.training.optim.rules import ADAGRAD, ADAM, ROWWISE_ADAGRAD, SGD
from fasttext_app.training.piece import Piece

Index = Any
"""``int`` or ``np.int64``, which compiled code does not tell apart."""
NO_WINNERS = np.empty((0, 0), np.int32)
NO_F32 = np.empty(0, np.float32)
ONE = np.ones(1, np.float32)
"""The weights of ids that all weigh 1."""
DEPTH = 256
"""Terms of the sums of a matrix product that are added before the next tile, to stay in a cache."""
CHUNK = 1 << 17
"""Numbers of row gradients that stay in a cache while the threads exchange their squares."""


class Columns(NamedTuple):
    """The columns of one thread, and its buffers. Matrices are flat.

    The rows of the table lie ``stride`` numbers apart, and the thread owns ``width`` numbers of
    each from ``column`` on. All other matrices have the rows of :class:`Shared`.
    """

    table: F32
    first: F32
    second: F32
    """Optimizer state, laid out as the table; of row-wise Adagrad, a number for each row. Every
    thread has its own copy of these, with the same values."""
    stride: int
    column: int
    width: int
    weight: F32
    weight_first: F32
    weight_second: F32
    """The output layer and its state, [C, stride]."""
    weight_gradient: F32
    bag_gradient: F32
    units: F32
    """The vectors of the words of a batch, and later their gradients, [words, unit stride]."""
    row_gradients: F32
    """[chunk, unit stride]."""
    probabilities: F32
    """[C]."""


class Shared(NamedTuple):
    """What the threads share. A number is written by one thread only."""

    bounds: I64
    """The first column of each thread, and the end, [threads + 1]."""
    stride: int
    """Numbers in a row of bags, their gradients, and the layer."""
    bags: F32
    """For each thread, its columns of the bags, [threads, B, stride]."""
    layer: F32
    """For each thread, its columns of the layer, by panels of classes: [threads, panels, columns,
    PANEL]."""
    layer_stride: int
    """Numbers of a thread in ``layer``."""
    bias: F32
    bias_first: F32
    bias_second: F32
    """[C]; the first thread owns them."""
    bias_gradient: F32
    logits: F32
    """The logits of each text, and then their gradients, [B, class stride]."""
    class_stride: int
    text_losses: F32
    """[B]."""
    chunk: int
    """Rows whose squared gradients the threads exchange at once, for row-wise Adagrad."""
    squares: F32
    """Their sum of squares in each block of columns, [2, chunk, blocks]."""
    counter: I64
    """Where the threads meet."""


class Plan(NamedTuple):
    """What to do with a batch."""

    table_rule: int
    layer_rule: int
    softmax: bool
    """Softmax; otherwise one-vs-all."""
    smoothing: float
    """The part of each target that is spread evenly over all classes."""
    bias: bool
    """Whether the layer has a bias; otherwise it stays at 0."""
    trained: F32
    """0 for each frozen row, else 1, [V]; [0] if none is frozen."""


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


# --- rows --------------------------------------------------------------------------------------


@compiled
def _pool(
    bags: F32,
    bags_stride: Index,
    table: F32,
    stride: Index,
    column: Index,
    width: Index,
    ids: I32,
    first_id: Index,
    starts: I32,
    first_start: Index,
    count: Index,
    weights: F32,
) -> None:
    """Sum the rows of ``count`` bags; see ``vectors.sum_rows``."""
    last, weighted = len(ids) - 1, len(weights) > 1
    for bag in range(count):
        begin = first_id + starts[first_start + bag]
        end = first_id + starts[first_start + bag + 1]
        at = bag * bags_stride
        sum_rows(
            bags, at, table, stride, column, ids, begin, end, last, weights, weighted, width
        )  # fmt: skip


@compiled
def pool_rows(table: F32, ids: I32, offsets: I32, weights: F32) -> F32:
    """Return the weighted sum of the rows of each bag, [B, D].

    Args:
        table: [V, D].
        ids: the rows of the bags, end to end, [N].
        offsets: bounds of each bag in ``ids``, [B + 1].
        weights: the weight of each id, [N]; [1] if all are 1.

    >>> table, ids = np.array([[1, 2], [10, 20]], np.float32), np.array([0, 1, 1], np.int32)
    >>> pool_rows(table, ids, np.array([0, 2, 2, 3], np.int32), ONE).tolist()
    [[11.0, 22.0], [0.0, 0.0], [10.0, 20.0]]
    """
    bags, dim = len(offsets) - 1, table.shape[1]
    vectors = np.empty((bags, dim), np.float32)
    flat = vectors.reshape(-1)
    _pool(flat, dim, table.reshape(-1), dim, 0, dim, ids, 0, offsets, 0, bags, weights)
    return vectors


@compiled
def step_row(
    rule: Index,
    table: F32,
    first: F32,
    second: F32,
    row: Index,
    stride: Index,
    column: Index,
    gradient: F32,
    gradient_at: Index,
    width: Index,
    mean_square: Any,
    settings: F32,
    setting: Index,
) -> None:
    """Apply a rule to one row and its state; ``settings`` as in :func:`step_rows`."""
    at = row * stride + column
    lr, eps = settings[setting], settings[setting + 1]
    new1, new2 = settings[setting + 2], settings[setting + 3]
    if rule == ROWWISE_ADAGRAD:
        first[row] += mean_square
        lr /= np.sqrt(first[row]) + eps
    if rule == ADAGRAD:
        step_adagrad(
            table, first, second, at, gradient, gradient_at, width, lr, eps, new1, new2
        )  # fmt: skip
    elif rule == SGD or rule == ROWWISE_ADAGRAD:
        step_sgd(table, first, second, at, gradient, gradient_at, width, lr, eps, new1, new2)
    else:
        step_adam(table, first, second, at, gradient, gradient_at, width, lr, eps, new1, new2)


@compiled
def step_rows(
    rule: Index,
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
    first_column: Index,
) -> None:
    """Update the rows of a batch from the gradient of its bags.

    A row's gradient is summed over the ids that refer to it, in batch order, so the result is
    bit-identical for any number of threads. An example, with ``SGD``, lr 0.1 and ``mean`` bags: the
    ids of two texts, [7, 2] and [7], are grouped as rows [7, 2], starts [0, 2, 3], bags [0, 1, 0]
    and id_weights [0.5, 1, 0.5]. Then

        table[7] -= 0.1 * (0.5 * gradient[0] + 1 * gradient[1])
        table[2] -= 0.1 * (0.5 * gradient[0])

    Args:
        rule: the update rule; see ``rules``.
        table: the parameter, [V, D], or some columns of it, [V, width]; updated in place.
        first: first state array; updated in place. Sums of squared gradients [V, D] for ADAGRAD,
            sums of their row means [V, 1] for ROWWISE_ADAGRAD, first moments [V, D] for ADAM,
            [0, 0] for SGD.
        second: second state array; updated in place. Second moments [V, D] for ADAM, else [0, 0].
        rows: the distinct rows of the batch, [U].
        starts: bounds of each row's group of ids, [U + 1]; no group is empty.
        bags: the bag of each grouped id, [N].
        id_weights: the weight of each grouped id in its bag, [N]; [1] if all are 1.
        winners: the row that supplies each number of a ``max`` bag, [B, D]; else [0, 0].
        trained: 0 for each frozen row, else 1, [V]; [0] if none is frozen.
        gradient: gradient of the loss with respect to the bags, [B, D].
        settings: lr, eps, 1 - beta1, 1 - beta2; for ADAM, lr includes the bias corrections.
        first_column: the column of ``gradient`` that belongs to column 0 of ``table``. Row-wise
            Adagrad needs the squares of all columns, also of those that are elsewhere.
    """
    dim, width = gradient.shape[1], table.shape[1]
    summed = np.zeros(dim + LANES, np.float32)
    flat = table.reshape(-1), first.reshape(-1), second.reshape(-1), gradient.reshape(-1)
    if len(winners) == 0:
        _step_columns(
            rule, flat[0], flat[1], flat[2], width, 0, width, rows, 0, len(rows), starts, 0, bags,
            0, id_weights, trained, flat[3], dim, settings, 0, summed, dim, first_column,
        )  # fmt: skip
        return
    for group in range(len(rows)):
        # A row takes the gradient only of the numbers it supplies, and only once, even if its id
        # is in the bag twice.
        row, last = rows[group], -1
        if len(trained) and trained[row] == 0:
            continue
        summed[:] = 0
        for i in range(starts[group], starts[group + 1]):
            bag = bags[i]
            if bag != last:
                for d in range(dim):
                    if winners[bag, d] == row:
                        summed[d] += gradient[bag, d]
            last = bag
        square = mean_square(rule, summed, dim)
        step_row(
            rule, flat[0], flat[1], flat[2], row, width, 0, summed, first_column, width, square,
            settings, 0,
        )  # fmt: skip


@compiled
def _step_columns(
    rule: Index,
    table: F32,
    first: F32,
    second: F32,
    stride: Index,
    column: Index,
    width: Index,
    rows: I32,
    first_row: Index,
    count: Index,
    starts: I32,
    first_start: Index,
    units: I32,
    first_unit: Index,
    weights: F32,
    trained: F32,
    gradient: F32,
    gradient_stride: Index,
    settings: F32,
    setting: Index,
    summed: F32,
    terms: Index,
    own: Index,
) -> None:
    """Update ``width`` columns of ``count`` rows; the other arguments are as in :func:`step_rows`.

    ``gradient`` has ``terms`` columns, of which the one at ``own`` belongs to the first of these.
    """
    last, weighted = len(units) - 1, len(weights) > 1
    for group in range(count):
        # Rows lie at random addresses: start loading the ones that are needed soon.
        row = np.int64(rows[first_row + group])
        if group + PREFETCH_DISTANCE < count:
            ahead = rows[first_row + group + PREFETCH_DISTANCE]
            prefetch_columns(table, ahead * stride + column, width)
            if rule == ROWWISE_ADAGRAD:
                prefetch_row_for_write(first, ahead)
            elif rule != SGD:
                prefetch_columns(first, ahead * stride + column, width)
                if rule == ADAM:
                    prefetch_columns(second, ahead * stride + column, width)
        if len(trained) and trained[row] == 0:
            continue
        begin = first_unit + starts[first_start + group]
        end = first_unit + starts[first_start + group + 1]
        sum_rows(
            summed, 0, gradient, gradient_stride, 0, units, begin, end, last, weights, weighted,
            terms,
        )  # fmt: skip
        square = mean_square(rule, summed, terms)
        step_row(
            rule, table, first, second, row, stride, column, summed, own, width, square,
            settings, setting,
        )  # fmt: skip


@compiled
def mean_square(rule: Index, gradient: F32, dim: Index) -> Any:
    """Return the mean square of a row's gradient, for row-wise Adagrad.

    The squares of a block of columns are added by halves, and then the blocks in order, as in
    :func:`_step_together`. The gradient is filled up with zeros to whole blocks.
    """
    total = np.float32(0)
    if rule == ROWWISE_ADAGRAD:
        for block in range(0, dim, LANES):
            total += block_squares(gradient, block)
        total /= np.float32(dim)
    return total


@compiled
def _step_together(
    piece: Piece,
    mine: Columns,
    shared: Shared,
    trained: F32,
    settings: F32,
    setting: Index,
    gradient: F32,
    gradient_stride: Index,
    batch: Index,
    me: Index,
    threads: Index,
    meetings: Index,
) -> Index:
    """Do as :func:`_step_columns`, by row-wise Adagrad, which needs the squares of all columns.

    The threads exchange the sums of squares of each block of columns, for a chunk of rows at a
    time. There are two buffers for them, so that one meeting for each chunk suffices: what a thread
    writes before the next one is not what others still read. Returns the number of meetings.
    """
    table, first, width, summed = mine.table, mine.first, mine.width, mine.row_gradients
    starts, units, weights = piece.row_starts, piece.row_units, piece.row_weights
    squares, chunk, dim = shared.squares, shared.chunk, shared.bounds[threads]
    first_row, first_unit = piece.row_bounds[batch], piece.group_bounds[batch]
    count = piece.row_bounds[batch + 1] - first_row
    last, weighted = len(units) - 1, len(weights) > 1
    blocks, my_blocks = (dim + LANES - 1) // LANES, (width + LANES - 1) // LANES
    my_block, summed_stride = shared.bounds[me] // LANES, my_blocks * LANES
    for begin in range(0, count, chunk):
        buffer = begin // chunk % 2 * chunk * blocks
        size = min(chunk, count - begin)
        for group in range(size):
            start = first_row + batch + begin + group
            sum_rows(
                summed, group * summed_stride, gradient, gradient_stride, 0, units,
                first_unit + starts[start], first_unit + starts[start + 1], last, weights, weighted,
                width,
            )  # fmt: skip
            for block in range(my_blocks):
                squares[buffer + group * blocks + my_block + block] = block_squares(
                    summed, group * summed_stride + block * LANES
                )
        meetings = meet(shared.counter, threads, meetings)
        for group in range(size):
            row = np.int64(piece.rows[first_row + begin + group])
            if group + PREFETCH_DISTANCE < size:
                ahead = piece.rows[first_row + begin + group + PREFETCH_DISTANCE]
                prefetch_columns(table, ahead * mine.stride + mine.column, width)
                prefetch_row_for_write(first, ahead)
            if len(trained) and trained[row] == 0:
                continue
            total = np.float32(0)
            for block in range(blocks):
                total += squares[buffer + group * blocks + block]
            step_row(
                np.int64(ROWWISE_ADAGRAD), table, first, mine.second, row, mine.stride, mine.column,
                summed, group * summed_stride, width, total / np.float32(dim), settings, setting,
            )  # fmt: skip
    return meetings


# --- the output layer --------------------------------------------------------------------------


@compiled
def _add_product(
    sums: F32, at: Index, stride: Index,
    left: F32, left_at: Index, left_stride: Index, left_step: Index,
    right: F32, right_at: Index, right_panel: Index, right_step: Index,
    rows: Index, columns: Index, depth: Index,
) -> None:  # fmt: skip
    """Add ``left @ right`` to ``sums``, each sum in order of its terms.

    ``stride`` goes from row to row, ``step`` from term to term, and ``right_panel`` from one panel
    of columns to the next. The last panel is computed whole, so all matrices have room for it.
    """
    for start in range(0, depth, DEPTH):
        terms = min(DEPTH, depth - start)
        for panel in range((columns + PANEL - 1) // PANEL):
            here = right_at + panel * right_panel + start * right_step
            sums_at, my_left = at + panel * PANEL, left_at + start * left_step
            tiled = rows - rows % TILE_ROWS
            for row in range(0, tiled, TILE_ROWS):
                multiply_tile(
                    sums, sums_at + row * stride, stride, left, my_left + row * left_stride,
                    left_stride, left_step, right, here, right_step, terms,
                )  # fmt: skip
            for row in range(tiled, rows):
                multiply_row(
                    sums, sums_at + row * stride, stride, left, my_left + row * left_stride,
                    left_stride, left_step, right, here, right_step, terms,
                )  # fmt: skip


@compiled
def _text_gradient(
    logits: F32, probabilities: F32, label: Index, share: Any, smoothing: float, softmax: bool
) -> Any:
    """Turn the logits of a text into the gradient of its loss; return the loss.

    Args:
        logits: [C]; receives the gradient.
        probabilities: working space, [C].
        label: the class of the text.
        share: the factor of its loss in that of the batch.
        smoothing: see :class:`Plan`.
        softmax: see :class:`Plan`.
    """
    classes = len(logits)
    spread = np.float32(smoothing / classes)
    right = np.float32(1 - smoothing) + spread
    loss = np.float32(0)  # minus the sum of target x log probability
    if softmax:
        largest, total = logits[0], np.float32(0)
        for c in range(classes):
            largest = max(largest, logits[c])
        for c in range(classes):
            probabilities[c] = np.exp(logits[c] - largest)
            total += probabilities[c]
        log_total = largest + np.log(total)
        for c in range(classes):
            target = right if c == label else spread
            probabilities[c] /= total
            loss += target * (log_total - logits[c])
    else:
        for c in range(classes):
            target = right if c == label else spread
            small = np.exp(-np.abs(logits[c]))
            probabilities[c] = (np.float32(1) if logits[c] >= 0 else small) / (
                np.float32(1) + small
            )
            loss += max(logits[c], np.float32(0)) - target * logits[c] + np.log1p(small)
    for c in range(classes):
        target = right if c == label else spread
        logits[c] = share * (probabilities[c] - target)
    return share * loss


@compiled
def _share_layer(
    layer: F32, at: Index, weight: F32, stride: Index, width: Index, classes: Index
) -> None:
    """Copy a thread's columns of the layer, to ``at``, where the other threads read them."""
    for first in range(0, classes, PANEL):
        for d in range(width):
            for c in range(first, min(first + PANEL, classes)):
                layer[at + c - first] = weight[c * stride + d]
            at += PANEL


@compiled
def layer_gradients(
    bags: F32,
    classes: I64,
    text_weights: F32,
    weight: F32,
    bias: F32,
    smoothing: float,
    softmax: bool,
) -> tuple[float, F32, F32, F32]:
    """Return the mean loss of one batch and its gradients, as :func:`train_batches` computes them.

    Args:
        bags: the vector of each text, [B, D].
        classes: the class of each text, [B].
        text_weights: the weight of each text in the loss, [B]; [0]: 1.
        weight: of the linear layer, [C, D].
        bias: of the linear layer, [C, 1].
        smoothing: see :class:`Plan`.
        softmax: see :class:`Plan`.

    Returns:
        The loss, and its gradients with respect to bags, weight and bias.
    """
    zero, one, panel = np.int64(0), np.int64(1), np.int64(PANEL)
    (texts, dim), outputs = bags.shape, len(weight)
    width, class_width = (dim // PANEL + 1) * PANEL, (outputs // PANEL + 1) * PANEL
    all_bags, bag_gradient = (
        np.zeros((texts, width), np.float32),
        np.zeros((texts, width), np.float32),
    )
    rows, weight_gradient = (
        np.zeros((outputs, width), np.float32),
        np.zeros((outputs, width), np.float32),
    )
    columns, logits = (
        np.zeros((dim, class_width), np.float32),
        np.zeros((texts, class_width), np.float32),
    )
    bias_gradient, probabilities = np.zeros((outputs, 1), np.float32), np.empty(outputs, np.float32)
    for d in range(dim):
        for text in range(texts):
            all_bags[text, d] = bags[text, d]
        for c in range(outputs):
            rows[c, d] = columns[d, c] = weight[c, d]
    for text in range(texts):
        for c in range(outputs):
            logits[text, c] = bias[c, 0]
    flat_bags, flat_logits = all_bags.reshape(-1), logits.reshape(-1)
    _add_product(
        flat_logits, zero, class_width, flat_bags, zero, width, one, columns.reshape(-1), zero,
        panel, class_width, texts, outputs, dim,
    )  # fmt: skip
    mean_loss = 0.0
    for text in range(texts):
        share = np.float32(1) / np.float32(texts)
        if len(text_weights):
            share *= text_weights[text]
        mean_loss += _text_gradient(
            logits[text, :outputs], probabilities, classes[text], share, smoothing, softmax
        )
        for c in range(outputs):
            bias_gradient[c, 0] += logits[text, c]
    _add_product(
        bag_gradient.reshape(-1), zero, width, flat_logits, zero, class_width, one,
        rows.reshape(-1), zero, panel, width, texts, dim, outputs,
    )  # fmt: skip
    _add_product(
        weight_gradient.reshape(-1), zero, width, flat_logits, zero, one, class_width, flat_bags,
        zero, panel, width, outputs, dim, texts,
    )  # fmt: skip
    return (
        mean_loss,
        np.ascontiguousarray(bag_gradient[:, :dim]),
        np.ascontiguousarray(weight_gradient[:, :dim]),
        bias_gradient,
    )


# --- a piece -----------------------------------------------------------------------------------


@compiled
def _scale(
    vectors: F32, stride: Index, width: Index, texts: Index, scales: F32, first_text: Index
) -> None:
    """Multiply the vector of each text by its scale."""
    for text in range(texts):
        scale = scales[first_text + text]
        for d in range(text * stride, text * stride + width):
            vectors[d] *= scale


@compiled
def train_batches(
    piece: Piece,
    mine: Columns,
    shared: Shared,
    plan: Plan,
    settings: F32,
    losses: F64,
    first_batch: Index,
    me: Index,
    threads: Index,
) -> None:
    """Train on the batches of a piece, beginning with ``first_batch``; called by every thread.

    Args:
        piece: the batches.
        mine: what this thread owns.
        shared: what the threads share.
        plan: what to do.
        settings: for each batch, the settings of :func:`step_rows` for the table and then those for
            the layer, end to end.
        losses: receives the mean loss of each batch; as many as batches are to be trained.
        first_batch: the first batch.
        me: the number of this thread.
        threads: the number of threads.
    """
    meetings = np.int64(0)
    stride, width, classes = shared.stride, mine.width, len(mine.probabilities)
    unit_stride = (width + LANES - 1) // LANES * LANES
    class_stride = shared.class_stride
    bags, logits, weight = shared.bags, shared.logits, mine.weight
    bag_gradient, weight_gradient, units = mine.bag_gradient, mine.weight_gradient, mine.units
    bags_size = len(bags) // threads
    zero, one, panel = np.int64(0), np.int64(1), np.int64(PANEL)  # not literals: see CONTRIBUTING
    unweighted = np.empty(1, np.float32)
    unweighted[0] = 1
    my_bags = bags[me * bags_size : (me + 1) * bags_size]
    _share_layer(shared.layer, me * shared.layer_stride, weight, stride, width, classes)
    for number in range(len(losses)):
        batch = first_batch + number
        first_text = batch * piece.batch_size
        texts = min(piece.batch_size, len(piece.labels) - first_text)
        first_unit, first_use = piece.unit_bounds[batch], piece.use_bounds[batch]
        words = piece.unit_bounds[batch + 1] - first_unit
        setting = 8 * number

        # Own columns: the bags, as sums of their words if there are any.
        if piece.by_word:
            _pool(
                units, unit_stride, mine.table, mine.stride, mine.column, width, piece.ids,
                piece.id_bounds[batch], piece.unit_starts, first_unit + batch, words, piece.weights,
            )  # fmt: skip
            _pool(
                my_bags, stride, units, unit_stride, zero, width, piece.words, first_use,
                piece.text_starts, first_text + batch, texts, unweighted,
            )  # fmt: skip
            if len(piece.scales):
                _scale(my_bags, stride, width, texts, piece.scales, first_text)
        else:
            _pool(
                my_bags, stride, mine.table, mine.stride, mine.column, width, piece.ids,
                piece.id_bounds[batch], piece.unit_starts, first_unit + batch, texts, piece.weights,
            )  # fmt: skip
            if piece.mean:
                for text in range(texts):
                    start = first_text + batch + text
                    ids = piece.unit_starts[start + 1] - piece.unit_starts[start]
                    length = np.float32(max(ids, 1))
                    for d in range(text * stride, text * stride + width):
                        my_bags[d] /= length
        meetings = meet(shared.counter, threads, meetings)

        # Own texts: logits, loss, and its gradient.
        begin, end = me * texts // threads, (me + 1) * texts // threads
        for text in range(begin, end):
            for c in range(classes):
                logits[text * class_stride + c] = shared.bias[c]
        for owner in range(threads):
            columns = shared.bounds[owner + 1] - shared.bounds[owner]
            _add_product(
                logits, begin * class_stride, class_stride,
                bags, owner * bags_size + begin * stride, stride, one,
                shared.layer, owner * shared.layer_stride, columns * panel, panel,
                end - begin, classes, columns,
            )  # fmt: skip
        for text in range(begin, end):
            share = np.float32(1) / np.float32(texts)
            if len(piece.text_weights):
                share *= piece.text_weights[first_text + text]
            shared.text_losses[text] = _text_gradient(
                logits[text * class_stride : text * class_stride + classes],
                mine.probabilities, piece.labels[first_text + text], share, plan.smoothing,
                plan.softmax,
            )  # fmt: skip
        meetings = meet(shared.counter, threads, meetings)

        # Own columns: the gradients of bags and layer, and the layer's step.
        for i in range(texts * stride):
            bag_gradient[i] = 0
        _add_product(
            bag_gradient, zero, stride, logits, zero, class_stride, one, weight, zero, panel,
            stride, texts, width, classes,
        )  # fmt: skip
        for i in range(len(weight_gradient)):
            weight_gradient[i] = 0
        _add_product(
            weight_gradient, zero, stride, logits, zero, one, class_stride, my_bags, zero, panel,
            stride,
            classes, width, texts,
        )  # fmt: skip
        for c in range(classes):
            step_row(
                plan.layer_rule, weight, mine.weight_first, mine.weight_second, c, stride, zero,
                weight_gradient, c * stride, width, np.float32(0), settings, setting + 4,
            )  # fmt: skip
        _share_layer(shared.layer, me * shared.layer_stride, weight, stride, width, classes)
        if me == 0:
            mean_loss, bias_gradient = 0.0, shared.bias_gradient
            for c in range(classes):
                bias_gradient[c] = 0
            for text in range(texts):
                mean_loss += shared.text_losses[text]
                for c in range(classes):
                    bias_gradient[c] += logits[text * class_stride + c]
            losses[number] = mean_loss
            step_row(
                plan.layer_rule, shared.bias, shared.bias_first, shared.bias_second, zero, zero,
                zero, bias_gradient, zero, classes, np.float32(0), settings, setting + 4,
            )  # fmt: skip
            if not plan.bias:
                for c in range(classes):
                    shared.bias[c] = 0

        # Own columns: the gradients of words, and the rows' step.
        gradient, gradient_stride = bag_gradient, stride
        if piece.by_word:
            if len(piece.scales):
                _scale(bag_gradient, stride, width, texts, piece.scales, first_text)
            _pool(
                units, unit_stride, bag_gradient, stride, zero, width, piece.word_texts, first_use,
                piece.word_starts, first_unit + batch, words, unweighted,
            )  # fmt: skip
            gradient, gradient_stride = units, unit_stride
        first_row = piece.row_bounds[batch]
        if plan.table_rule == ROWWISE_ADAGRAD and threads > 1:
            meetings = _step_together(
                piece, mine, shared, plan.trained, settings, setting, gradient, gradient_stride,
                batch, me, threads, meetings,
            )  # fmt: skip
        else:
            _step_columns(
                plan.table_rule, mine.table, mine.first, mine.second, mine.stride, mine.column,
                width, piece.rows, first_row, piece.row_bounds[batch + 1] - first_row,
                piece.row_starts, first_row + batch, piece.row_units, piece.group_bounds[batch],
                piece.row_weights, plan.trained, gradient, gradient_stride, settings, setting,
                mine.row_gradients, width, zero,
            )  # fmt: skip

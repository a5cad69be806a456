"""Triton kernels of the CUDA step: bags and loss, the linear layer, the rows of the table.

==================  ==============================================================================
``bag_gradients``   bags, logits, loss, and the gradients of logits and bags, in one pass
``step_linear``     the gradient of the linear layer, and its update
``step_rows``       ``cpu_kernels.step_rows``, over ids sorted by row
``find_winners``    ``cpu_kernels.find_winners``
==================  ==============================================================================

The order of every sum depends on sizes alone, so results are bit-identical on every run. ``block``
is the dim, and ``class_block`` the number of classes, rounded up to a power of two; ``chunk`` is
how many ids are summed at a time. Addresses have 64 bits, as V x D can exceed 2^31.

Shapes: **N** ids, **B** bags (texts), **C** classes, **V** table rows, **D** embedding dim.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import triton
import triton.language as tl

from fasttext_app.training.optim import rules

# A kernel can read no other globals than constants of Triton.
_SGD = tl.constexpr(rules.SGD)
_ADAGRAD = tl.constexpr(rules.ADAGRAD)
_ROWWISE_ADAGRAD = tl.constexpr(rules.ROWWISE_ADAGRAD)
_INFINITY = tl.constexpr(float("inf"))


def _kernel(sizes: list[str], slices: list[str]) -> Callable[[Callable[..., None]], Any]:
    """Compile a kernel once, and not again for each kind of size and alignment of a batch."""
    return partial(triton.jit, do_not_specialize=sizes, do_not_specialize_on_alignment=slices)


@_kernel([], [])
def _step_one(
    values: tl.tensor,
    first: tl.tensor,
    second: tl.tensor,
    row: tl.tensor,
    gradient: tl.tensor,
    lr: tl.tensor,
    eps: tl.tensor,
    new1: tl.tensor,
    new2: tl.tensor,
    rule: tl.constexpr,
    dim: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Update row ``row`` of ``values`` [rows, dim] by ``gradient`` [block], zero beyond dim."""
    d = tl.arange(0, block)
    inside = d < dim
    at = row.to(tl.int64) * dim + d
    value = tl.load(values + at, mask=inside, other=0.0)
    if rule == _SGD:
        value -= lr * gradient
    elif rule == _ADAGRAD:
        squares = tl.load(first + at, mask=inside, other=0.0) + gradient * gradient
        tl.store(first + at, squares, mask=inside)
        value -= lr * (gradient / (tl.sqrt(squares) + eps))
    elif rule == _ROWWISE_ADAGRAD:
        mean = tl.load(first + row) + tl.sum(gradient * gradient, axis=0) / dim
        tl.store(first + row, mean)
        value -= lr / (tl.sqrt(mean) + eps) * gradient
    else:
        moment = tl.load(first + at, mask=inside, other=0.0)
        moment += new1 * (gradient - moment)
        square = tl.load(second + at, mask=inside, other=0.0)
        square += new2 * (gradient * gradient - square)
        tl.store(first + at, moment, mask=inside)
        tl.store(second + at, square, mask=inside)
        value -= lr * (moment / (tl.sqrt(square) + eps))
    tl.store(values + at, value, mask=inside)


@_kernel(["ids", "padding"], ["rows", "bags", "id_weights", "gradient"])
def step_rows(
    values: tl.tensor,
    first: tl.tensor,
    second: tl.tensor,
    rows: tl.tensor,
    bags: tl.tensor,
    id_weights: tl.tensor,
    winners: tl.tensor,
    trained: tl.tensor,
    gradient: tl.tensor,
    ids: tl.tensor,
    padding: tl.tensor,
    lr: tl.tensor,
    eps: tl.tensor,
    new1: tl.tensor,
    new2: tl.tensor,
    rule: tl.constexpr,
    dim: tl.constexpr,
    block: tl.constexpr,
    chunk: tl.constexpr,
) -> None:
    """Update the rows of a batch from the gradient of its bags. One program for each id.

    The program of a row's first id sums the row's gradient; the programs of its other ids end
    immediately. An example, with ``sgd`` and lr 0.1: rows [2, 7, 7], bags [0, 0, 1], id_weights
    [.5, .5, 1] are the ids of the texts [7, 2] and [7], sorted. Programs 0 and 1 then compute

        values[2] -= 0.1 * (0.5 * gradient[0])
        values[7] -= 0.1 * (0.5 * gradient[0] + 1 * gradient[1])

    Args:
        values: the parameter, [V, D]; updated in place.
        first: first state array, as in ``cpu_kernels.step_rows``; None if the rule has none.
        second: second state array, likewise.
        rows: the ids, sorted, [N].
        bags: the bag of each id, ascending within a row, [N].
        id_weights: the weight of each id in its bag, [N]; None: all 1.
        winners: the row that supplies each number of a ``max`` bag, [B, D]; else None.
        trained: 0 for each frozen row, else 1, [V]; None if none is frozen.
        gradient: gradient of the loss with respect to the bags, [B, D].
        ids: N.
        padding: the row that takes no part; -1 if there is none.
        lr: the learning rate; for ADAM, with the bias corrections.
        eps: added to the denominator.
        new1: 1 - beta1.
        new2: 1 - beta2.
        rule: one of ``rules.RULES``.
        dim: D.
        block: see above.
        chunk: see above.
    """
    # Go on only for the first id of a row that is neither padding nor frozen.
    at = tl.program_id(0)
    row = tl.load(rows + at)
    before = tl.load(rows + at - 1, mask=at > 0, other=-1)
    mine = (row != before) & (row != padding)
    if trained is not None:
        mine = mine & (tl.load(trained + row) != 0)
    if mine:
        # Sum the row's gradient over its ids, a chunk at a time, until a chunk has another row.
        d = tl.arange(0, block)
        inside = d < dim
        summed = tl.zeros([block], tl.float32)
        start = at
        more = row == row
        while more:
            spot = start + tl.arange(0, chunk)
            same = tl.load(rows + spot, mask=spot < ids, other=-1) == row
            bag = tl.load(bags + spot, mask=same, other=0)
            cells = same[:, None] & inside[None, :]
            numbers = bag[:, None].to(tl.int64) * dim + d[None, :]
            found = tl.load(gradient + numbers, mask=cells, other=0.0)
            if id_weights is not None:
                found *= tl.load(id_weights + spot, mask=same, other=0.0)[:, None]
            if winners is not None:  # a row that occurs twice in a bag counts once
                last = tl.load(bags + spot - 1, mask=same & (spot > at), other=-1)
                won = tl.load(winners + numbers, mask=cells, other=-1) == row
                found = tl.where(won & (bag != last)[:, None], found, 0.0)
            summed += tl.sum(found, axis=0)
            more = tl.sum(same.to(tl.int32), axis=0) == chunk
            start += chunk
        _step_one(values, first, second, row, summed, lr, eps, new1, new2, rule, dim, block)


@_kernel(["ids", "ends", "padding"], ["ids_of", "offsets"])
def find_winners(
    table: tl.tensor,
    ids_of: tl.tensor,
    offsets: tl.tensor,
    winners: tl.tensor,
    ids: tl.tensor,
    ends: tl.tensor,
    padding: tl.tensor,
    dim: tl.constexpr,
    block: tl.constexpr,
    chunk: tl.constexpr,
) -> None:
    """Write the row that supplies each number of a ``max`` bag. One program for each bag.

    An example: the table [[1, 9], [5, 2]] and one bag of ids [0, 1] give winners [[1, 0]].

    Args:
        table: [V, D].
        ids_of: the ids of the batch, [N].
        offsets: [B + 1] or [B].
        winners: written, [B, D]; -1 in an empty bag.
        ids: N.
        ends: how many entries ``offsets`` has.
        padding: the row that takes no part; -1 if there is none.
        dim: D.
        block: see above.
        chunk: see above.
    """
    bag = tl.program_id(0)
    begin = tl.load(offsets + bag)
    end = tl.load(offsets + bag + 1, mask=bag + 1 < ends, other=ids)
    # For each number, keep the largest value so far and its row; the first of equal ones wins, as
    # in torch, so a later chunk must be strictly larger.
    d = tl.arange(0, block)
    inside = d < dim
    best = tl.full([block], -_INFINITY, tl.float32)
    winner = tl.full([block], -1, tl.int32)
    for start in range(begin, end, chunk):
        spot = start + tl.arange(0, chunk)
        row = tl.load(ids_of + spot, mask=spot < end, other=padding)
        real = (spot < end) & (row != padding)
        cells = real[:, None] & inside[None, :]
        numbers = row[:, None].to(tl.int64) * dim + d[None, :]
        found = tl.load(table + numbers, mask=cells, other=-_INFINITY)
        highest = tl.max(found, axis=0)
        place = tl.where((found == highest[None, :]) & cells, tl.arange(0, chunk)[:, None], chunk)
        foremost = tl.min(place, axis=0)
        chosen = tl.where(place == foremost[None, :], row[:, None], -1)
        here = tl.max(tl.where(cells, chosen, -1), axis=0).to(tl.int32)
        winner = tl.where((winner < 0) | (highest > best), here, winner)
        best = tl.maximum(best, highest)
    tl.store(winners + bag.to(tl.int64) * dim + d, winner, mask=inside)


@_kernel(
    ["ids", "ends", "padding", "count"],
    ["ids_of", "offsets", "per_id", "labels", "vectors", "by_logits", "by_bags", "losses"],
)
def bag_gradients(
    table: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    ids_of: tl.tensor,
    offsets: tl.tensor,
    per_id: tl.tensor,
    labels: tl.tensor,
    vectors: tl.tensor,
    by_logits: tl.tensor,
    by_bags: tl.tensor,
    losses: tl.tensor,
    ids: tl.tensor,
    ends: tl.tensor,
    padding: tl.tensor,
    count: tl.tensor,
    smoothing: tl.tensor,
    mean: tl.constexpr,
    softmax: tl.constexpr,
    dim: tl.constexpr,
    classes: tl.constexpr,
    block: tl.constexpr,
    class_block: tl.constexpr,
    chunk: tl.constexpr,
) -> None:
    """Compute a bag, its loss, and the gradients of its logits and of itself. One program a bag.

    An example: a ``sum`` bag of ids [2, 5] is table[2] + table[5]. With logits [0, 0] and label 1,
    softmax gives the loss log 2 and the logit gradient [0.5, -0.5], each divided by B.

    Args:
        table: [V, D].
        weight: weight of the linear layer, [C, D].
        bias: bias of the linear layer, [C].
        ids_of: the ids of the batch, [N].
        offsets: [B + 1] or [B].
        per_id: the weight of each id, [N]; None: all 1.
        labels: the class of each bag, [B].
        vectors: output: the bags, [B, D].
        by_logits: output: gradient of the batch's loss with respect to the logits, [B, C].
        by_bags: output: gradient of the batch's loss with respect to the bags, [B, D].
        losses: output: each bag's part of the batch's loss, [B].
        ids: N.
        ends: how many entries ``offsets`` has.
        padding: the row that takes no part; -1 if there is none.
        count: B.
        smoothing: the part of a label that is spread evenly over all classes.
        mean: whether a bag is the mean of its rows; else it is their sum.
        softmax: whether the loss is ``softmax``; else it is ``ova``.
        dim: D.
        classes: C.
        block: see above.
        class_block: see above.
        chunk: see above.
    """
    bag = tl.program_id(0)
    begin = tl.load(offsets + bag)
    end = tl.load(offsets + bag + 1, mask=bag + 1 < ends, other=ids)
    d, c = tl.arange(0, block), tl.arange(0, class_block)
    inside, known = d < dim, c < classes
    # The bag: sum its rows a chunk at a time, and divide by the number of ids that are not padding.
    vector = tl.zeros([block], tl.float32)
    parts = tl.zeros([chunk], tl.float32)
    for start in range(begin, end, chunk):
        spot = start + tl.arange(0, chunk)
        row = tl.load(ids_of + spot, mask=spot < end, other=padding)
        real = (spot < end) & (row != padding)
        numbers = row[:, None].to(tl.int64) * dim + d[None, :]
        found = tl.load(table + numbers, mask=real[:, None] & inside[None, :], other=0.0)
        if per_id is not None:
            found *= tl.load(per_id + spot, mask=real, other=0.0)[:, None]
        vector += tl.sum(found, axis=0)
        parts += real.to(tl.float32)
    if mean:
        vector = vector / tl.maximum(tl.sum(parts, axis=0), 1.0)

    # The logits, and the target of each class after label smoothing.
    cells = known[:, None] & inside[None, :]
    layer = tl.load(weight + c[:, None] * dim + d[None, :], mask=cells, other=0.0)
    logits = tl.sum(layer * vector[None, :], axis=1) + tl.load(bias + c, mask=known, other=0.0)
    wanted = (c == tl.load(labels + bag)) * (1.0 - smoothing) + smoothing / classes
    # The loss, and its slope by each logit; the maximum is subtracted so that no power overflows.
    if softmax:
        masked = tl.where(known, logits, -_INFINITY)
        top = tl.max(masked, axis=0)
        powers = tl.exp(masked - top)
        total = tl.sum(powers, axis=0)
        loss = top + tl.log(total) - tl.sum(wanted * logits, axis=0)
        slope = powers / total - wanted
    else:  # log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), which does not overflow
        small = tl.exp(-tl.abs(logits))
        each = tl.maximum(logits, 0.0) - logits * wanted + tl.log(1.0 + small)
        loss = tl.sum(tl.where(known, each, 0.0), axis=0)
        slope = tl.where(logits >= 0, 1.0, small) / (1.0 + small) - wanted

    # The batch's loss is a mean over B, and so is the gradient, which goes on through the layer.
    slope = slope / count
    out = bag.to(tl.int64)
    tl.store(losses + bag, loss / count)
    tl.store(by_logits + out * classes + c, slope, mask=known)
    tl.store(vectors + out * dim + d, vector, mask=inside)
    tl.store(by_bags + out * dim + d, tl.sum(layer * slope[:, None], axis=0), mask=inside)


@_kernel(["count"], ["vectors", "by_logits", "losses", "loss"])
def step_linear(
    weight: tl.tensor,
    first: tl.tensor,
    second: tl.tensor,
    bias: tl.tensor,
    bias_first: tl.tensor,
    bias_second: tl.tensor,
    vectors: tl.tensor,
    by_logits: tl.tensor,
    losses: tl.tensor,
    loss: tl.tensor,
    count: tl.tensor,
    lr: tl.tensor,
    eps: tl.tensor,
    new1: tl.tensor,
    new2: tl.tensor,
    rule: tl.constexpr,
    dim: tl.constexpr,
    classes: tl.constexpr,
    block: tl.constexpr,
    chunk: tl.constexpr,
) -> None:
    """Update the linear layer, and sum the loss. One program for each class.

    An example: with logit gradients [[0.5], [-0.5]] of two bags, class 0 has the weight gradient
    0.5 * vectors[0] - 0.5 * vectors[1] and the bias gradient 0.

    Args:
        weight: [C, D], updated in place; ``first`` and ``second`` are its state.
        first: as in ``step_rows``.
        second: likewise.
        bias: [C], updated in place; ``bias_first`` and ``bias_second`` are its state.
        bias_first: as ``first``.
        bias_second: as ``second``.
        vectors: the bags, [B, D].
        by_logits: gradient of the loss with respect to the logits, [B, C].
        losses: each bag's part of the loss, [B].
        loss: output: their sum, a scalar.
        count: B.
        lr: as in ``step_rows``; so are ``eps``, ``new1``, ``new2`` and ``rule``.
        eps: see ``lr``.
        new1: see ``lr``.
        new2: see ``lr``.
        rule: see ``lr``; not ``ROWWISE_ADAGRAD``.
        dim: D.
        classes: C.
        block: see above.
        chunk: of bags.
    """
    # Sum the class's gradient over the bags, a chunk at a time; program 0 sums the loss too.
    label = tl.program_id(0)
    d = tl.arange(0, block)
    inside = d < dim
    summed = tl.zeros([block], tl.float32)
    for_bias = tl.zeros([chunk], tl.float32)
    all_losses = tl.zeros([chunk], tl.float32)
    for start in range(0, count, chunk):
        bag = start + tl.arange(0, chunk)
        there = bag < count
        slope = tl.load(by_logits + bag.to(tl.int64) * classes + label, mask=there, other=0.0)
        numbers = bag[:, None].to(tl.int64) * dim + d[None, :]
        found = tl.load(vectors + numbers, mask=there[:, None] & inside[None, :], other=0.0)
        summed += tl.sum(found * slope[:, None], axis=0)
        for_bias += slope
        if label == 0:
            all_losses += tl.load(losses + bag, mask=there, other=0.0)

    # Apply the rule to the class's row of the weight and to its bias.
    one = tl.zeros([1], tl.float32) + tl.sum(for_bias, axis=0)
    _step_one(weight, first, second, label, summed, lr, eps, new1, new2, rule, dim, block)
    _step_one(bias, bias_first, bias_second, label, one, lr, eps, new1, new2, rule, 1, 1)
    if label == 0:
        tl.store(loss, tl.sum(all_losses, axis=0))

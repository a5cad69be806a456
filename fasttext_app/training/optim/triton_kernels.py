"""The training step on the GPU (Triton): bags and loss, the linear layer, the rows of the table.

==================  ==============================================================================
``bag_gradients``   bags, logits and loss, and the gradient by logits and bags, in one pass
``step_linear``     the gradient of the linear layer, and its step
``step_rows``       ``kernels.STEP_ROWS``, over ids that are sorted by row
``find_winners``    ``kernels.find_winners``
==================  ==============================================================================

All sums are made in an order that depends on the sizes alone, so that the result is the same to the
bit on every run. ``block`` is the dim, and ``class_block`` the classes, up to the next power of
two; ``chunk`` is how many ids are summed up at a time. Addresses are of 64 bits: V x D may be more
than 2^31. Shapes: **N** ids, **B** bags, **C** classes, **V** table rows, **D** embedding dim.
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
    """Compile a kernel once, and not for every kind of size and alignment that a batch has."""
    return partial(triton.jit, do_not_specialize=sizes, do_not_specialize_on_alignment=slices)


@_kernel([], [])
def _step_one(
    values: tl.tensor,
    first: tl.tensor,
    second: tl.tensor,
    row: tl.tensor,
    gradient: tl.tensor,
    rate: tl.tensor,
    eps: tl.tensor,
    new1: tl.tensor,
    new2: tl.tensor,
    rule: tl.constexpr,
    dim: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Step row ``row`` of ``values`` [rows, dim] by ``gradient`` [block], zero beyond dim."""
    d = tl.arange(0, block)
    inside = d < dim
    at = row.to(tl.int64) * dim + d
    value = tl.load(values + at, mask=inside, other=0.0)
    if rule == _SGD:
        value -= rate * gradient
    elif rule == _ADAGRAD:
        squares = tl.load(first + at, mask=inside, other=0.0) + gradient * gradient
        tl.store(first + at, squares, mask=inside)
        value -= rate * (gradient / (tl.sqrt(squares) + eps))
    elif rule == _ROWWISE_ADAGRAD:
        mean = tl.load(first + row) + tl.sum(gradient * gradient, axis=0) / dim
        tl.store(first + row, mean)
        value -= rate / (tl.sqrt(mean) + eps) * gradient
    else:
        moment = tl.load(first + at, mask=inside, other=0.0)
        moment += new1 * (gradient - moment)
        square = tl.load(second + at, mask=inside, other=0.0)
        square += new2 * (gradient * gradient - square)
        tl.store(first + at, moment, mask=inside)
        tl.store(second + at, square, mask=inside)
        value -= rate * (moment / (tl.sqrt(square) + eps))
    tl.store(values + at, value, mask=inside)


@_kernel(["ids", "padding"], ["rows", "bags", "shares", "gradient"])
def step_rows(
    values: tl.tensor,
    first: tl.tensor,
    second: tl.tensor,
    rows: tl.tensor,
    bags: tl.tensor,
    shares: tl.tensor,
    winners: tl.tensor,
    trained: tl.tensor,
    gradient: tl.tensor,
    ids: tl.tensor,
    padding: tl.tensor,
    rate: tl.tensor,
    eps: tl.tensor,
    new1: tl.tensor,
    new2: tl.tensor,
    rule: tl.constexpr,
    dim: tl.constexpr,
    block: tl.constexpr,
    chunk: tl.constexpr,
) -> None:
    """Step the rows of a batch by the gradient of its bags. One program for each id.

    The program of the first id of a row sums up the row's gradient; the others end at once.

    Args:
        values: [V, D], stepped in place.
        first: as in ``kernels.STEP_ROWS``; None where the rule has no such state.
        second: likewise.
        rows: the ids, sorted, [N].
        bags: the bag of each, ascending within a row, [N].
        shares: its weight, [N]; None: all 1.
        winners: for ``max`` bags, which row gave each number, [B, D]; else None.
        trained: 1 for a row that is stepped, 0 for one that stays, [V]; None: all are stepped.
        gradient: the loss by the bags, [B, D].
        ids: N.
        padding: the row that takes no part; -1: none.
        rate: with the bias corrections of ADAM, as in ``kernels.STEP_ROWS``.
        eps: added to the denominator.
        new1: 1 - beta 1.
        new2: 1 - beta 2.
        rule: ``SGD``, ``ADAGRAD``, ``ROWWISE`` or ``ADAM``.
        dim: D.
        block: see above.
        chunk: see above.
    """
    at = tl.program_id(0)
    row = tl.load(rows + at)
    before = tl.load(rows + at - 1, mask=at > 0, other=-1)
    mine = (row != before) & (row != padding)
    if trained is not None:
        mine = mine & (tl.load(trained + row) != 0)
    if mine:
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
            if shares is not None:
                found *= tl.load(shares + spot, mask=same, other=0.0)[:, None]
            if winners is not None:  # a row that is twice in a bag wins once
                last = tl.load(bags + spot - 1, mask=same & (spot > at), other=-1)
                won = tl.load(winners + numbers, mask=cells, other=-1) == row
                found = tl.where(won & (bag != last)[:, None], found, 0.0)
            summed += tl.sum(found, axis=0)
            more = tl.sum(same.to(tl.int32), axis=0) == chunk
            start += chunk
        _step_one(values, first, second, row, summed, rate, eps, new1, new2, rule, dim, block)


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
    """Write the row that gives each number of a ``max`` bag. One program for each bag.

    Args:
        table: [V, D].
        ids_of: the ids of the batch, [N].
        offsets: [B + 1] or [B].
        winners: written, [B, D]; -1 in an empty bag.
        ids: N.
        ends: how many entries ``offsets`` has.
        padding: the row that takes no part; -1: none.
        dim: D.
        block: see above.
        chunk: see above.
    """
    bag = tl.program_id(0)
    begin = tl.load(offsets + bag)
    end = tl.load(offsets + bag + 1, mask=bag + 1 < ends, other=ids)
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
        # The first of equal ones wins, as in torch.
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
    """Go from the ids to the loss, and back to the bags. One program for each bag.

    Args:
        table: [V, D].
        weight: of the linear layer, [C, D].
        bias: likewise, [C].
        ids_of: the ids of the batch, [N].
        offsets: [B + 1] or [B].
        per_id: the weight of each id, [N]; None: all 1.
        labels: the class of each bag, [B].
        vectors: written: the bags, [B, D].
        by_logits: written: the loss of the batch by the logits, [B, C].
        by_bags: written: the loss of the batch by the bags, [B, D].
        losses: written: each bag's share of the loss, [B].
        ids: N.
        ends: how many entries ``offsets`` has.
        padding: the row that takes no part; -1: none.
        count: B.
        smoothing: the share of a label that is spread evenly over all classes.
        mean: whether a bag is the mean of its rows, and not their sum.
        softmax: whether the loss is that of ``softmax``, and not of ``ova``.
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

    cells = known[:, None] & inside[None, :]
    layer = tl.load(weight + c[:, None] * dim + d[None, :], mask=cells, other=0.0)
    logits = tl.sum(layer * vector[None, :], axis=1) + tl.load(bias + c, mask=known, other=0.0)
    wanted = (c == tl.load(labels + bag)) * (1.0 - smoothing) + smoothing / classes
    if softmax:
        masked = tl.where(known, logits, -_INFINITY)
        top = tl.max(masked, axis=0)
        powers = tl.exp(masked - top)
        total = tl.sum(powers, axis=0)
        loss = top + tl.log(total) - tl.sum(wanted * logits, axis=0)
        slope = powers / total - wanted
    else:  # log(1 + e^x) in a form that does not overflow
        small = tl.exp(-tl.abs(logits))
        each = tl.maximum(logits, 0.0) - logits * wanted + tl.log(1.0 + small)
        loss = tl.sum(tl.where(known, each, 0.0), axis=0)
        slope = tl.where(logits >= 0, 1.0, small) / (1.0 + small) - wanted
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
    rate: tl.tensor,
    eps: tl.tensor,
    new1: tl.tensor,
    new2: tl.tensor,
    rule: tl.constexpr,
    dim: tl.constexpr,
    classes: tl.constexpr,
    block: tl.constexpr,
    chunk: tl.constexpr,
) -> None:
    """Step the linear layer, and sum up the loss. One program for each class.

    Args:
        weight: [C, D], stepped in place; ``first`` and ``second`` are its state.
        first: as in ``step_rows``.
        second: likewise.
        bias: [C], stepped in place; ``bias_first`` and ``bias_second`` are its state.
        bias_first: as ``first``.
        bias_second: as ``second``.
        vectors: the bags, [B, D].
        by_logits: the loss by the logits, [B, C].
        losses: each bag's share of the loss, [B].
        loss: written: their sum, a scalar.
        count: B.
        rate: as in ``step_rows``; so are ``eps``, ``new1``, ``new2`` and ``rule``.
        eps: see ``rate``.
        new1: see ``rate``.
        new2: see ``rate``.
        rule: see ``rate``; not ``ROWWISE``.
        dim: D.
        classes: C.
        block: see above.
        chunk: of bags.
    """
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
    one = tl.zeros([1], tl.float32) + tl.sum(for_bias, axis=0)
    _step_one(weight, first, second, label, summed, rate, eps, new1, new2, rule, dim, block)
    _step_one(bias, bias_first, bias_second, label, one, rate, eps, new1, new2, rule, 1, 1)
    if label == 0:
        tl.store(loss, tl.sum(all_losses, axis=0))

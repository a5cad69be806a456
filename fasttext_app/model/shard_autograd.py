"""The exchanges of a divided table in plain torch, on any device, with their gradients.

Every process computes the loss of the whole batch, so each has the gradient of all vectors, [B, D],
and takes from it what belongs to its part: a backward pass exchanges nothing.

Shapes: **N** ids, **B** bags, **D** embedding dim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fasttext_app.model.shard_kernels import LARGEST, SCALE, SIZE_SCALE

Exchange = Callable[[Tensor], Tensor]


def join_columns(vectors: Tensor, own: slice, join: Exchange) -> Tensor:
    """Return whole vectors, [B, D], given the columns ``own`` of this process.

    Args:
        vectors: the columns of this process.
        own: which columns these are.
        join: ``Columns.join``.
    """
    joined: Tensor = _Join.apply(vectors, own, join)  # type: ignore[no-untyped-call]
    return joined


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, own: slice, join: Exchange) -> Tensor:
        ctx.own = own
        return join(vectors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[:, ctx.own], None, None


def add_up_rows(
    embedding: nn.EmbeddingBag,
    part: range,
    ids: Tensor,
    bounds: Tensor,
    weights: Tensor | None,
    add_up: Exchange,
) -> Tensor:
    """Return the sum of the rows of each bag, [B, D].

    Args:
        embedding: has the rows of this process.
        part: which rows these are.
        ids: rows of the whole table, [N].
        bounds: bounds of each bag in ``ids``, [B + 1].
        weights: the weight of each id, [N]; None: 1.
        add_up: ``Rows.add_up``.
    """
    numbers = torch.arange(len(bounds) - 1, device=ids.device)
    bags = torch.repeat_interleave(numbers, bounds.diff(), output_size=len(ids))
    own = ids % part.step == part.start
    # The gradient of a row is added up here, in the order of the ids. A sparse tensor would add it
    # in an order that depends on the other rows.
    own_rows, places = (ids[own].long() // part.step).unique(return_inverse=True)
    vectors = functional.embedding(own_rows, embedding.weight, sparse=embedding.sparse)
    vectors = functional.embedding(places, vectors)
    own_weights = None if weights is None else weights[own]
    own_bags, size = bags[own], len(numbers)
    total: Tensor = _AddUp.apply(  # type: ignore[no-untyped-call]
        vectors, own_weights, own_bags, size, add_up
    )
    return total


class _AddUp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, vectors: Tensor, weights: Tensor | None, bags: Tensor, size: int, add_up: Exchange
    ) -> Tensor:
        ctx.save_for_backward(weights, bags)
        return add_up(sum_vectors(vectors, weights, bags, size))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weights, bags = ctx.saved_tensors
        gradients = gradient[bags]
        if weights is not None:
            gradients *= weights[:, None]
        return gradients, None, None, None, None


def sum_vectors(vectors: Tensor, weights: Tensor | None, bags: Tensor, size: int) -> Tensor:
    """Sum the vectors of each bag in whole numbers; ``shard_kernels.sum_rows`` has the same bits.

    Args:
        vectors: [N, D].
        weights: the weight of each, [N]; None: 1.
        bags: the bag of each, [N].
        size: B.

    Returns:
        The sums and their sizes, [B, D + 1].
    """
    factors = vectors.new_ones(len(vectors)) if weights is None else weights
    factors = factors.double()
    sizes = factors.abs() * vectors.abs().amax(1)
    fits = sizes <= LARGEST  # a size may be NaN
    # A product of 32-bit floats is exact in 64 bits, so a term is rounded once.
    terms = (vectors * (factors * SCALE)[:, None]).round().where(fits[:, None], 0.0)
    sizes = (sizes * SIZE_SCALE).ceil().where(fits, LARGEST * SIZE_SCALE + 1.0)
    sums = torch.zeros(size, vectors.shape[1] + 1, dtype=torch.int64, device=vectors.device)
    return sums.index_add_(0, bags, torch.cat([terms, sizes[:, None]], dim=1).long())

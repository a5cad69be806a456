"""The steps of a process that holds a part of the table; see ``model/shard.py``.

    own columns of the table ─► own columns of the bags ─► all-gather ─► bags [B, D]
    own rows of the table ─► their sums in each bag ─► all-reduce ─► bags [B, D]
    bags ─► layer and loss, on every process ─► gradient [B, D] ─► own columns or rows

The update rules are element-wise, so each process applies them to its own columns. Row-wise Adagrad
also needs the mean square of a row's gradient over all columns. Every process has the gradient of
the bags, [B, D], so it sums the whole row itself, which is less work than an exchange. In ``max``
bags, the rows that supply the numbers of the other columns are exchanged for it.

The fused steps are for CPUs. :class:`ShardedTorchStep` leaves all of this to autograd and
``torch.optim``, on any device.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, from_numpy
from torch.nn import functional

from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import F32, I32
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.model.shard import Columns, Rows, Share
from fasttext_app.model.shard_kernels import sum_sums
from fasttext_app.training.batch import Batch, RowPlan
from fasttext_app.training.losses import Loss
from fasttext_app.training.optim.cpu_kernels import ONE
from fasttext_app.training.optim.cpu_step import CpuStep, scaled
from fasttext_app.training.optim.rowwise_adagrad import RowwiseAdagrad
from fasttext_app.training.optim.rules import ROWWISE_ADAGRAD
from fasttext_app.training.optim.torch_step import TorchStep

MAX_MODE = 2  # of `torch.embedding_bag`


def sharded_step(model: FastTextClassifier, config: Config, loss: Loss) -> CpuStep:
    """Return the step for the part of the table that a model has."""
    shard = model.shard
    if isinstance(shard, Rows):
        return RowsStep(model, config, loss, shard)
    assert isinstance(shard, Columns)
    return ColumnsStep(model, config, loss, shard)


class ColumnsStep(CpuStep):
    """Updates the columns of this process on the CPU."""

    def __init__(
        self, model: FastTextClassifier, config: Config, loss: Loss, shard: Columns
    ) -> None:
        super().__init__(model, config, loss)
        self._shard = shard

    def _pool(self, batch: Batch) -> Tensor:
        if batch.words is None:
            return self._model.bags(batch.indices, batch.offsets, batch.per_sample_weights)
        return from_numpy(self._pool_rows(batch))

    def _pool_rows(self, batch: Batch) -> F32:
        joined: F32 = self._shard.join(from_numpy(super()._pool_rows(batch))).numpy()
        return joined

    def _step_rows(self, batch: Batch, gradient: F32, lr: float, first_column: int = 0) -> None:
        own = self._shard.slice
        if self._table.rule == ROWWISE_ADAGRAD:
            super()._step_rows(batch, gradient, lr, own.start)
        else:
            super()._step_rows(batch, np.ascontiguousarray(gradient[:, own]), lr)

    def _winners(self, batch: Batch) -> I32:
        winners = super()._winners(batch)
        if len(winners) and self._table.rule == ROWWISE_ADAGRAD:  # it needs those of all columns
            winners = self._shard.join(from_numpy(winners)).numpy()
        return winners


class RowsStep(CpuStep):
    """Updates the rows of this process on the CPU."""

    def __init__(self, model: FastTextClassifier, config: Config, loss: Loss, shard: Rows) -> None:
        super().__init__(model, config, loss)
        self._shard = shard
        self.grouping = replace(self.grouping, rows=shard.rows)

    def _pool(self, batch: Batch) -> Tensor:
        return from_numpy(self._pool_rows(batch))

    def _pool_rows(self, batch: Batch) -> F32:
        words, weights = batch.words, batch.per_sample_weights
        if words is None:
            with torch.no_grad():
                bags: F32 = self._model.bags(batch.indices, batch.offsets, weights).numpy()
            return bags
        id_weights = ONE if weights is None else weights.numpy()
        ids, offsets = batch.indices.numpy(), self._offsets(batch)
        sums = self._shard.sums(self._table.table, ids, offsets, id_weights)
        sums = sum_sums(sums, words.words, words.bag_offsets)
        return scaled(self._shard.add_up(from_numpy(sums)).numpy(), words)

    def _step_rows(self, batch: Batch, gradient: F32, lr: float, first_column: int = 0) -> None:
        assert batch.plan is not None
        own = own_rows(batch.plan, self._shard.part[0])
        super()._step_rows(replace(batch, plan=own), gradient, lr)


def own_rows(plan: RowPlan, rows: range) -> RowPlan:
    """Return the groups of ids whose rows a process has, with the numbers that rows have there.

    >>> starts, bags = np.array([0, 1, 3, 4], np.int32), np.array([5, 6, 7, 8], np.int32)
    >>> plan = own_rows(RowPlan(np.array([4, 3, 1]), starts, bags, ONE), range(1, 8, 2))
    >>> plan.rows.tolist(), plan.starts.tolist(), plan.bags.tolist()
    ([1, 0], [0, 2, 3], [6, 7, 8])
    """
    mask, sizes = plan.rows % rows.step == rows.start, np.diff(plan.starts)
    ids = np.repeat(mask, sizes)
    starts = np.zeros(np.count_nonzero(mask) + 1, np.int32)
    np.cumsum(sizes[mask], out=starts[1:])
    weights = plan.id_weights[ids] if len(plan.id_weights) > 1 else plan.id_weights
    return RowPlan(plan.rows[mask] // rows.step, starts, plan.bags[ids], weights)


class ShardedTorchStep(TorchStep):
    """Updates the part of this process with ``torch.optim``, on any device."""

    def __init__(self, model: FastTextClassifier, config: Config, loss: Loss, shard: Share) -> None:
        super().__init__(model, config, loss)
        self._shard = shard
        table_optimizer = self.optimizers[0]
        self._rowwise: RowwiseAdagrad | None = None
        if isinstance(table_optimizer, RowwiseAdagrad) and isinstance(shard, Columns):
            self._rowwise = table_optimizer

    def _differentiate(self, loss: Tensor, bags: Tensor, batch: Batch) -> None:
        if self._rowwise is not None:
            bags.retain_grad()
        loss.backward()
        if self._rowwise is not None:
            assert bags.grad is not None
            rows, gradient = self._whole_gradient(batch, bags.grad)
            trained = getattr(self._model, "trained_rows", None)
            if trained is not None:
                gradient *= trained[rows]
            self._rowwise.whole = {self._model.embedding.weight: (rows, gradient)}
        if bags.is_cuda:
            # Some gradients have other bits each time that a GPU computes them. All processes must
            # have the same layer.
            for weights in self._model.linear.parameters():
                if weights.grad is not None:
                    self._shard.group.broadcast(weights.grad)

    def _whole_gradient(self, batch: Batch, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient of whole rows, [R, D], from that of the bags; first the rows, [R]."""
        embedding, shard, ids = self._model.embedding, self._shard, batch.indices
        assert isinstance(shard, Columns)
        padding, with_end = embedding.padding_idx, embedding.include_last_offset
        if embedding.mode == "max":
            with torch.no_grad():
                options = False, MAX_MODE, False, None, with_end, padding
                pooled = torch.embedding_bag(embedding.weight, ids, batch.offsets, *options)
            _, _, sizes, winners = pooled
            filled = sizes > 0
            rows, places = shard.join(winners)[filled].unique(return_inverse=True)
            values = gradient.new_zeros(len(rows), shard.dim)
            return rows, values.scatter_add_(0, places, gradient[filled])
        # The gradient does not depend on the table, so a small one of zeros gives it.
        rows, places = ids.unique(return_inverse=True)
        table = gradient.new_zeros(len(rows), shard.dim).requires_grad_()
        if padding is not None:
            padding = int(torch.searchsorted(rows, padding)) if padding in rows else None
        functional.embedding_bag(
            places.to(ids.dtype),
            table,
            batch.offsets,
            mode=embedding.mode,
            sparse=True,
            per_sample_weights=batch.per_sample_weights,
            include_last_offset=with_end,
            padding_idx=padding,
        ).backward(gradient)
        assert table.grad is not None
        whole = table.grad.coalesce()
        return rows[whole.indices()[0]], whole.values()

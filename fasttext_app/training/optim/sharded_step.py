"""The fused step of a process that holds some columns of the table; see ``model/shard.py``.

    own columns of the table ─► own columns of the bags ─► all-gather ─► bags [B, D]
    bags ─► layer and loss, on every process ─► gradient [B, D] ─► its own columns ─► own rows

The update rules are element-wise, so each process applies them to its own columns. Row-wise Adagrad
also needs the mean square of a row's gradient over all columns. Every process has the gradient of
the bags, [B, D], so it sums the whole row itself, which is less work than an exchange.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, from_numpy

from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import F32
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Batch
from fasttext_app.training.losses import Loss
from fasttext_app.training.optim.cpu_kernels import ONE, pool_rows
from fasttext_app.training.optim.cpu_step import CpuStep
from fasttext_app.training.optim.rules import ROWWISE_ADAGRAD
from fasttext_app.training.optim.sharded_kernels import step_rowwise_columns


class ShardedCpuStep(CpuStep):
    """Updates the columns of this process on the CPU."""

    def __init__(self, model: FastTextClassifier, config: Config, loss: Loss) -> None:
        assert model.shard is not None
        self._shard = model.shard
        super().__init__(model, config, loss)

    def _pool(self, batch: Batch) -> Tensor:
        if batch.words is None:
            return self._model.bags(batch.indices, batch.offsets, batch.per_sample_weights)
        return from_numpy(self._pool_rows(batch))

    def _pool_rows(self, batch: Batch) -> F32:
        joined: F32 = self._shard.join(from_numpy(super()._pool_rows(batch))).numpy()
        return joined

    def _step_rows(self, batch: Batch, gradient: F32, lr: float) -> None:
        if self._table.rule == ROWWISE_ADAGRAD:
            self._step_rowwise(batch, gradient, lr)
        else:
            own = np.ascontiguousarray(gradient[:, self._shard.slice])
            super()._step_rows(batch, own, lr)

    def _step_rowwise(self, batch: Batch, gradient: F32, lr: float) -> None:
        plan, words, table = batch.plan, batch.words, self._table
        assert plan is not None
        if words is not None:
            scaled = gradient * words.scales[:, None] if len(words.scales) else gradient
            gradient = pool_rows(scaled, words.bags, words.starts, ONE)
        step_rowwise_columns(
            table.table,
            table.state[0].numpy(),
            plan.rows,
            plan.starts,
            plan.bags,
            plan.id_weights,
            self._mask,
            gradient,
            self._shard.slice.start,
            np.array(table.next_settings(lr), np.float32),
        )

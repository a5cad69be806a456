"""The fused step of a process that holds some columns of the table; see ``model/shard.py``.

    own columns of the table ─► own columns of the bags ─► all-gather ─► bags [B, D]
    bags ─► layer and loss, on every process ─► gradient [B, D] ─► its own columns ─► own rows

The update rules are element-wise, so each process applies them to its own columns. Row-wise Adagrad
also needs the mean square of a row's gradient over all columns. Every process has the gradient of
the bags, [B, D], so it sums the whole row itself, which is less work than an exchange. In ``max``
bags, the rows that supply the numbers of the other columns are exchanged for it.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, from_numpy

from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import F32, I32
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Batch
from fasttext_app.training.losses import Loss
from fasttext_app.training.optim.cpu_step import CpuStep
from fasttext_app.training.optim.rules import ROWWISE_ADAGRAD


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

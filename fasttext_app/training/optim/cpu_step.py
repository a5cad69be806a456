"""The fused step on the CPU, with kernels that numba compiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fasttext_app.config.schema import Config, OptimizerConfig
from fasttext_app.core.arrays import F32, I32
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Batch, RowPlan, WordPlan
from fasttext_app.training.batch_kernels import NO_F32
from fasttext_app.training.losses import Loss
from fasttext_app.training.optim.cpu_kernels import NO_WINNERS, STEP_ROWS, find_winners, pool_rows
from fasttext_app.training.optim.fused import FusedStep, Parameter

NO_STATE = np.empty((0, 0), np.float32)


class CpuParameter(Parameter):
    """A parameter whose values and state are also NumPy arrays, over the same memory."""

    def __init__(self, parameter: Tensor, config: OptimizerConfig, *, dense: bool = False) -> None:
        super().__init__(parameter, config, dense=dense)
        self.table: F32 = self.values.numpy()
        states = [values.numpy() for values in self.state]
        self._first, self._second = [*states, NO_STATE, NO_STATE][:2]
        if dense:
            numbers = np.arange(len(self.table) + 1, dtype=np.int32)
            self._all_rows = RowPlan(numbers[:-1], numbers, numbers[:-1], NO_F32)

    def step(
        self,
        groups: RowPlan,
        gradient: Tensor,
        lr: float,
        winners: I32 = NO_WINNERS,
        trained: F32 = NO_F32,
    ) -> None:
        """Update the rows of ``groups``; the arguments match ``cpu_kernels.STEP_ROWS``."""
        STEP_ROWS[self.rule](
            self.table,
            self._first,
            self._second,
            groups.rows,
            groups.starts,
            groups.bags,
            groups.id_weights,
            winners,
            trained,
            gradient.numpy().reshape(len(gradient), self.dim),
            np.array(self.next_settings(lr), np.float32),
        )

    def step_all(self, gradient: Tensor, lr: float) -> None:
        """Update every row by its own row of the gradient."""
        self.step(self._all_rows, gradient, lr)


class CpuStep(FusedStep[CpuParameter]):
    """Updates the parameters of a model on the CPU."""

    def __init__(self, model: FastTextClassifier, config: Config, loss: Loss) -> None:
        super().__init__(model, config, loss, CpuParameter)
        self._mask: F32 = NO_F32 if self._trained is None else self._trained.numpy()
        is_sum = model.embedding.mode != "max" and model.embedding.max_norm is None
        by_word = is_sum and self.grouping.padding < 0
        self.grouping = replace(self.grouping, by_word=by_word)

    def _pool(self, batch: Batch) -> Tensor:
        """Sum the ids of each word, then the words of each text."""
        words, weights = batch.words, batch.per_sample_weights
        if words is None:
            return super()._pool(batch)
        id_weights = NO_F32 if weights is None else weights.numpy()
        ids, starts = batch.indices.numpy(), batch.offsets.numpy()
        vectors = pool_rows(self._table.table, ids, starts, id_weights)
        bags = torch.from_numpy(pool_rows(vectors, words.words, words.bag_offsets, NO_F32))
        return _scaled(bags, words)

    def _step_table(self, batch: Batch, gradient: Tensor, lr: float) -> None:
        assert batch.plan is not None
        words = batch.words
        if words is not None:  # from the gradient of the texts to that of their words
            scaled = _scaled(gradient, words).numpy()
            gradient = torch.from_numpy(pool_rows(scaled, words.bags, words.starts, NO_F32))
        self._table.step(batch.plan, gradient, lr, self._winners(batch), self._mask)

    def _winners(self, batch: Batch) -> I32:
        embedding = self._model.embedding
        if embedding.mode != "max":
            return NO_WINNERS
        offsets = batch.offsets.numpy()
        if not embedding.include_last_offset:
            offsets = np.append(offsets, np.int32(len(batch.indices)))
        ids: I32 = batch.indices.numpy()
        return find_winners(self._table.table, ids, offsets, self.grouping.padding)


def _scaled(vectors: Tensor, words: WordPlan) -> Tensor:
    """Multiply the vector of each text by its scale, [B, D]."""
    return vectors * torch.from_numpy(words.scales)[:, None] if len(words.scales) else vectors

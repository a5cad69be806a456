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
from fasttext_app.training.optim.cpu_kernels import (
    NO_WINNERS,
    STEP_ROWS,
    find_winners,
    layer_gradients,
    pool_rows,
)
from fasttext_app.training.optim.fused import FusedStep, Parameter

LARGEST_LAYER = 1 << 13  # numbers of a layer above which torch's products of matrices are faster
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
            self.all_rows = RowPlan(numbers[:-1], numbers, numbers[:-1], NO_F32)

    def step(
        self,
        groups: RowPlan,
        gradient: F32,
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
            gradient,
            np.array(self.next_settings(lr), np.float32),
        )

    def step_all(self, gradient: Tensor, lr: float) -> None:
        """Update every row by its own row of the gradient."""
        self.step(self.all_rows, gradient.numpy().reshape(self.table.shape), lr)


class CpuStep(FusedStep[CpuParameter]):
    """Updates the parameters of a model on the CPU."""

    def __init__(self, model: FastTextClassifier, config: Config, loss: Loss) -> None:
        super().__init__(model, config, loss, CpuParameter)
        self._mask: F32 = NO_F32 if self._trained is None else self._trained.numpy()
        embedding, linear = model.embedding, model.linear
        is_sum = embedding.mode != "max" and embedding.max_norm is None
        self.grouping = replace(self.grouping, by_word=is_sum and self.grouping.padding < 0)
        self.in_one_pass = (
            loss.plain
            and self.grouping.by_word
            and linear.out_features * linear.in_features <= LARGEST_LAYER
        )
        """Whether a kernel computes the loss too, without autograd."""

    def _train(self, batch: Batch, lr: float) -> Tensor:
        if not self.in_one_pass:
            return super()._train(batch, lr)
        (_, weight), (_, bias) = self._layer
        loss, bag_gradient, weight_gradient, bias_gradient = layer_gradients(
            self._pool_rows(batch),
            batch.labels.numpy(),
            NO_F32 if batch.weights is None else batch.weights.numpy(),
            weight.table,
            bias.table,
            self._config.trainer.label_smoothing,
            self._config.model.loss == "softmax",
        )
        self._step_rows(batch, bag_gradient, lr)
        weight.step(weight.all_rows, weight_gradient, lr)
        bias.step(bias.all_rows, bias_gradient, lr)
        return torch.tensor(loss)

    def _pool(self, batch: Batch) -> Tensor:
        if batch.words is None:
            return super()._pool(batch)
        return torch.from_numpy(self._pool_rows(batch))

    def _pool_rows(self, batch: Batch) -> F32:
        """Sum the rows of each text; if texts are cut into words, sum the rows of a word first."""
        words, weights = batch.words, batch.per_sample_weights
        ids, offsets = batch.indices.numpy(), self._offsets(batch)
        id_weights = NO_F32 if weights is None else weights.numpy()
        bags = pool_rows(self._table.table, ids, offsets, id_weights)
        if words is not None:
            return _scaled(pool_rows(bags, words.words, words.bag_offsets, NO_F32), words)
        if self.grouping.mean:
            bags /= np.maximum(np.diff(offsets), 1).astype(np.float32)[:, None]
        return bags

    def _step_table(self, batch: Batch, gradient: Tensor, lr: float) -> None:
        self._step_rows(batch, gradient.numpy(), lr)

    def _step_rows(self, batch: Batch, gradient: F32, lr: float) -> None:
        """Update the batch's rows of the table by the gradient of its bags, [B, D]."""
        assert batch.plan is not None
        words = batch.words
        if words is not None:  # from the gradient of the texts to that of their words
            gradient = pool_rows(_scaled(gradient, words), words.bags, words.starts, NO_F32)
        self._table.step(batch.plan, gradient, lr, self._winners(batch), self._mask)

    def _winners(self, batch: Batch) -> I32:
        if self._model.embedding.mode != "max":
            return NO_WINNERS
        ids, offsets = batch.indices.numpy(), self._offsets(batch)
        return find_winners(self._table.table, ids, offsets, self.grouping.padding)

    def _offsets(self, batch: Batch) -> I32:
        """Return the bounds of the bags, with the end of the last one."""
        offsets: I32 = batch.offsets.numpy()
        if batch.words is None and not self._model.embedding.include_last_offset:
            offsets = np.append(offsets, np.int32(len(batch.indices)))
        return offsets


def _scaled(vectors: F32, words: WordPlan) -> F32:
    """Multiply the vector of each text by its scale, [B, D]."""
    return vectors * words.scales[:, None] if len(words.scales) else vectors

"""The fused step on the CPU, with kernels that numba compiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fasttext_app.config.schema import Config, OptimizerConfig
from fasttext_app.core.arrays import F32, I32
from fasttext_app.core.threads import thread_count
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Batch, RowPlan, WordPlan
from fasttext_app.training.loader import Batches, CutBatches
from fasttext_app.training.losses import Loss
from fasttext_app.training.optim.cpu_columns import Arrays, ColumnThreads, column_threads
from fasttext_app.training.optim.cpu_kernels import (
    NO_F32,
    NO_WINNERS,
    ONE,
    Plan,
    find_winners,
    layer_gradients,
    pool_rows,
    step_rows,
)
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
            self.all_rows = RowPlan(numbers[:-1], numbers, numbers[:-1], ONE)

    @property
    def arrays(self) -> Arrays:
        """The values and both states."""
        return self.table, self._first, self._second

    def step(
        self,
        groups: RowPlan,
        gradient: F32,
        lr: float,
        winners: I32 = NO_WINNERS,
        trained: F32 = NO_F32,
        first_column: int = 0,
    ) -> None:
        """Update the rows of ``groups``; the arguments match ``cpu_kernels.step_rows``."""
        step_rows(
            self.rule,
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
            first_column,
        )

    def step_all(self, gradient: Tensor, lr: float) -> None:
        """Update every row by its own row of the gradient."""
        self.step(self.all_rows, gradient.numpy().reshape(self.table.shape), lr)


class CpuStep(FusedStep[CpuParameter]):
    """Updates the parameters of a model on the CPU.

    Plain losses are trained by :class:`ColumnThreads`, many batches in a call, or one batch at a
    time, with the same result. Other losses take the gradients of bags and layer from autograd.
    """

    def __init__(self, model: FastTextClassifier, config: Config, loss: Loss) -> None:
        super().__init__(model, config, loss, CpuParameter)
        self._mask: F32 = NO_F32 if self._trained is None else self._trained.numpy()
        embedding = model.embedding
        is_sum = embedding.mode != "max" and embedding.max_norm is None
        by_word = is_sum and self.grouping.padding < 0
        self._is_plain = loss.plain and by_word
        self.at_once = self._is_plain and model.shard is None
        threads = thread_count(config.trainer.threads)
        dim, classes = embedding.embedding_dim, model.linear.out_features
        step_threads = column_threads(dim, classes, threads) if self.at_once else 1
        self.grouping = replace(self.grouping, by_word=by_word, step_threads=step_threads)
        self._columns: ColumnThreads | None = None  # made by the first step
        self._is_behind = False  # whether the parameters are behind the columns

    def train_some(self, batches: Batches, first: int, lrs: Sequence[float]) -> Tensor:
        """Train on a batch for each learning rate; return their losses."""
        if not (self.at_once and isinstance(batches, CutBatches)):
            return super().train_some(batches, first, lrs)
        (_, weight), (_, bias) = self._layer
        if self._columns is None:
            plan = Plan(
                self._table.rule,
                weight.rule,
                self._config.model.loss == "softmax",
                self._config.trainer.label_smoothing,
                self._config.model.bias,
                self._mask,
            )
            parameters = self._table.arrays, weight.arrays, bias.arrays
            self._columns = ColumnThreads(*parameters, plan, self.grouping.step_threads)
        settings = np.empty((len(lrs), 8), np.float32)
        for row, lr in zip(settings, lrs, strict=True):
            row[:] = *self._table.next_settings(lr), *weight.next_settings(lr)
        bias.steps = weight.steps
        self._is_behind = True
        return torch.from_numpy(self._columns.train(batches.piece, first, settings))

    def write_back(self) -> None:
        """Copy the columns of the threads to the parameters and their states."""
        if self._columns is not None and self._is_behind:
            self._columns.write_back()
            self._is_behind = False

    def state(self) -> dict[str, Tensor]:
        """Return the number of steps and the state of each parameter."""
        self.write_back()
        return super().state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what :meth:`state` returned."""
        super().load_state(state)
        self._columns = None

    def _train(self, batch: Batch, lr: float) -> Tensor:
        self.write_back()
        self._columns = None
        if not self._is_plain:
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
        id_weights = ONE if weights is None else weights.numpy()
        bags = pool_rows(self._table.table, ids, offsets, id_weights)
        if words is not None:
            return scaled(pool_rows(bags, words.words, words.bag_offsets, ONE), words)
        if self.grouping.mean:
            bags /= np.maximum(np.diff(offsets), 1).astype(np.float32)[:, None]
        return bags

    def _step_table(self, batch: Batch, gradient: Tensor, lr: float) -> None:
        self._step_rows(batch, gradient.numpy(), lr)

    def _step_rows(self, batch: Batch, gradient: F32, lr: float, first_column: int = 0) -> None:
        """Update the batch's rows of the table by the gradient of its bags, [B, D].

        ``first_column`` is as in ``cpu_kernels.step_rows``.
        """
        assert batch.plan is not None
        words = batch.words
        if words is not None:  # from the gradient of the texts to that of their words
            gradient = pool_rows(scaled(gradient, words), words.bags, words.starts, ONE)
        self._table.step(batch.plan, gradient, lr, self._winners(batch), self._mask, first_column)

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


def scaled(vectors: F32, words: WordPlan) -> F32:
    """Multiply the vector of each text by its scale, [B, D]."""
    return vectors * words.scales[:, None] if len(words.scales) else vectors

"""The fused step: from the gradient of the bags straight to the rows of the table.

Torch's own way makes a sparse gradient of N rows, sorts and sums it up (``coalesce``), and adds it
to the table through more sparse tensors. Here a batch comes with its ids grouped by row
(``batch.RowPlan``), and compiled code sums up and steps each row in one go. The
rules are those of ``torch.optim`` to float rounding, and the result does not depend on the number
of threads. The layer on top is stepped by the same code; so no ``torch.optim`` object is made, the
first of which takes a second, because torch then loads its compiler.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from fasttext_app.config.schema import OptimizerConfig
from fasttext_app.core.arrays import F32, I32
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Batch, RowPlan
from fasttext_app.training.batch_kernels import NO_F32
from fasttext_app.training.optim.cpu_kernels import NO_WINNERS, STEP_ROWS, find_winners
from fasttext_app.training.optim.rules import ADAM, OPTIMIZERS, state_widths

NO_STATE = np.empty((0, 0), np.float32)


class FusedStep:
    """Steps the parameters of a model on the CPU, in place.

    Args:
        model: its parameters must be 32-bit floats on the CPU.
        config: the optimizer and its settings.
    """

    def __init__(self, model: FastTextClassifier, config: OptimizerConfig) -> None:
        self._model = model
        self._table = _Parameter(model.embedding.weight, config)
        self._layer = [
            (parameter, _Parameter(parameter, config, dense=True), _all_rows(len(parameter)))
            for parameter in model.linear.parameters()
        ]

    def step(self, batch: Batch, gradient: Tensor, rate: float) -> None:
        """Step the rows of a batch and the layer on top.

        Args:
            batch: has a plan.
            gradient: the gradient of the loss by the bags, [B, D]; the layer on top has its own.
            rate: the learning rate.
        """
        assert batch.plan is not None
        trained = getattr(self._model, "trained_rows", None)
        mask = NO_F32 if trained is None else trained.numpy().ravel()
        winners = self._winners(batch)
        self._table.step(batch.plan, gradient.numpy(), rate, winners, mask)
        for parameter, stepper, rows in self._layer:
            if parameter.grad is not None:  # else a cluster that no text of the batch is in
                stepper.step(rows, parameter.grad.numpy().reshape(len(parameter), -1), rate)
                parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Return what the optimizer remembers; the tensors are its own, not copies."""
        found = {}
        for name, parameter in self._parameters():
            found[f"{name}.steps"] = torch.tensor(parameter.steps)
            for place, values in enumerate(parameter.states):
                found[f"{name}.{place}"] = torch.from_numpy(values)
        return found

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what :meth:`state` returned."""
        for name, parameter in self._parameters():
            parameter.steps = int(state[f"{name}.steps"])
            for place, values in enumerate(parameter.states):
                values[:] = state[f"{name}.{place}"].numpy()

    def _parameters(self) -> list[tuple[str, _Parameter]]:
        layer = [(f"layer.{place}", found) for place, (_, found, _) in enumerate(self._layer)]
        return [("table", self._table), *layer]

    def _winners(self, batch: Batch) -> I32:
        embedding = self._model.embedding
        if embedding.mode != "max":
            return NO_WINNERS
        padding = -1 if embedding.padding_idx is None else embedding.padding_idx
        offsets = batch.offsets.numpy()
        if not embedding.include_last_offset:
            offsets = np.append(offsets, np.int32(len(batch.indices)))
        table = embedding.weight.detach().numpy()
        return find_winners(table, batch.indices.numpy(), offsets, padding)


def _all_rows(rows: int) -> RowPlan:
    """Return the plan that steps each row by its own gradient."""
    numbers = np.arange(rows + 1, dtype=np.int32)
    return RowPlan(numbers[:-1], numbers, numbers[:-1], NO_F32)


class _Parameter:
    """One parameter, as rows of numbers, with the state of its optimizer."""

    def __init__(self, parameter: Tensor, config: OptimizerConfig, *, dense: bool = False) -> None:
        self._dense, self.steps = dense, 0
        self._values = parameter.detach().numpy().reshape(len(parameter), -1)
        self._config = config
        rules = OPTIMIZERS[config.name]
        self._rule = rules.layer if dense else rules.table
        rows, dim = self._values.shape
        # Torch begins an array where a cache line does, as the table: a row is then one line.
        self.states = [torch.zeros(rows, width).numpy() for width in state_widths(self._rule, dim)]
        self._first, self._second = [*self.states, NO_STATE, NO_STATE][:2]

    def step(
        self,
        plan: RowPlan,
        gradient: F32,
        rate: float,
        winners: I32 = NO_WINNERS,
        trained: F32 = NO_F32,
    ) -> None:
        """Step the rows of ``plan``; the arguments are those of ``kernels.STEP_ROWS``."""
        self.steps += 1
        beta1, beta2 = self._config.betas
        eps = self._config.eps
        if self._rule == ADAM:
            root = math.sqrt(1 - beta2**self.steps)
            rate *= root / (1 - beta1**self.steps)
            eps *= root if self._dense else 1.0  # Adam adds it after the correction
        STEP_ROWS[self._rule](
            self._values,
            self._first,
            self._second,
            plan.rows,
            plan.starts,
            plan.bags,
            plan.shares,
            winners,
            trained,
            gradient,
            np.array([rate, eps, 1 - beta1, 1 - beta2], np.float32),
        )

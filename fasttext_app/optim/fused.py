"""The fused step: from the gradient of the bags straight to the rows of the table.

Torch's own way makes a sparse gradient of N rows, sorts and sums it up (``coalesce``), and adds it
to the table through more sparse tensors. Here a batch comes with its ids grouped by row
(:class:`~fasttext_app.batch.RowPlan`), and compiled code sums up and steps each row in one go. The
rules are those of ``torch.optim`` to float rounding, and the result does not depend on the number
of threads. The linear layer is stepped by the same code; so no ``torch.optim`` object is made, the
first of which takes a second, because torch then loads its compiler.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fasttext_app.batch import Batch, RowPlan
from fasttext_app.config import OptimizerConfig
from fasttext_app.kernels import ADAGRAD, ADAM, ROWWISE, RULES, STEP_ROWS, find_winners
from fasttext_app.model import FastTextClassifier

__all__ = ["FusedStep"]

NO_F32, NO_STATE = np.empty(0, np.float32), np.empty((0, 0), np.float32)
NO_WINNERS = np.empty((0, 0), np.int32)

F32 = npt.NDArray[np.float32]


class FusedStep:
    """Steps the parameters of a model on the CPU, in place.

    Args:
        model: its parameters must be 32-bit floats on the CPU.
        config: the optimizer and its settings.
    """

    def __init__(self, model: FastTextClassifier, config: OptimizerConfig) -> None:
        self._model, self._steps = model, 0
        for_linear = _for_linear(config)
        self._table = _Parameter(model.embedding.weight, config)
        self._linear = _Parameter(model.linear.weight, for_linear, dense=True)
        self._bias = _Parameter(model.linear.bias, for_linear, dense=True)
        classes = np.arange(model.linear.out_features + 1, dtype=np.int32)
        self._all_classes = RowPlan(classes[:-1], classes, classes[:-1], NO_F32)

    def step(self, batch: Batch, gradient: Tensor, rate: float) -> None:
        """Step the rows of a batch and the linear layer.

        Args:
            batch: has a plan.
            gradient: the gradient of the loss by the bags, [B, D]; the linear layer has its own.
            rate: the learning rate.
        """
        assert batch.plan is not None
        self._steps += 1
        trained = getattr(self._model, "trained_rows", None)
        mask = NO_F32 if trained is None else trained.numpy().ravel()
        winners = self._winners(batch)
        self._table.step(batch.plan, gradient.numpy(), rate, self._steps, winners, mask)
        for parameter, layer in (
            (self._linear, self._model.linear.weight),
            (self._bias, self._model.linear.bias),
        ):
            assert layer.grad is not None
            by_row = layer.grad.numpy().reshape(len(layer), -1)
            parameter.step(self._all_classes, by_row, rate, self._steps)
            layer.grad = None

    def state(self) -> dict[str, Tensor]:
        """Return what the optimizer remembers; the tensors are its own, not copies."""
        states = {
            f"{name}.{place}": torch.from_numpy(values)
            for name, parameter in self._parameters()
            for place, values in enumerate(parameter.states)
        }
        return states | {"steps": torch.tensor(self._steps)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what :meth:`state` returned."""
        self._steps = int(state["steps"])
        for name, parameter in self._parameters():
            for place, values in enumerate(parameter.states):
                values[:] = state[f"{name}.{place}"].numpy()

    def _parameters(self) -> list[tuple[str, _Parameter]]:
        return [("table", self._table), ("weight", self._linear), ("bias", self._bias)]

    def _winners(self, batch: Batch) -> npt.NDArray[np.int32]:
        embedding = self._model.embedding
        if embedding.mode != "max":
            return NO_WINNERS
        padding = -1 if embedding.padding_idx is None else embedding.padding_idx
        offsets = batch.offsets.numpy()
        if not embedding.include_last_offset:
            offsets = np.append(offsets, np.int32(len(batch.indices)))
        table = embedding.weight.detach().numpy()
        return find_winners(table, batch.indices.numpy(), offsets, padding)


def _for_linear(config: OptimizerConfig) -> OptimizerConfig:
    """Return the rule for the linear layer: where the table's is by row, its plain form."""
    by_row = config.name == "rowwise_adagrad"
    return config.model_copy(update={"name": "adagrad"}) if by_row else config


class _Parameter:
    """One parameter, as rows of numbers, with the state of its optimizer."""

    def __init__(self, parameter: Tensor, config: OptimizerConfig, *, dense: bool = False) -> None:
        self._dense = dense
        self._values = parameter.detach().numpy().reshape(len(parameter), -1)
        self._config, self._rule = config, RULES[config.name]
        rows, dim = self._values.shape
        shapes = {ADAGRAD: [dim], ROWWISE: [1], ADAM: [dim, dim]}.get(self._rule, [])
        # Torch begins an array where a cache line does, as the table: a row is then one line.
        self.states = [torch.zeros(rows, width).numpy() for width in shapes]
        self._first, self._second = [*self.states, NO_STATE, NO_STATE][:2]

    def step(
        self,
        plan: RowPlan,
        gradient: F32,
        rate: float,
        steps: int,
        winners: npt.NDArray[np.int32] = NO_WINNERS,
        trained: F32 = NO_F32,
    ) -> None:
        """Step the rows of ``plan``; the arguments are those of ``kernels.STEP_ROWS``."""
        beta1, beta2 = self._config.betas
        eps = self._config.eps
        if self._rule == ADAM:
            root = math.sqrt(1 - beta2**steps)
            rate *= root / (1 - beta1**steps)
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

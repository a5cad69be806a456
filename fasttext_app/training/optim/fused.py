"""What the fused steps share: autograd as far as the bags, then kernels that update the rows.

Autograd's gradient of the table is a sparse tensor of N rows, which ``torch.optim`` sorts, sums
(``coalesce``) and adds to the table through more sparse tensors. A fused step takes batches whose
ids are already grouped by row, so a kernel sums and updates each row in one pass. The results equal
``torch.optim``'s up to float rounding and are bit-identical on every run. The layer on top is
updated by the same kernels: no ``torch.optim`` object is made, the first of which takes a second,
because torch then loads its compiler.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import torch
from torch import Tensor

from fasttext_app.config.auto import known
from fasttext_app.config.schema import Config, OptimizerConfig
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Batch, Grouping
from fasttext_app.training.losses import Loss
from fasttext_app.training.optim.rules import ADAM, OPTIMIZERS, state_widths
from fasttext_app.training.optim.step import Step


class Parameter(ABC):
    """One parameter as a table of rows, with the state of its update rule.

    Args:
        parameter: 32-bit floats, contiguous; updated in place.
        config: the optimizer and its settings.
        dense: whether the gradient is dense, as in the layer on top.
    """

    def __init__(self, parameter: Tensor, config: OptimizerConfig, *, dense: bool = False) -> None:
        assert parameter.is_contiguous()
        self._config, self.dense, self.steps = config, dense, 0
        rules = OPTIMIZERS[config.name]
        self.rule = rules.layer if dense else rules.table
        self.values = parameter.detach().view(len(parameter), -1)
        rows, self.dim = self.values.shape
        # Torch aligns a tensor to a cache line, as it does the table.
        self.state = [self.values.new_zeros(rows, n) for n in state_widths(self.rule, self.dim)]

    @abstractmethod
    def step_all(self, gradient: Tensor, lr: float) -> None:
        """Update every row by its own row of the gradient."""

    def next_settings(self, lr: float) -> tuple[float, float, float, float]:
        """Count a step, and return the kernel's settings for it: lr, eps, 1 - beta1, 1 - beta2."""
        self.steps += 1
        (beta1, beta2), eps = self._config.betas, known(self._config.eps)
        if self.rule == ADAM:
            correction = math.sqrt(1 - beta2**self.steps)
            lr *= correction / (1 - beta1**self.steps)
            # Adam adds eps after the bias correction, SparseAdam before it.
            eps *= correction if self.dense else 1.0
        return lr, eps, 1 - beta1, 1 - beta2


P = TypeVar("P", bound=Parameter)


class FusedStep(Step, Generic[P]):
    """Takes the gradient of the bags from autograd, and updates rows and layer with kernels.

    Args:
        model: its parameters are 32-bit floats.
        config: the run's settings.
        loss: see :class:`Step`.
        parameter: the parameter class of the device.
    """

    grouping: Grouping

    def __init__(
        self, model: FastTextClassifier, config: Config, loss: Loss, parameter: type[P]
    ) -> None:
        super().__init__(model, config, loss)
        embedding, optimizer = model.embedding, config.optimizer
        self._table = parameter(embedding.weight, optimizer)
        self._layer = [
            (weights, parameter(weights, optimizer, dense=True))
            for weights in model.linear.parameters()
        ]
        trained = getattr(model, "trained_rows", None)
        self._trained: Tensor | None = None if trained is None else trained.flatten()
        self.grouping = Grouping(
            rows=len(embedding.weight),
            mean=embedding.mode == "mean",
            padding=-1 if embedding.padding_idx is None else int(embedding.padding_idx),
            threads=config.trainer.threads,
        )

    def _train(self, batch: Batch, lr: float) -> Tensor:
        with torch.no_grad():
            bags = self._pool(batch)
        bags.requires_grad_()
        loss = self._loss(self._model.linear, bags, batch.labels, batch.weights)
        loss.backward()
        assert bags.grad is not None
        self._step_table(batch, bags.grad, lr)
        for weights, parameter in self._layer:
            if weights.grad is not None:  # None: an adaptive softmax's cluster without a text here
                parameter.step_all(weights.grad, lr)
                weights.grad = None
        return loss

    def _pool(self, batch: Batch) -> Tensor:
        """Return the vector of each text, [B, D]."""
        bags: Tensor = self._model.embedding(batch.indices, batch.offsets, batch.per_sample_weights)
        return bags

    @abstractmethod
    def _step_table(self, batch: Batch, gradient: Tensor, lr: float) -> None:
        """Update the batch's rows of the table by the gradient of its bags, [B, D]."""

    def state(self) -> dict[str, Tensor]:
        """Return the number of steps and the state of each parameter."""
        tensors = {}
        for name, parameter in self._parameters().items():
            tensors[f"{name}.steps"] = torch.tensor(parameter.steps)
            for number, values in enumerate(parameter.state):
                tensors[f"{name}.{number}"] = values
        return tensors

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what :meth:`state` returned."""
        for name, parameter in self._parameters().items():
            parameter.steps = int(state[f"{name}.steps"])
            for number, values in enumerate(parameter.state):
                values.copy_(state[f"{name}.{number}"])

    def _parameters(self) -> dict[str, P]:
        layer = {f"layer.{number}": parameter for number, (_, parameter) in enumerate(self._layer)}
        return {"table": self._table, **layer}

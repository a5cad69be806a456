"""The interface of a training step: one batch in, updated parameters and the batch's loss out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from fasttext_app.config.schema import Config
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Batch, Grouping
from fasttext_app.training.losses import Loss


class Step(ABC):
    """Trains a model on one batch at a time, in place; ``build.build_step`` chooses which one.

    Args:
        model: on the device where it is trained.
        config: the run's settings.
        loss: the loss of a batch.
    """

    grouping: Grouping | None = None
    """How the ids of a batch must be grouped by row; None if they need not be."""

    def __init__(self, model: FastTextClassifier, config: Config, loss: Loss) -> None:
        self._model, self._config, self._loss = model, config, loss

    def train(self, batch: Batch, lr: float) -> Tensor:
        """Train on one batch; return its loss before the step, a scalar on the device.

        Args:
            batch: cut according to :attr:`grouping`.
            lr: the learning rate.
        """
        loss = self._train(batch, lr)
        if not self._config.model.bias:
            with torch.no_grad():
                self._model.linear.bias.zero_()
        return loss.detach()

    @abstractmethod
    def _train(self, batch: Batch, lr: float) -> Tensor:
        """Update every parameter; return the loss."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return what the optimizer remembers; the tensors are not copies."""

    @abstractmethod
    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what :meth:`state` returned."""

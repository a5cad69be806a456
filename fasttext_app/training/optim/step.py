"""The interface of a training step: one batch in, updated parameters and the batch's loss out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from fasttext_app.config.schema import Config
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Batch, Grouping
from fasttext_app.training.loader import Batches
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
    at_once: bool = False
    """Whether several batches in one call take less time than one by one."""

    def __init__(self, model: FastTextClassifier, config: Config, loss: Loss) -> None:
        self._model, self._config, self._loss = model, config, loss

    def train_some(self, batches: Batches, first: int, lrs: Sequence[float]) -> Tensor:
        """Train on a batch for each learning rate; return their losses, on the device.

        Args:
            batches: cut according to :attr:`grouping`.
            first: the first batch to train on.
            lrs: the learning rate of each batch.
        """
        return torch.stack(
            [self.train(batches.batch(first + number), lr) for number, lr in enumerate(lrs)]
        )

    def write_back(self) -> None:  # noqa: B027 - most steps work on the parameters themselves
        """Bring the parameters of the model up to date, if the step works on copies."""

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

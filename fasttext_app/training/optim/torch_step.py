"""The reference step: autograd and ``torch.optim``, for every device and every setting."""

from __future__ import annotations

import torch
from torch import Tensor

from fasttext_app.config.schema import Config
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Batch
from fasttext_app.training.losses import Loss
from fasttext_app.training.optim.rules import torch_optimizers
from fasttext_app.training.optim.step import Step


class TorchStep(Step):
    """Updates all parameters with ``torch.optim``."""

    def __init__(self, model: FastTextClassifier, config: Config, loss: Loss) -> None:
        super().__init__(model, config, loss)
        self.optimizers = torch_optimizers(model, config.optimizer)

    def _train(self, batch: Batch, lr: float) -> Tensor:
        bags = self._model.bags(batch.indices, batch.offsets, batch.per_sample_weights)
        loss = self._loss(self._model.linear, bags, batch.labels, batch.weights)
        self._differentiate(loss, bags, batch)
        max_norm = self._config.trainer.clip_grad_norm
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), max_norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
            optimizer.zero_grad()
        return loss

    def _differentiate(self, loss: Tensor, bags: Tensor, batch: Batch) -> None:
        """Compute the gradients."""
        loss.backward()

    def state(self) -> dict[str, Tensor]:
        """Return the state of each optimizer as ``OPTIMIZER.PARAMETER.NAME``, with numbers."""
        return {
            f"{number}.{parameter}.{name}": torch.as_tensor(value)
            for number, optimizer in enumerate(self.optimizers)
            for parameter, values in optimizer.state_dict()["state"].items()
            for name, value in values.items()
            if value is not None
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what :meth:`state` returned."""
        for number, optimizer in enumerate(self.optimizers):
            by_parameter: dict[int, dict[str, Tensor | int]] = {}
            for key, value in state.items():
                owner, parameter, name = key.split(".", 2)
                if int(owner) == number:
                    # SparseAdam counts its steps in an int, the others in a tensor.
                    is_int = name == "step" and isinstance(optimizer, torch.optim.SparseAdam)
                    values = by_parameter.setdefault(int(parameter), {})
                    values[name] = int(value) if is_int else value
            optimizer.load_state_dict(optimizer.state_dict() | {"state": by_parameter})

"""``Stepper``: one batch at a time, from the bags to stepped parameters.

Either the fused step does it, or autograd and ``torch.optim``, which is the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fasttext_app.config.rules import unsupported_by_fused
from fasttext_app.config.schema import Config
from fasttext_app.errors import MissingDependencyError
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Batch, Grouping
from fasttext_app.training.losses import Loss
from fasttext_app.training.optim.fused_cpu import FusedStep
from fasttext_app.training.optim.rules import torch_optimizers

if TYPE_CHECKING:
    from fasttext_app.training.optim.fused_cuda import CudaStep


class Stepper:
    """Trains a model on batches, in place.

    Args:
        model: on the device where it is trained.
        config: the run's settings.
        loss: from the linear layer, bags, labels and weights to the mean loss.
        plain: whether CUDA can do the loss in a kernel; see ``losses.is_plain``.

    Raises:
        MissingDependencyError: a fused step is asked for, and needs a package that is missing.
    """

    def __init__(
        self, model: FastTextClassifier, config: Config, loss: Loss, *, plain: bool = True
    ) -> None:
        self._model, self._config, self._loss = model, config, loss
        self.fused = self._make_fused_step(config.model.loss if plain else "another")
        self.grouping = None if self.fused is None else self._how_to_group()
        """How batches are to come; None: their ids need not be grouped."""
        self._optimizers = [] if self.fused else torch_optimizers(model, config.optimizer)

    def train(self, batch: Batch, rate: float) -> Tensor:
        """Train on one batch; return its loss before the step, on the device.

        Args:
            batch: cut as :attr:`grouping` says.
            rate: the learning rate.
        """
        loss = self._by_torch(batch) if self.fused is None else self._by_fused(batch, rate)
        if self._config.trainer.clip_grad_norm is not None:
            parameters = self._model.parameters()
            torch.nn.utils.clip_grad_norm_(parameters, self._config.trainer.clip_grad_norm)
        set_lr(self._optimizers, rate)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if not self._config.model.bias:
            with torch.no_grad():
                self._model.linear.bias.zero_()
        return loss.detach()

    def state(self) -> dict[str, Tensor]:
        """Return what the optimizer remembers; the tensors are its own, not copies."""
        if self.fused is not None:
            return self.fused.state()
        found = {}
        for place, optimizer in enumerate(self._optimizers):
            for number, values in optimizer.state_dict()["state"].items():
                for name, value in values.items():
                    if value is not None:
                        found[f"{place}.{number}.{name}"] = torch.as_tensor(value)
        return found

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what :meth:`state` returned."""
        if self.fused is not None:
            self.fused.load_state(state)
            return
        for place, optimizer in enumerate(self._optimizers):
            whole = optimizer.state_dict()
            by_number: dict[int, dict[str, Tensor | int]] = {}
            for key, value in state.items():
                owner, number, name = key.split(".", 2)
                if int(owner) == place:
                    # SparseAdam counts its steps in a plain number.
                    plain = name == "step" and isinstance(optimizer, torch.optim.SparseAdam)
                    by_number.setdefault(int(number), {})[name] = int(value) if plain else value
            optimizer.load_state_dict(whole | {"state": by_number})

    def _make_fused_step(self, loss: str) -> FusedStep | CudaStep | None:
        optimizer, device = self._config.optimizer, self._model.embedding.weight.device.type
        if optimizer.implementation == "torch" or unsupported_by_fused(self._config):
            return None
        if device == "cpu":
            return FusedStep(self._model, optimizer)
        if device == "cuda":
            from fasttext_app.training.optim.fused_cuda import CudaStep

            try:
                smoothing = self._config.trainer.label_smoothing
                return CudaStep(self._model, optimizer, loss, smoothing)
            except ImportError as error:
                if optimizer.implementation == "fused":
                    raise MissingDependencyError(
                        f'optimizer.implementation = "fused" on CUDA needs Triton ({error}); '
                        'install it, or set "auto"'
                    ) from None
        return None

    def _how_to_group(self) -> Grouping:
        model, padding = self._config.model, self._config.model.padding_idx
        return Grouping(
            rows=len(self._model.embedding.weight),
            mean=model.mode == "mean",
            padding=-1 if padding is None else padding,
            threads=self._config.trainer.threads,
        )

    def _by_torch(self, batch: Batch) -> Tensor:
        bags = self._model.bags(batch.indices, batch.offsets, batch.per_sample_weights)
        loss = self._loss(self._model.linear, bags, batch.labels, batch.weights)
        loss.backward()
        return loss

    def _by_fused(self, batch: Batch, rate: float) -> Tensor:
        """Go back to the bags by autograd, and step all parameters from there.

        On CUDA one call does it all: a batch is less work than the launches of many kernels.
        """
        assert self.fused is not None
        weighed = batch.weights is not None
        if not isinstance(self.fused, FusedStep) and self.fused.does_the_loss and not weighed:
            return self.fused.train(batch, rate)
        with torch.no_grad():
            bags: Tensor = self._model.embedding(
                batch.indices, batch.offsets, batch.per_sample_weights
            )
        bags.requires_grad_()
        loss = self._loss(self._model.linear, bags, batch.labels, batch.weights)
        loss.backward()
        assert bags.grad is not None
        self.fused.step(batch, bags.grad, rate)
        return loss


def set_lr(optimizers: Sequence[torch.optim.Optimizer], lr: float) -> None:
    """Set the learning rate of every parameter group."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr

"""The fused step on the GPU: from the ids to the loss and back to the rows in three kernels.

A batch of 256 texts is so little work for a GPU that the time of a step is the number of kernels
that it launches. So an epoch is cut, and its ids are sorted by row, in one go
(``cuda_batches``); a batch is then slices. The rules and their state are
those of :mod:`fasttext_app.training.optim.fused_cpu`. No step waits for the device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fasttext_app.config.schema import OptimizerConfig
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Batch
from fasttext_app.training.optim.cuda_batches import DeviceBatch, SortedIds, sort_ids
from fasttext_app.training.optim.rules import ADAM, OPTIMIZERS, state_widths

TILE = 1024  # numbers that a program of a kernel has in hand
LARGEST_LAYER = 1 << 14  # numbers of a linear layer that a program can hold


class CudaStep:
    """Steps the parameters of a model on a GPU, which must be the current device, in place.

    Args:
        model: its parameters must be 32-bit floats.
        config: the optimizer and its settings.
        loss: its name; :meth:`train` takes those of ``losses.LOSSES``.
        smoothing: ``trainer.label_smoothing``.
    """

    def __init__(
        self,
        model: FastTextClassifier,
        config: OptimizerConfig,
        loss: str = "softmax",
        smoothing: float = 0.0,
    ) -> None:
        from fasttext_app.training.optim import triton_kernels as cuda_kernels

        self._kernels = cuda_kernels
        self._model, self._loss, self._smoothing = model, loss, smoothing
        self._table = _Parameter(model.embedding.weight, config)
        self._layer = [
            (parameter, _Parameter(parameter, config, dense=True), _all_rows(parameter))
            for parameter in model.linear.parameters()
        ]
        trained = getattr(model, "trained_rows", None)
        self._trained = None if trained is None else trained.flatten()
        padding = model.embedding.padding_idx
        self._padding = -1 if padding is None else int(padding)

    @property
    def does_the_loss(self) -> bool:
        """Whether :meth:`train` can be used; else the loss is torch's, and :meth:`step` steps."""
        embedding, linear = self._model.embedding, self._model.linear
        size = _power(linear.out_features) * _power(linear.in_features)
        plain = embedding.mode != "max" and embedding.max_norm is None
        return plain and size <= LARGEST_LAYER and self._loss in ("softmax", "ova")

    def train(self, batch: Batch, rate: float) -> Tensor:
        """Train on a batch; return its loss before the step, a scalar on the device."""
        embedding, linear = self._model.embedding, self._model.linear
        (_, settings, _), (_, bias, _) = self._layer
        bags, classes, dim = len(batch), linear.out_features, linear.in_features
        table, block, class_block = embedding.weight.detach(), _power(dim), _power(classes)
        # One allocation for all: it is the calls that cost.
        sizes = [1, bags, bags * classes, bags * dim, bags * dim]
        loss, losses, by_logits, vectors, by_bags = table.new_empty(sum(sizes)).split(sizes)
        chunk = _chunk(block, 64)
        self._kernels.bag_gradients[(bags,)](
            table,
            settings.values,
            bias.values,
            batch.indices,
            batch.offsets,
            batch.per_sample_weights,
            batch.labels,
            vectors,
            by_logits,
            by_bags,
            losses,
            len(batch.indices),
            len(batch.offsets),
            self._padding,
            bags,
            self._smoothing,
            mean=embedding.mode == "mean",
            softmax=self._loss == "softmax",
            dim=dim,
            classes=classes,
            block=block,
            class_block=class_block,
            chunk=chunk,
            num_warps=_warps(max(block * chunk, block * class_block)),
        )
        self._kernels.step_linear[(classes,)](
            settings.values,
            *settings.state,
            bias.values,
            *bias.state,
            vectors,
            by_logits,
            losses,
            loss,
            bags,
            *settings.next_numbers(rate),
            rule=settings.rule,
            dim=dim,
            classes=classes,
            block=block,
            chunk=chunk,
            num_warps=_warps(block * chunk),
        )
        self._step_table(batch, by_bags, rate)
        scalar: Tensor = loss.squeeze(0)
        return scalar

    def step(self, batch: Batch, gradient: Tensor, rate: float) -> None:
        """Step the rows of a batch and the layer on top.

        Args:
            batch: on the device.
            gradient: the gradient of the loss by the bags, [B, D]; the layer on top has its own.
            rate: the learning rate.
        """
        self._step_table(batch, gradient.contiguous(), rate)
        for parameter, stepper, rows in self._layer:
            if parameter.grad is not None:  # else a cluster that no text of the batch is in
                self._step_rows(stepper, rows, parameter.grad.contiguous(), rate)
                parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Return what the optimizer remembers, as ``FusedStep.state`` does."""
        found = {}
        for name, parameter in self._parameters():
            found[f"{name}.steps"] = torch.tensor(parameter.steps)
            for place, values in enumerate(parameter.state):
                if values is not None:
                    found[f"{name}.{place}"] = values
        return found

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what :meth:`state` returned."""
        for name, parameter in self._parameters():
            parameter.steps = int(state[f"{name}.steps"])
            for place, values in enumerate(parameter.state):
                if values is not None:
                    values.copy_(state[f"{name}.{place}"])

    def _parameters(self) -> list[tuple[str, _Parameter]]:
        layer = [(f"layer.{place}", found) for place, (_, found, _) in enumerate(self._layer)]
        return [("table", self._table), *layer]

    def _step_table(self, batch: Batch, gradient: Tensor, rate: float) -> None:
        ids = batch.sorted_ids if isinstance(batch, DeviceBatch) else None
        mean = self._model.embedding.mode == "mean"
        ids = ids or sort_ids(batch, mean, self._padding)
        self._step_rows(self._table, ids, gradient, rate, self._winners(batch), self._trained)

    def _step_rows(
        self,
        parameter: _Parameter,
        ids: SortedIds,
        gradient: Tensor,
        rate: float,
        winners: Tensor | None = None,
        trained: Tensor | None = None,
    ) -> None:
        dim, numbers = parameter.dim, parameter.next_numbers(rate)
        if not len(ids.rows):
            return
        block = _power(dim)
        chunk = _chunk(block, 16)  # most rows of a batch stand in one or two of its texts
        self._kernels.step_rows[(len(ids.rows),)](
            parameter.values,
            *parameter.state,
            ids.rows,
            ids.bags,
            ids.shares,
            winners,
            trained,
            gradient,
            len(ids.rows),
            -1 if parameter.dense else self._padding,
            *numbers,
            rule=parameter.rule,
            dim=dim,
            block=block,
            chunk=chunk,
            num_warps=_warps(block * chunk),
        )

    def _winners(self, batch: Batch) -> Tensor | None:
        embedding = self._model.embedding
        if embedding.mode != "max":
            return None
        table = embedding.weight.detach()
        dim = table.shape[1]
        winners = torch.empty(len(batch), dim, dtype=torch.int32, device=table.device)
        block = _power(dim)
        chunk = _chunk(block, 64)
        self._kernels.find_winners[(len(batch),)](
            table,
            batch.indices,
            batch.offsets,
            winners,
            len(batch.indices),
            len(batch.offsets),
            self._padding,
            dim=dim,
            block=block,
            chunk=chunk,
            num_warps=_warps(block * chunk),
        )
        return winners


class _Parameter:
    """One parameter, as rows of numbers, with the state of its optimizer."""

    def __init__(self, parameter: Tensor, config: OptimizerConfig, *, dense: bool = False) -> None:
        self.dense, self._config, self.steps = dense, config, 0
        rules = OPTIMIZERS[config.name]
        self.rule = rules.layer if dense else rules.table
        self.values = parameter.detach()
        assert self.values.is_contiguous()
        self.dim = self.values.numel() // len(self.values)
        widths = state_widths(self.rule, self.dim)
        states = [self.values.new_zeros(len(self.values), width) for width in widths]
        self.state: list[Tensor | None] = [*states, None, None][:2]

    def next_numbers(self, rate: float) -> tuple[float, float, float, float]:
        """Return what the kernels take for its next step: rate, eps, 1 - beta 1, 1 - beta 2."""
        self.steps += 1
        (beta1, beta2), eps = self._config.betas, self._config.eps
        if self.rule == ADAM:
            root = math.sqrt(1 - beta2**self.steps)
            rate *= root / (1 - beta1**self.steps)
            eps *= root if self.dense else 1.0  # Adam adds it after the correction
        return rate, eps, 1 - beta1, 1 - beta2


def _all_rows(parameter: Tensor) -> SortedIds:
    rows = torch.arange(len(parameter), device=parameter.device)
    return SortedIds(rows, rows, None)


def _power(size: int) -> int:
    """Return the next power of two."""
    return 1 << (size - 1).bit_length()


def _chunk(block: int, wanted: int) -> int:
    """Return how many rows of ``block`` numbers a program takes at a time."""
    return max(min(TILE // block, _power(max(wanted, 1)), 64), 1)


def _warps(numbers: int) -> int:
    """Return the warps of a program: eight numbers for each of its threads, and 16 at most."""
    return max(min(_power(numbers) // 256, 16), 1)

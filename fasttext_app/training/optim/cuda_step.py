"""The fused step on CUDA, with Triton kernels: from the ids to the loss and back in three launches.

A batch of 256 texts is so little work for a GPU that a step takes as long as it has kernels to
launch. So an epoch is cut, and its ids are sorted by row, all at once (``cuda_batches``); a batch
is then a set of slices. No step waits for the device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fasttext_app.config.schema import Config, OptimizerConfig
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Batch
from fasttext_app.training.losses import Loss
from fasttext_app.training.optim.cuda_batches import DeviceBatch, SortedIds, sort_ids
from fasttext_app.training.optim.fused import FusedStep, Parameter

TILE = 1024  # numbers that one program of a kernel holds at a time
LARGEST_LAYER = 1 << 14  # numbers of a linear layer that one program can hold


class CudaParameter(Parameter):
    """A parameter on the device, updated by ``triton_kernels.step_rows``."""

    def __init__(self, parameter: Tensor, config: OptimizerConfig, *, dense: bool = False) -> None:
        from fasttext_app.training.optim import triton_kernels

        super().__init__(parameter, config, dense=dense)
        self._kernels = triton_kernels
        self.first, self.second = [*self.state, None, None][:2]
        if dense:
            rows = torch.arange(len(parameter), device=parameter.device)
            self._all_rows = SortedIds(rows, rows, None)

    def step(
        self,
        ids: SortedIds,
        gradient: Tensor,
        lr: float,
        padding: int = -1,
        winners: Tensor | None = None,
        trained: Tensor | None = None,
    ) -> None:
        """Update the rows of ``ids``; the arguments match ``triton_kernels.step_rows``."""
        settings = self.next_settings(lr)
        if not len(ids.rows):
            return
        block = _power_of_two(self.dim)
        chunk = _chunk(block, 16)  # most rows of a batch occur in one or two of its texts
        self._kernels.step_rows[(len(ids.rows),)](
            self.values,
            self.first,
            self.second,
            ids.rows,
            ids.bags,
            ids.id_weights,
            winners,
            trained,
            gradient.contiguous(),
            len(ids.rows),
            padding,
            *settings,
            rule=self.rule,
            dim=self.dim,
            block=block,
            chunk=chunk,
            num_warps=_warps(block * chunk),
        )

    def step_all(self, gradient: Tensor, lr: float) -> None:
        """Update every row by its own row of the gradient."""
        self.step(self._all_rows, gradient, lr)


class CudaStep(FusedStep[CudaParameter]):
    """Updates the parameters of a model on a GPU, which must be the current device.

    Raises:
        ImportError: Triton is not installed.
    """

    def __init__(self, model: FastTextClassifier, config: Config, loss: Loss) -> None:
        from fasttext_app.training.optim import triton_kernels

        super().__init__(model, config, loss, CudaParameter)
        self._kernels = triton_kernels
        embedding, linear = model.embedding, model.linear
        self.in_one_pass = (
            loss.plain
            and embedding.mode != "max"
            and embedding.max_norm is None
            and _power_of_two(linear.out_features) * _power_of_two(linear.in_features)
            <= LARGEST_LAYER
        )
        """Whether the kernels compute the loss of unweighted batches too, without autograd."""

    def _train(self, batch: Batch, lr: float) -> Tensor:
        if self.in_one_pass and batch.weights is None:
            return self._train_in_one_pass(batch, lr)
        return super()._train(batch, lr)

    def _train_in_one_pass(self, batch: Batch, lr: float) -> Tensor:
        model = self._config.model
        (_, weight), (_, bias) = self._layer
        bags, (classes, dim) = len(batch), weight.values.shape
        block, class_block = _power_of_two(dim), _power_of_two(classes)
        chunk = _chunk(block, 64)
        # One allocation for all buffers: the time depends on the number of calls, not on the sizes.
        sizes = [1, bags, bags * classes, bags * dim, bags * dim]
        buffer = self._table.values.new_empty(sum(sizes))
        loss, losses, logit_gradient, vectors, bag_gradient = buffer.split(sizes)
        self._kernels.bag_gradients[(bags,)](
            self._table.values,
            weight.values,
            bias.values,
            batch.indices,
            batch.offsets,
            batch.per_sample_weights,
            batch.labels,
            vectors,
            logit_gradient,
            bag_gradient,
            losses,
            len(batch.indices),
            len(batch.offsets),
            self.grouping.padding,
            bags,
            self._config.trainer.label_smoothing,
            mean=self.grouping.mean,
            softmax=model.loss == "softmax",
            dim=dim,
            classes=classes,
            block=block,
            class_block=class_block,
            chunk=chunk,
            num_warps=_warps(max(block * chunk, block * class_block)),
        )
        settings = weight.next_settings(lr)
        bias.next_settings(lr)  # the same settings
        self._kernels.step_linear[(classes,)](
            weight.values,
            weight.first,
            weight.second,
            bias.values,
            bias.first,
            bias.second,
            vectors,
            logit_gradient,
            losses,
            loss,
            bags,
            *settings,
            rule=weight.rule,
            dim=dim,
            classes=classes,
            block=block,
            chunk=chunk,
            num_warps=_warps(block * chunk),
        )
        self._step_table(batch, bag_gradient, lr)
        scalar: Tensor = loss.squeeze(0)
        return scalar

    def _step_table(self, batch: Batch, gradient: Tensor, lr: float) -> None:
        ids = batch.sorted_ids if isinstance(batch, DeviceBatch) else None
        ids = ids or sort_ids(batch, self.grouping.mean, self.grouping.padding)
        winners = self._winners(batch)
        self._table.step(ids, gradient, lr, self.grouping.padding, winners, self._trained)

    def _winners(self, batch: Batch) -> Tensor | None:
        if self._model.embedding.mode != "max":
            return None
        table, dim = self._table.values, self._table.dim
        winners = torch.empty(len(batch), dim, dtype=torch.int32, device=table.device)
        block = _power_of_two(dim)
        chunk = _chunk(block, 64)
        self._kernels.find_winners[(len(batch),)](
            table,
            batch.indices,
            batch.offsets,
            winners,
            len(batch.indices),
            len(batch.offsets),
            self.grouping.padding,
            dim=dim,
            block=block,
            chunk=chunk,
            num_warps=_warps(block * chunk),
        )
        return winners


def _power_of_two(size: int) -> int:
    """Return the next power of two."""
    return 1 << (size - 1).bit_length()


def _chunk(block: int, most: int) -> int:
    """Return how many rows of ``block`` numbers a program takes at a time."""
    return max(min(TILE // block, _power_of_two(max(most, 1)), 64), 1)


def _warps(numbers: int) -> int:
    """Return the warps of a program: eight numbers for each thread, and 16 warps at most."""
    return max(min(_power_of_two(numbers) // 256, 16), 1)

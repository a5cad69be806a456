"""The fused step on the GPU: from the ids to the loss and back to the rows in three kernels.

A batch of 256 texts is so little work for a GPU that the time of a step is the number of kernels
that it launches. So an epoch is cut, and its ids are sorted by row, in one go (``cut_epoch``); a
batch is then slices. The rules and their state are those of :mod:`fasttext_app.optim.fused`. No
step waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise, repeat

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fasttext_app.batch import Batch, EncodedDataset, Grouping
from fasttext_app.config import OptimizerConfig
from fasttext_app.model import FastTextClassifier

__all__ = ["CudaStep", "DeviceBatch", "SortedIds", "cut_epoch"]

CUT_IDS = 1 << 24  # ids that are cut and sorted in one go; they take about 60 bytes each
TILE = 1024  # numbers that a program of a kernel has in hand
LARGEST_LAYER = 1 << 14  # numbers of a linear layer that a program can hold


@dataclass(frozen=True)
class SortedIds:
    """The ids of a batch, sorted by table row: what a step goes through."""

    rows: Tensor  # [N], ascending
    bags: Tensor  # [N], the text of each
    shares: Tensor | None  # [N], its weight in the bag; None: 1


@dataclass(frozen=True)
class DeviceBatch(Batch):
    """A batch that comes with its ids sorted."""

    sorted_ids: SortedIds | None = None


class CudaStep:
    """Steps the parameters of a model on a GPU, which must be the current device, in place.

    Args:
        model: its parameters must be 32-bit floats.
        config: the optimizer and its settings.
        loss: its name; :meth:`train` takes those of ``losses.LOSSES``.
    """

    def __init__(
        self, model: FastTextClassifier, config: OptimizerConfig, loss: str = "softmax"
    ) -> None:
        from fasttext_app.optim import cuda_kernels

        self._kernels = cuda_kernels
        self._model, self._loss = model, loss
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

    def _step_table(self, batch: Batch, gradient: Tensor, rate: float) -> None:
        ids = batch.sorted_ids if isinstance(batch, DeviceBatch) else None
        mean = self._model.embedding.mode == "mean"
        ids = ids or _sorted(batch, mean, self._padding)
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
        from fasttext_app.optim.cuda_kernels import ADAGRAD, ADAM, ROWWISE, SGD

        rules = {"sgd": SGD, "adagrad": ADAGRAD, "rowwise_adagrad": ROWWISE, "sparse_adam": ADAM}
        self.dense, self._config, self._adam, self._steps = dense, config, ADAM, 0
        self.rule = rules[config.name]
        if dense and self.rule == ROWWISE:
            self.rule = ADAGRAD  # the plain form of it
        self.values = parameter.detach()
        assert self.values.is_contiguous()
        self.dim = self.values.numel() // len(self.values)
        widths = {ADAGRAD: [self.dim], ROWWISE: [1], ADAM: [self.dim] * 2}.get(self.rule, [])
        states = [self.values.new_zeros(len(self.values), width) for width in widths]
        self.state: list[Tensor | None] = [*states, None, None][:2]

    def next_numbers(self, rate: float) -> tuple[float, float, float, float]:
        """Return what the kernels take for its next step: rate, eps, 1 - beta 1, 1 - beta 2."""
        self._steps += 1
        (beta1, beta2), eps = self._config.betas, self._config.eps
        if self.rule == self._adam:
            root = math.sqrt(1 - beta2**self._steps)
            rate *= root / (1 - beta1**self._steps)
            eps *= root if self.dense else 1.0  # Adam adds it after the correction
        return rate, eps, 1 - beta1, 1 - beta2


def cut_epoch(
    data: EncodedDataset,
    batch_size: int,
    generator: torch.Generator,
    grouping: Grouping | None = None,
) -> Iterator[DeviceBatch]:
    """Yield all texts once in random order, in batches, as ``EncodedDataset.epoch`` does.

    What ``gather`` does batch by batch is done here for many batches at once, on the device, and
    the ids of all are sorted by batch and row; the bounds of the batches are known on the host.

    Args:
        data: the texts, on the device.
        batch_size: texts in a batch; the last batch may have fewer.
        generator: the source of the order.
        grouping: of the model; None: the ids are not sorted.
    """
    order = torch.randperm(len(data), generator=generator)
    texts = max(CUT_IDS * len(data) // max(len(data.indices), 1), 1)
    for piece in order.split(-(-texts // batch_size) * batch_size):
        yield from _cut(data, piece, batch_size, grouping)


def _cut(
    data: EncodedDataset, texts: Tensor, batch_size: int, grouping: Grouping | None
) -> Iterator[DeviceBatch]:
    bounds, host_offsets = _layout(data, texts.numpy(), batch_size)
    device, total = data.indices.device, int(bounds[-1])
    there = texts.to(device)
    starts = data.offsets[there]
    lengths = data.offsets[there + 1] - starts
    text_of = torch.repeat_interleave(lengths, output_size=total)
    begins = torch.cumsum(lengths, 0).sub_(lengths)
    positions = (starts - begins)[text_of].add_(torch.arange(total, device=device))
    ids = data.indices[positions]
    weights = None if data.weights is None else data.weights[positions]
    offsets = torch.from_numpy(host_offsets).to(device).to(ids.dtype)

    sizes, batches = np.diff(bounds).tolist(), len(bounds) - 1
    bags = [min(batch_size, len(texts) - start) for start in range(0, len(texts), batch_size)]
    sorted_ids: Iterable[SortedIds | None] = repeat(None, batches)
    if grouping is not None:
        shares = weights
        if weights is None and grouping.mean:
            shares = _mean_shares(ids, begins, lengths, grouping.padding)[text_of]
        sorted_ids = _sort_batches(ids, text_of, shares, batch_size, grouping.rows, sizes)
    for indices, ends, labels, per_id, grouped in zip(
        ids.split(sizes),
        offsets.split([size + 1 for size in bags]),
        data.labels[there].split(bags),
        repeat(None, batches) if weights is None else weights.split(sizes),
        sorted_ids,
        strict=True,
    ):
        ends = ends if data.include_last_offset else ends[:-1]
        yield DeviceBatch(indices, ends, labels, per_id, sorted_ids=grouped)


def _sort_batches(
    ids: Tensor,
    text_of: Tensor,
    shares: Tensor | None,
    batch_size: int,
    rows: int,
    sizes: list[int],
) -> Iterable[SortedIds]:
    """Sort the ids of each batch by row, all in one go."""
    # Keys of 32 bits where they fit: sorting them takes half the time.
    kind = torch.int32 if len(sizes) * rows < 2**31 else torch.int64
    keys = (text_of // batch_size).to(kind).mul_(rows).add_(ids)
    keys, order = torch.sort(keys, stable=True)
    found = keys.remainder_(rows).split(sizes)
    bags = text_of[order].remainder_(batch_size).to(torch.int32).split(sizes)
    if shares is None:
        return map(SortedIds, found, bags, repeat(None))
    return map(SortedIds, found, bags, shares[order].split(sizes))


def _layout(
    data: EncodedDataset, texts: npt.NDArray[np.int64], batch_size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where each batch's ids begin, [batches + 1], and the offsets of every batch."""
    ends = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(data.bags.lengths[texts], out=ends[1:])
    edges = np.append(np.arange(0, len(texts), batch_size), len(texts))
    offsets = [ends[begin : end + 1] - ends[begin] for begin, end in pairwise(edges)]
    return ends[edges], np.concatenate(offsets)


def _sorted(batch: Batch, mean: bool, padding: int) -> SortedIds:
    """Sort the ids of a batch by row."""
    ids, weights = batch.indices, batch.per_sample_weights
    starts = batch.offsets[: len(batch)].to(torch.int64)
    lengths = torch.diff(starts, append=starts.new_full((1,), len(ids)))
    bag_of = torch.repeat_interleave(lengths, output_size=len(ids))
    rows, order = torch.sort(ids, stable=True)
    bags = bag_of[order]
    shares = None if weights is None else weights[order]
    if weights is None and mean:
        shares = _mean_shares(ids, starts, lengths, padding)[bags]
    return SortedIds(rows, bags.to(torch.int32), shares)


def _mean_shares(ids: Tensor, starts: Tensor, lengths: Tensor, padding: int) -> Tensor:
    """Return 1 / (how many ids of a text are not ``padding``), [texts]."""
    if padding >= 0:
        real = torch.zeros(len(ids) + 1, dtype=lengths.dtype, device=ids.device)
        torch.cumsum(ids != padding, 0, out=real[1:])
        lengths = real[starts + lengths] - real[starts]
    return lengths.clamp(min=1).to(torch.float32).reciprocal_()


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

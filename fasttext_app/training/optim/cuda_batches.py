"""Batches on the GPU with their ids sorted by table row, as ``CudaStep`` needs them.

Many batches are cut, and their ids sorted, in one go; each batch is then a set of slices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise, repeat

import numpy as np
import torch
from torch import Tensor

from fasttext_app.core.arrays import I64
from fasttext_app.training.batch import Batch, Grouping
from fasttext_app.training.dataset import EncodedDataset

CUT_IDS = 1 << 24  # ids that are cut and sorted together; they take about 60 bytes each


@dataclass(frozen=True)
class SortedIds:
    """The ids of a batch, sorted by table row."""

    rows: Tensor  # [N], ascending
    bags: Tensor  # [N], the text of each id
    id_weights: Tensor | None  # [N], the weight of each id in its bag; None: 1


@dataclass(frozen=True)
class DeviceBatch(Batch):
    """A batch whose ids are also sorted by row."""

    sorted_ids: SortedIds | None = None


def cut_on_cuda(
    data: EncodedDataset, order: Tensor, batch_size: int, grouping: Grouping | None = None
) -> Iterator[DeviceBatch]:
    """Yield the texts of ``order`` in batches, as ``loader.epoch`` does.

    The device does for many batches together what ``gather`` does for one, and sorts all ids by
    batch and row. The host computes the bounds of the batches, so nothing waits for the device.

    Args:
        data: the texts, on the device.
        order: numbers of texts, on the CPU.
        batch_size: texts in a batch; the last batch may have fewer.
        grouping: how ids are grouped by row; None: they are not sorted.
    """
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
        id_weights = weights
        if weights is None and grouping.mean:
            id_weights = _mean_weights(ids, begins, lengths, grouping.padding)[text_of]
        sorted_ids = _sort_batches(ids, text_of, id_weights, batch_size, grouping.rows, sizes)
    text_weights = data.weights_of(there)
    for indices, ends, labels, per_id, per_text, grouped in zip(
        ids.split(sizes),
        offsets.split([size + 1 for size in bags]),
        data.labels[there].split(bags),
        repeat(None, batches) if weights is None else weights.split(sizes),
        repeat(None, batches) if text_weights is None else text_weights.split(bags),
        sorted_ids,
        strict=True,
    ):
        ends = ends if data.include_last_offset else ends[:-1]
        yield DeviceBatch(indices, ends, labels, per_id, weights=per_text, sorted_ids=grouped)


def _sort_batches(
    ids: Tensor,
    text_of: Tensor,
    id_weights: Tensor | None,
    batch_size: int,
    rows: int,
    sizes: list[int],
) -> Iterable[SortedIds]:
    """Sort the ids of each batch by row, all batches together."""
    # 32-bit keys if they fit: sorting them takes half the time.
    kind = torch.int32 if len(sizes) * rows < 2**31 else torch.int64
    keys = (text_of // batch_size).to(kind).mul_(rows).add_(ids)
    keys, order = torch.sort(keys, stable=True)
    sorted_rows = keys.remainder_(rows).split(sizes)
    bags = text_of[order].remainder_(batch_size).to(torch.int32).split(sizes)
    if id_weights is None:
        return map(SortedIds, sorted_rows, bags, repeat(None))
    return map(SortedIds, sorted_rows, bags, id_weights[order].split(sizes))


def _layout(data: EncodedDataset, texts: I64, batch_size: int) -> tuple[I64, I64]:
    """Return the bounds of each batch's ids, [batches + 1], and the offsets of every batch."""
    ends = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(data.bags.lengths[texts], out=ends[1:])
    edges = np.append(np.arange(0, len(texts), batch_size), len(texts))
    offsets = [ends[begin : end + 1] - ends[begin] for begin, end in pairwise(edges)]
    return ends[edges], np.concatenate(offsets)


def sort_ids(batch: Batch, mean: bool, padding: int) -> SortedIds:
    """Sort the ids of a batch by row."""
    ids, weights = batch.indices, batch.per_sample_weights
    starts = batch.offsets[: len(batch)].to(torch.int64)
    lengths = torch.diff(starts, append=starts.new_full((1,), len(ids)))
    bag_of = torch.repeat_interleave(lengths, output_size=len(ids))
    rows, order = torch.sort(ids, stable=True)
    bags = bag_of[order]
    id_weights = None if weights is None else weights[order]
    if weights is None and mean:
        id_weights = _mean_weights(ids, starts, lengths, padding)[bags]
    return SortedIds(rows, bags.to(torch.int32), id_weights)


def _mean_weights(ids: Tensor, starts: Tensor, lengths: Tensor, padding: int) -> Tensor:
    """Return 1 / (number of ids that are not ``padding``) for each text, [texts]."""
    if padding >= 0:
        real = torch.zeros(len(ids) + 1, dtype=lengths.dtype, device=ids.device)
        torch.cumsum(ids != padding, 0, out=real[1:])
        lengths = real[starts + lengths] - real[starts]
    return lengths.clamp(min=1).to(torch.float32).reciprocal_()

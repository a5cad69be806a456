"""Epochs of batches: cut by compiled code ahead of the step on the CPU, on the device on CUDA."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from queue import Empty, SimpleQueue

import numpy as np
import torch
from torch import Tensor

from fasttext_app.core.arrays import F32, I32, I64
from fasttext_app.core.threads import map_ahead, thread_count
from fasttext_app.training.batch import Batch, Grouping, RowPlan
from fasttext_app.training.dataset import EncodedDataset, ShardedDataset
from fasttext_app.training.optim.cuda_batches import cut_epoch
from fasttext_app.training.token_dropout import TokenDropout

CUT_IDS = 1 << 18  # ids gathered by one call of the compiled code


def epoch(
    data: EncodedDataset | ShardedDataset,
    batch_size: int,
    generator: torch.Generator,
    grouping: Grouping | None = None,
    skip: int = 0,
    dropout: TokenDropout | None = None,
) -> Iterator[Batch]:
    """Yield all texts once in random order, in batches; shards in random order, each shuffled.

    Args:
        data: the texts.
        batch_size: texts in a batch; the last batch may have fewer.
        generator: the source of the order.
        grouping: what batches need to carry their ids grouped by row too: on the CPU as a
            :class:`RowPlan`, the same whatever the number of threads.
        skip: how many batches to leave out at the start.
        dropout: decides which ids are left out; None: none.
    """
    if isinstance(data, EncodedDataset):
        yield from _whole_epoch(data, batch_size, generator, grouping, skip, dropout)
        return
    for shard in torch.randperm(len(data.shards), generator=generator).tolist():
        steps = math.ceil(data.lengths[shard] / batch_size)
        if skip < steps:
            of_shard = None if dropout is None else dropout.within(shard)
            loaded = data.shards[shard]()
            yield from _whole_epoch(loaded, batch_size, generator, grouping, skip, of_shard)
        else:  # draw its order all the same, so that later shards keep theirs
            torch.randperm(data.lengths[shard], generator=generator)
        skip = max(skip - steps, 0)


def _whole_epoch(
    data: EncodedDataset,
    batch_size: int,
    generator: torch.Generator,
    grouping: Grouping | None,
    skip: int,
    dropout: TokenDropout | None,
) -> Iterator[Batch]:
    # On CUDA, batches with token dropout are cut one by one, and sorted by the step.
    if grouping is None or (dropout is not None and data.labels.is_cuda):
        batches = shuffled_batches(len(data), batch_size, generator)
        for texts in islice(batches, skip, None):
            yield data.gather(texts.to(data.labels.device), dropout)
    elif data.labels.is_cuda:
        yield from cut_epoch(data, batch_size, generator, grouping, skip)
    else:
        yield from _cut_epoch(data, batch_size, generator, grouping, skip, dropout)


def _cut_epoch(
    data: EncodedDataset,
    batch_size: int,
    generator: torch.Generator,
    grouping: Grouping,
    skip: int,
    dropout: TokenDropout | None,
) -> Iterator[Batch]:
    order = torch.randperm(len(data), generator=generator).numpy()[skip * batch_size :]
    texts = max(CUT_IDS * len(data) // max(len(data.bags.indices), 1), 1)
    texts = -(-texts // batch_size) * batch_size
    pieces = [order[start : start + texts] for start in range(0, len(order), texts)]
    scratches: SimpleQueue[I32] = SimpleQueue()
    idf = np.empty(0, np.float32) if data.idf is None else data.idf
    how = grouping.mean, grouping.padding
    drawn = (0, np.uint64(0)) if dropout is None else (dropout.dropped, np.uint64(dropout.key))

    def cut(piece: I64) -> list[Batch]:
        from fasttext_app.training.batch_kernels import cut_batches

        try:
            scratch = scratches.get_nowait()
        except Empty:
            scratch = np.empty(grouping.rows, np.int32)
        arrays = cut_batches(
            data.bags.indices, data.bags.offsets, piece, batch_size, idf, *how, scratch, *drawn
        )
        scratches.put(scratch)
        return _batches(data, piece, batch_size, *arrays)

    for batches in map_ahead(cut, pieces, thread_count(grouping.threads) - 1):
        yield from batches


def _batches(
    data: EncodedDataset,
    texts: I64,
    batch_size: int,
    ids: I32,
    weights: F32,
    id_bounds: I64,
    bag_offsets: I32,
    rows: I32,
    row_bounds: I64,
    starts: I32,
    bags: I32,
    shares: F32,
    group_bounds: I64,
) -> list[Batch]:
    """Slice the arrays of the compiled code into batches, without copies."""
    all_ids, all_offsets = torch.from_numpy(ids), torch.from_numpy(bag_offsets)
    all_weights, chosen = torch.from_numpy(weights), torch.from_numpy(texts)
    labels, text_weights = data.labels[chosen], data.weights_of(chosen)
    bounds = (id_bounds.tolist(), row_bounds.tolist(), group_bounds.tolist())
    made = []
    for number in range(len(id_bounds) - 1):
        (id0, row0, group0), (id1, row1, group1) = (
            [edges[number + side] for edges in bounds] for side in (0, 1)
        )
        text0 = number * batch_size
        text1 = min(text0 + batch_size, len(texts))
        last = text1 + number + (1 if data.include_last_offset else 0)
        plan = RowPlan(
            rows[row0:row1],
            starts[row0 + number : row1 + number + 1],
            bags[group0:group1],
            shares[group0:group1] if len(shares) else shares,
        )
        batch = Batch(
            indices=all_ids[id0:id1],
            offsets=all_offsets[text0 + number : last],
            labels=labels[text0:text1],
            per_sample_weights=all_weights[id0:id1] if data.idf is not None else None,
            plan=plan,
            weights=None if text_weights is None else text_weights[text0:text1],
        )
        made.append(batch)
    return made


def shuffled_batches(texts: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield every text number once, in random order, ``batch_size`` at a time."""
    yield from torch.randperm(texts, generator=generator).split(batch_size)

"""Epochs of batches: cut by compiled code ahead of the step on the CPU, on the device on CUDA."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from queue import Empty, SimpleQueue

import numpy as np
import torch
from torch import Tensor

from fasttext_app.core.arrays import F32, I32, I64
from fasttext_app.core.threads import map_ahead, thread_count
from fasttext_app.training.batch import Batch, Grouping, RowPlan, WordPlan
from fasttext_app.training.dataset import (
    DividedDataset,
    EncodedDataset,
    ShardedDataset,
    order_of_shards,
)
from fasttext_app.training.optim.cuda_batches import cut_on_cuda
from fasttext_app.training.token_dropout import TokenDropout

CUT_IDS = 1 << 18  # ids gathered by one call of the compiled code


def epoch(
    data: EncodedDataset | ShardedDataset | DividedDataset,
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
        grouping: how to group the ids of each batch by row, on the CPU into a :class:`RowPlan` that
            is the same for any number of threads; None: not at all.
        skip: the number of batches to skip at the start.
        dropout: decides which ids to drop; None: none.
    """
    if isinstance(data, EncodedDataset):
        order = torch.randperm(len(data), generator=generator)
        yield from _cut(data, order[skip * batch_size :], batch_size, grouping, dropout)
        return
    if isinstance(data, DividedDataset) and len(data.lengths) == 1:
        order = torch.randperm(len(data), generator=generator)
        yield from _cut_divided(data, order[skip * batch_size :], batch_size, grouping, dropout)
        return
    for shard, order in order_of_shards(data.lengths, generator):
        # The order of a skipped shard is drawn too, so that later shards keep theirs.
        if skip * batch_size < len(order):
            shard_dropout = None if dropout is None else dropout.within(shard)
            rest = order[skip * batch_size :]
            if isinstance(data, DividedDataset):
                first = sum(data.lengths[:shard])
                yield from _cut_divided(data, rest, batch_size, grouping, shard_dropout, first)
            else:
                yield from _cut(data.shards[shard](), rest, batch_size, grouping, shard_dropout)
        skip = max(skip - math.ceil(len(order) / batch_size), 0)


def _cut_divided(
    data: DividedDataset,
    order: Tensor,
    batch_size: int,
    grouping: Grouping | None,
    dropout: TokenDropout | None,
    first: int = 0,
) -> Iterator[Batch]:
    """Yield the texts of ``order`` in batches; the processes exchange many texts at a time.

    While the steps of some batches run, the next ones have been exchanged and are cut on a thread.
    All processes exchange in the same order, whatever the number of their threads.
    """
    assert grouping is not None
    on_this_thread = replace(grouping, threads=1)
    pieces = _pieces(order.numpy(), batch_size, len(data), data.ids)
    datasets = (data.gather(piece, first, dropout) for piece in pieces)

    def cut(dataset: EncodedDataset) -> list[Batch]:
        texts = torch.arange(len(dataset))
        return [*_cut(dataset, texts, batch_size, on_this_thread, None)]

    for batches in map_ahead(cut, datasets, 1):
        yield from batches


def _pieces(order: I64, batch_size: int, texts: int, ids: int) -> list[I64]:
    """Cut the texts of ``order`` into pieces of many batches, given the size of the data."""
    size = max(CUT_IDS * texts // max(ids, 1), 1)
    size = math.ceil(size / batch_size) * batch_size
    return [order[start : start + size] for start in range(0, len(order), size)]


def _cut(
    data: EncodedDataset,
    order: Tensor,
    batch_size: int,
    grouping: Grouping | None,
    dropout: TokenDropout | None,
) -> Iterator[Batch]:
    """Yield the texts of ``order`` in batches, by the fastest method that applies."""
    if not len(order):
        return
    on_cuda = data.labels.is_cuda
    if grouping is None or (on_cuda and dropout is not None):
        for texts in order.split(batch_size):
            yield data.gather(texts.to(data.labels.device), dropout)
    elif on_cuda:
        yield from cut_on_cuda(data, order, batch_size, grouping)
    else:
        yield from _cut_on_cpu(data, order.numpy(), batch_size, grouping, dropout)


def _cut_on_cpu(
    data: EncodedDataset,
    order: I64,
    batch_size: int,
    grouping: Grouping,
    dropout: TokenDropout | None,
) -> Iterator[Batch]:
    """Cut many batches per call of compiled code, on threads that run ahead of the step."""
    pieces = _pieces(order, batch_size, len(data), len(data.bags.indices))
    idf = np.empty(0, np.float32) if data.idf is None else data.idf
    drop = (0, np.uint64(0)) if dropout is None else (dropout.dropped, np.uint64(dropout.key))
    # Dropout takes single ids out of words.
    word_lengths = data.word_lengths if grouping.by_word and dropout is None else None
    scratches: SimpleQueue[I32] = SimpleQueue()  # one for each thread, reused

    def cut(piece: I64) -> list[Batch]:
        from fasttext_app.training.batch_kernels import cut_batches, cut_words

        try:
            scratch = scratches.get_nowait()
        except Empty:
            scratch = np.empty(grouping.rows, np.int32)
        bags, mean = data.bags, grouping.mean
        if word_lengths is not None:
            cut_pieces = cut_words(
                bags.indices, bags.offsets, piece, batch_size, word_lengths, idf, mean, scratch
            )
            batches = _slice_words(data, piece, batch_size, *cut_pieces)
        else:
            options = idf, mean, grouping.padding
            arrays = cut_batches(
                bags.indices, bags.offsets, piece, batch_size, *options, scratch, *drop
            )
            batches = _slice_batches(data, piece, batch_size, *arrays)
        scratches.put(scratch)
        return batches

    for batches in map_ahead(cut, pieces, thread_count(grouping.threads) - 1):
        yield from batches


def _slice_batches(
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
    id_weights: F32,
    group_bounds: I64,
) -> list[Batch]:
    """Slice the arrays of ``cut_batches`` into batches, without copies."""
    all_ids, all_offsets = torch.from_numpy(ids), torch.from_numpy(bag_offsets)
    all_weights, all_texts = torch.from_numpy(weights), torch.from_numpy(texts)
    labels, text_weights = data.labels[all_texts], data.weights_of(all_texts)
    batches = []
    bounds = zip(id_bounds.tolist(), row_bounds.tolist(), group_bounds.tolist(), strict=True)
    for batch, (first, last) in enumerate(pairwise(bounds)):
        (first_id, first_row, first_group), (last_id, last_row, last_group) = first, last
        first_text = batch * batch_size
        last_text = min(first_text + batch_size, len(texts))
        # Every earlier batch has one more offset than texts, and one more start than rows.
        last_offset = last_text + batch + (1 if data.include_last_offset else 0)
        batches.append(
            Batch(
                indices=all_ids[first_id:last_id],
                offsets=all_offsets[first_text + batch : last_offset],
                labels=labels[first_text:last_text],
                per_sample_weights=None if data.idf is None else all_weights[first_id:last_id],
                plan=RowPlan(
                    rows[first_row:last_row],
                    starts[first_row + batch : last_row + batch + 1],
                    bags[first_group:last_group],
                    id_weights[first_group:last_group] if len(id_weights) else id_weights,
                ),
                weights=None if text_weights is None else text_weights[first_text:last_text],
            )
        )
    return batches


def _slice_words(
    data: EncodedDataset,
    texts: I64,
    batch_size: int,
    words: I32,
    bags: I32,
    use_bounds: I64,
    bag_offsets: I32,
    scales: F32,
    ids: I32,
    weights: F32,
    row_words: I32,
    row_weights: F32,
    id_bounds: I64,
    id_starts: I32,
    word_starts: I32,
    word_bounds: I64,
    rows: I32,
    starts: I32,
    row_bounds: I64,
) -> list[Batch]:
    """Slice the arrays of ``cut_words`` into batches, without copies."""
    all_ids, all_starts = torch.from_numpy(ids), torch.from_numpy(id_starts)
    all_weights, all_texts = torch.from_numpy(weights), torch.from_numpy(texts)
    labels, text_weights = data.labels[all_texts], data.weights_of(all_texts)
    batches = []
    bounds = np.stack((use_bounds, id_bounds, word_bounds, row_bounds), axis=1).tolist()
    for batch, (first, last) in enumerate(pairwise(bounds)):
        uses, of_ids, of_words, of_rows = map(slice, first, last)
        of_texts = slice(batch * batch_size, min((batch + 1) * batch_size, len(texts)))

        def with_end(part: slice, batch: int = batch) -> slice:
            """Return the slice of offsets: every batch before has one more of them than parts."""
            return slice(part.start + batch, part.stop + batch + 1)

        batches.append(
            Batch(
                indices=all_ids[of_ids],
                offsets=all_starts[with_end(of_words)],
                labels=labels[of_texts],
                per_sample_weights=all_weights[of_ids] if len(weights) else None,
                plan=RowPlan(
                    rows[of_rows],
                    starts[with_end(of_rows)],
                    row_words[of_ids],
                    row_weights[of_ids] if len(weights) else row_weights,
                ),
                words=WordPlan(
                    words[uses],
                    bag_offsets[with_end(of_texts)],
                    bags[uses],
                    word_starts[with_end(of_words)],
                    scales[of_texts] if len(scales) else scales,
                ),
                weights=None if text_weights is None else text_weights[of_texts],
            )
        )
    return batches

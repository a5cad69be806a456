"""Epochs of batches: cut by compiled code ahead of the step on the CPU, on the device on CUDA."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue

import numpy as np
import torch
from torch import Tensor

from fasttext_app.core.arrays import I32, I64, Array
from fasttext_app.core.threads import map_ahead, map_in_rounds, thread_count
from fasttext_app.training.batch import Batch, Grouping, RowPlan, WordPlan
from fasttext_app.training.dataset import (
    DividedDataset,
    EncodedDataset,
    ShardedDataset,
    order_of_shards,
)
from fasttext_app.training.optim.cuda_batches import cut_on_cuda
from fasttext_app.training.piece import Piece
from fasttext_app.training.token_dropout import TokenDropout

CUT_IDS = 1 << 18  # ids gathered by one call of the compiled code


class Batches(ABC):
    """Consecutive batches of an epoch."""

    sizes: Sequence[int]
    """The number of texts in each."""

    @abstractmethod
    def batch(self, number: int) -> Batch:
        """Return one of them."""


class OneBatch(Batches):
    """A single batch."""

    def __init__(self, batch: Batch) -> None:
        self._batch, self.sizes = batch, (len(batch),)

    def batch(self, number: int) -> Batch:
        """Return the batch."""
        return self._batch


class CutBatches(Batches):
    """Batches that one call of compiled code has cut.

    Args:
        piece: their arrays.
        weighted: whether ids have weights.
        include_last_offset: whether the offsets of a batch include the end of its last bag.
    """

    def __init__(self, piece: Piece, *, weighted: bool, include_last_offset: bool) -> None:
        self.piece = piece
        self._weighted, self._include_last_offset = weighted, include_last_offset
        texts, size = len(piece.labels), piece.batch_size
        self.sizes = [min(size, texts - first) for first in range(0, texts, size)]

    def with_rows(self, rows: I32) -> CutBatches:
        """Return the same batches of a table in which id ``i`` is ``rows[i]``."""
        piece = self.piece
        ids, distinct = piece.ids[: piece.id_bounds[-1]], piece.rows[: piece.row_bounds[-1]]
        return CutBatches(
            piece._replace(ids=rows[ids], rows=rows[distinct]),
            weighted=self._weighted,
            include_last_offset=self._include_last_offset,
        )

    def batch(self, number: int) -> Batch:
        """Return one of them, without copies."""
        piece, by_word = self.piece, self.piece.by_word

        def part(values: Array, bounds: I64 | None = None, *, ends: bool = False) -> Array:
            """Cut out what belongs to the batch, by default for each of its texts."""
            if bounds is None:
                first = number * piece.batch_size
                last = first + self.sizes[number]
            else:
                first, last = bounds[number], bounds[number + 1]
            # Every batch before has one more offset than parts.
            return values[first + number : last + number + 1] if ends else values[first:last]

        offsets = part(piece.unit_starts, piece.unit_bounds, ends=True)
        if not (by_word or self._include_last_offset):
            offsets = offsets[:-1]
        words = None
        if by_word:
            words = WordPlan(
                part(piece.words, piece.use_bounds),
                part(piece.text_starts, ends=True),
                part(piece.word_texts, piece.use_bounds),
                part(piece.word_starts, piece.unit_bounds, ends=True),
                part(piece.scales) if len(piece.scales) else piece.scales,
            )
        id_weights = None
        if self._weighted:
            id_weights = torch.from_numpy(part(piece.weights, piece.id_bounds))
        text_weights = None
        if len(piece.text_weights):
            text_weights = torch.from_numpy(part(piece.text_weights))
        return Batch(
            indices=torch.from_numpy(part(piece.ids, piece.id_bounds)),
            offsets=torch.from_numpy(offsets),
            labels=torch.from_numpy(part(piece.labels)),
            per_sample_weights=id_weights,
            plan=RowPlan(
                part(piece.rows, piece.row_bounds),
                part(piece.row_starts, piece.row_bounds, ends=True),
                part(piece.row_units, piece.group_bounds),
                (
                    part(piece.row_weights, piece.group_bounds)
                    if len(piece.row_weights) > 1
                    else piece.row_weights
                ),
            ),
            words=words,
            weights=text_weights,
        )


def epoch(
    data: EncodedDataset | ShardedDataset | DividedDataset,
    batch_size: int,
    generator: torch.Generator,
    grouping: Grouping | None = None,
    skip: int = 0,
    dropout: TokenDropout | None = None,
) -> Iterator[Batch]:
    """Yield the batches of :func:`pieces` one by one."""
    for piece in pieces(data, batch_size, generator, grouping, skip, dropout):
        yield from map(piece.batch, range(len(piece.sizes)))


def pieces(
    data: EncodedDataset | ShardedDataset | DividedDataset,
    batch_size: int,
    generator: torch.Generator,
    grouping: Grouping | None = None,
    skip: int = 0,
    dropout: TokenDropout | None = None,
) -> Iterator[Batches]:
    """Yield all texts once in random order, in batches; shards in random order, each shuffled.

    Args:
        data: the texts.
        batch_size: texts in a batch; the last batch may have fewer.
        generator: the source of the order.
        grouping: how to group the ids of each batch by row, on the CPU into a :class:`Piece` that
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
) -> Iterator[Batches]:
    """Yield the texts of ``order`` in batches; the processes exchange many texts at a time.

    While the steps of some batches run, the next ones have been exchanged and are cut on a thread.
    All processes exchange in the same order, whatever the number of their threads. Their tables can
    have billions of rows, so the rows that occur are numbered, and cut by these numbers.
    """
    parts = _parts(order.numpy(), batch_size, len(data), data.ids)
    if grouping is None:
        for part in parts:
            dataset = data.gather(part, first)
            texts = torch.arange(len(part), device=dataset.labels.device).split(batch_size)
            numbers = torch.from_numpy(part).to(dataset.labels.device).split(batch_size)
            for batch_texts, batch_numbers in zip(texts, numbers, strict=True):
                yield OneBatch(dataset.gather(batch_texts, dropout, batch_numbers))
        return
    datasets = (data.gather(part, first, dropout) for part in parts)

    def cut(dataset: EncodedDataset) -> list[CutBatches]:
        rows, numbered = dataset.number_rows()
        padding = int(np.argmax(rows == grouping.padding)) if grouping.padding in rows else -1
        by_number = replace(grouping, rows=len(rows), padding=padding, threads=1)
        cuts = _cut_on_cpu(numbered, np.arange(len(dataset)), batch_size, by_number, None)
        return [batches.with_rows(rows) for batches in cuts]

    for batches in map_ahead(cut, datasets, 1):
        yield from batches


def _parts(order: I64, batch_size: int, texts: int, ids: int) -> list[I64]:
    """Cut the texts of ``order`` into parts of many batches, given the size of the data."""
    size = max(CUT_IDS * texts // max(ids, 1), 1)
    size = math.ceil(size / batch_size) * batch_size
    return [order[start : start + size] for start in range(0, len(order), size)]


def _cut(
    data: EncodedDataset,
    order: Tensor,
    batch_size: int,
    grouping: Grouping | None,
    dropout: TokenDropout | None,
) -> Iterator[Batches]:
    """Yield the texts of ``order`` in batches, by the fastest method that applies."""
    if not len(order):
        return
    on_cuda = data.labels.is_cuda
    if grouping is None or (on_cuda and dropout is not None):
        for texts in order.split(batch_size):
            yield OneBatch(data.gather(texts.to(data.labels.device), dropout))
    elif on_cuda:
        yield from map(OneBatch, cut_on_cuda(data, order, batch_size, grouping))
    else:
        yield from _cut_on_cpu(data, order.numpy(), batch_size, grouping, dropout)


def _cut_on_cpu(
    data: EncodedDataset,
    order: I64,
    batch_size: int,
    grouping: Grouping,
    dropout: TokenDropout | None,
) -> Iterator[CutBatches]:
    """Cut many batches per call of compiled code, on several threads."""
    scratches: SimpleQueue[I32] = SimpleQueue()  # one for each thread, reused
    parts = _parts(order, batch_size, len(data), len(data.bags.indices))
    idf = np.empty(0, np.float32) if data.idf is None else data.idf
    drop = (0, np.uint64(0)) if dropout is None else (dropout.dropped, np.uint64(dropout.key))
    # Dropout takes single ids out of words.
    word_lengths = data.word_lengths if grouping.by_word and dropout is None else None

    def cut(texts: I64) -> CutBatches:
        from fasttext_app.training.batch_kernels import cut_batches, cut_words

        try:
            scratch = scratches.get_nowait()
        except Empty:
            scratch = np.empty(grouping.rows, np.int32)
        bags, mean = data.bags, grouping.mean
        if word_lengths is not None:
            arrays = cut_words(
                bags.indices, bags.offsets, texts, batch_size, word_lengths, idf, mean, scratch
            )
        else:
            options = idf, mean, grouping.padding
            arrays = cut_batches(
                bags.indices, bags.offsets, texts, batch_size, *options, scratch, *drop
            )
        scratches.put(scratch)
        indices = torch.from_numpy(texts)
        text_weights = data.weights_of(indices)
        weights = np.empty(0, np.float32) if text_weights is None else text_weights.numpy()
        is_mean = mean and word_lengths is None and data.idf is None
        labels = data.labels[indices].numpy()
        by_word = word_lengths is not None
        piece = Piece._make((*arrays, labels, weights, batch_size, by_word, is_mean))
        return CutBatches(
            piece, weighted=data.idf is not None, include_last_offset=data.include_last_offset
        )

    threads = thread_count(grouping.threads)
    if grouping.step_threads < threads:
        yield from map_ahead(cut, parts, threads - grouping.step_threads)
    else:
        yield from map_in_rounds(cut, parts, threads)

"""Datasets: encoded texts and their classes as flat tensors, in memory or in shards."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from fasttext_app.core.arrays import F32, I32, I64
from fasttext_app.core.ragged import Ragged
from fasttext_app.text.tfidf import tfidf_weights
from fasttext_app.training.batch import Batch, Example, in_form
from fasttext_app.training.divided import DividedSplit, gather_in_order
from fasttext_app.training.token_dropout import TokenDropout


class EncodedDataset(torch.utils.data.Dataset[Example]):
    """Encoded texts and their classes as flat tensors, on the device where training runs.

    Args:
        bags: the row ids of each text.
        labels: the class of each text, [texts].
        idf: the inverse document frequency of every table row, for tf-idf weights; None: no
            weights.
        text_weights: the weight of each text in the loss, [texts]; None: all 1.
        word_lengths: the number of ids of each word with its character n-grams, which follow it in
            ``bags``, [words]; None: there are no character n-grams.
        device: the device that holds the tensors and cuts the batches.
        include_last_offset: whether the offsets of a batch include the end of its last bag.
    """

    def __init__(
        self,
        bags: Ragged,
        labels: I64,
        idf: F32 | None = None,
        text_weights: F32 | None = None,
        word_lengths: I32 | None = None,
        *,
        device: torch.device | str = "cpu",
        include_last_offset: bool = True,
    ) -> None:
        self.bags, self.idf, self.word_lengths = bags, idf, word_lengths
        self.indices = torch.from_numpy(bags.indices).to(device)
        self.offsets = torch.from_numpy(bags.offsets).to(device)
        self.labels = torch.from_numpy(labels).to(device)
        self.text_weights: Tensor | None = None
        if text_weights is not None:
            self.text_weights = torch.from_numpy(text_weights).to(device)
        self.include_last_offset = include_last_offset
        self._weights: Tensor | None = None

    @property
    def weights(self) -> Tensor | None:
        """The weight of each id, [ids], computed on first use; None: no weights."""
        if self._weights is None and self.idf is not None:
            weights = torch.from_numpy(tfidf_weights(self.bags, self.idf))
            self._weights = weights.to(self.indices.device)
        return self._weights

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, text: int) -> Example:
        if not 0 <= text < len(self):
            raise IndexError(f"text {text} of {len(self)}")
        start, end = self.offsets[text], self.offsets[text + 1]
        weights = None if self.weights is None else self.weights[start:end]
        text_weight = None if self.text_weights is None else self.text_weights[text]
        return self.indices[start:end], self.labels[text], weights, text_weight

    def weights_of(self, texts: Tensor) -> Tensor | None:
        """Return the weights of these texts in the loss, [B]; None: all 1."""
        return None if self.text_weights is None else self.text_weights[texts]

    def gather(
        self,
        texts: Tensor,
        dropout: TokenDropout | None = None,
        numbers: Tensor | None = None,
    ) -> Batch:
        """Cut the batch of these texts, in this order.

        Args:
            texts: the indices of the texts, [B].
            dropout: decides which ids to drop; None: none.
            numbers: the number of each text for ``dropout``, [B]; None: ``texts``.
        """
        starts = self.offsets[texts]
        lengths = self.offsets[texts + 1] - starts
        offsets = torch.zeros(len(texts) + 1, dtype=lengths.dtype, device=lengths.device)
        torch.cumsum(lengths, 0, out=offsets[1:])
        total = int(offsets[-1])
        positions = torch.arange(total, device=lengths.device)
        positions += torch.repeat_interleave(starts - offsets[:-1], lengths, output_size=total)
        weights = None if self.weights is None else self.weights[positions]
        if dropout is not None:
            bags = torch.repeat_interleave(lengths, output_size=total)
            numbers = texts if numbers is None else numbers
            mask = dropout.kept(numbers[bags], positions - starts[bags])
            positions, bags = positions[mask], bags[mask]
            torch.cumsum(torch.bincount(bags, minlength=len(texts)), 0, out=offsets[1:])
            if weights is not None:  # rescale the weights of each text to a sum of 1
                weights = weights[mask]
                weights = weights / weights.new_zeros(len(texts)).index_add_(0, bags, weights)[bags]
        return Batch(
            indices=self.indices[positions],
            offsets=in_form(offsets, self.indices, self.include_last_offset),
            labels=self.labels[texts],
            per_sample_weights=weights,
            weights=self.weights_of(texts),
        )

    def number_rows(self) -> tuple[I32, EncodedDataset]:
        """Return the rows that occur, and the same texts with the numbers of these rows as ids."""
        from fasttext_app.training.numbering_kernels import number_ids

        rows, ids = number_ids(self.bags.indices)
        lengths = None
        if self.word_lengths is not None:  # an id that is no word is like a word of one id
            lengths, is_word = np.ones(len(rows), np.int32), rows < len(self.word_lengths)
            lengths[is_word] = self.word_lengths[rows[is_word]]
        return rows, EncodedDataset(
            Ragged(ids, self.bags.offsets),
            self.labels.numpy(),
            None if self.idf is None else self.idf[rows],
            None if self.text_weights is None else self.text_weights.numpy(),
            lengths,
            include_last_offset=self.include_last_offset,
        )

    def steps(self, batch_size: int) -> int:
        """Return the number of batches in an epoch."""
        return math.ceil(len(self) / batch_size)

    def batch_texts(self, batch_size: int, generator: torch.Generator, step: int) -> I64:
        """Return the indices of the texts in the batch of one step of an epoch, from step 0."""
        order = torch.randperm(len(self), generator=generator).numpy()
        texts: I64 = order[step * batch_size :][:batch_size]
        return texts


class TextsInShards:
    """Training texts in shards, which come in random order, each one shuffled.

    Args:
        lengths: the number of texts in each shard.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = lengths

    def __len__(self) -> int:
        return sum(self.lengths)

    def steps(self, batch_size: int) -> int:
        """Return the number of batches in an epoch; no batch has texts of two shards."""
        return sum(math.ceil(length / batch_size) for length in self.lengths)

    def batch_texts(self, batch_size: int, generator: torch.Generator, step: int) -> I64:
        """Return the indices of the texts in a batch; see :meth:`EncodedDataset.batch_texts`."""
        for shard, order in order_of_shards(self.lengths, generator):
            if step < math.ceil(len(order) / batch_size):
                texts: I64 = order.numpy()[step * batch_size :][:batch_size]
                return texts + sum(self.lengths[:shard])
            step -= math.ceil(len(order) / batch_size)
        raise IndexError("there is no such batch")


class ShardedDataset(TextsInShards):
    """Training texts that do not fit in memory.

    Args:
        shards: a function that loads each shard.
        lengths: the number of texts in each shard.
    """

    def __init__(
        self, shards: Sequence[Callable[[], EncodedDataset]], lengths: Sequence[int]
    ) -> None:
        super().__init__(lengths)
        self.shards = shards


def order_of_shards(
    lengths: Sequence[int], generator: torch.Generator
) -> Iterator[tuple[int, Tensor]]:
    """Yield the shards in random order, each with the random order of its texts."""
    for shard in torch.randperm(len(lengths), generator=generator).tolist():
        yield shard, torch.randperm(lengths[shard], generator=generator)


class DividedDataset(TextsInShards):
    """Training texts of which each process has the ids of some; see ``training/divided.py``.

    Args:
        split: the texts.
        idf: as for :class:`EncodedDataset`.
        word_lengths: as for :class:`EncodedDataset`.
        device: as for :class:`EncodedDataset`, for the texts that :meth:`gather` returns.
        include_last_offset: as for :class:`EncodedDataset`.
    """

    def __init__(
        self,
        split: DividedSplit,
        idf: F32 | None,
        word_lengths: I32 | None,
        *,
        device: torch.device | str = "cpu",
        include_last_offset: bool,
    ) -> None:
        super().__init__([len(classes) for classes in split.classes])
        self._split, self._idf, self._word_lengths = split, idf, word_lengths
        self._device, self._include_last_offset = device, include_last_offset
        self._own = split.shards[0]()
        self._classes = np.concatenate(split.classes)
        self._weights = None if split.weights is None else np.concatenate(split.weights)
        self.ids = int(split.lengths.sum())

    def gather(
        self, texts: I64, first: int = 0, dropout: TokenDropout | None = None
    ) -> EncodedDataset:
        """Return these texts, in this order; every process calls this with the same arguments.

        Args:
            texts: the indices of the texts in their shard.
            first: the index of the first text of the shard.
            dropout: decides which ids to drop; the dataset has those that remain.
        """
        split, group = self._split, self._split.group
        in_shard, texts = texts, texts + first
        owners, lengths = split.owners[texts], split.lengths[texts]
        own = self._own.take(split.places[texts[owners == group.rank]])
        if dropout is not None:
            own_texts = np.repeat(in_shard[owners == group.rank], own.lengths)
            positions = np.arange(len(own.indices)) - np.repeat(own.offsets[:-1], own.lengths)
            mask = dropout.kept(torch.from_numpy(own_texts), torch.from_numpy(positions))
            own = own.filter_ids(mask.numpy())
            by_owner = group.gather(own.lengths)
            for rank, kept in enumerate(by_owner):
                lengths[owners == rank] = kept
        return EncodedDataset(
            gather_in_order(own, owners, lengths, group),
            self._classes[texts],
            self._idf,
            None if self._weights is None else self._weights[texts],
            self._word_lengths if dropout is None else None,
            device=self._device,
            include_last_offset=self._include_last_offset,
        )

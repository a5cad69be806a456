"""Batches for training: flat ``indices`` and ``offsets`` cut out of encoded texts.

Shapes: **N** ids in a batch, **B** texts. Nothing is padded. There are three ways to cut a batch,
held equal by tests: ``EncodedDataset.epoch`` on the CPU cuts many at a time in compiled code, on
threads ahead of the training step; ``gather`` cuts one by torch operations, on any device;
``collate`` is the plain one, for a stock ``DataLoader``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fasttext_app.parallel import map_ahead, thread_count
from fasttext_app.text.ragged import Ragged
from fasttext_app.text.weighting import tfidf_weights
from fasttext_app.token_dropout import TokenDropout

__all__ = [
    "Batch",
    "EncodedDataset",
    "Example",
    "Grouping",
    "RowPlan",
    "ShardedDataset",
    "collate",
    "shuffled_batches",
]

CUT_IDS = 1 << 18  # ids that one call of the compiled code gathers

Example = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
"""One text: ids [n], class [], the weight of each id [n] or None, its own weight [] or None."""


@dataclass(frozen=True)
class RowPlan:
    """The ids of a batch grouped by table row: what a fused step goes through."""

    rows: npt.NDArray[np.int32]  # [U], the distinct rows
    starts: npt.NDArray[np.int32]  # [U + 1], where each row's group begins
    bags: npt.NDArray[np.int32]  # [N], the text of each grouped id
    shares: npt.NDArray[np.float32]  # [N], its weight in the bag; [0]: 1


@dataclass(frozen=True)
class Grouping:
    """What it takes to group the ids of a batch by row."""

    rows: int
    """The rows of the table."""
    mean: bool = False
    """Whether a bag is the mean of its rows."""
    padding: int = -1
    """The row that takes no part; -1: none."""
    threads: int = 0
    """With 1, batches are cut between the steps; with more, or 0 for all cores, on other threads
    during them."""


@dataclass(frozen=True)
class Batch:
    """B texts as the arguments of ``nn.EmbeddingBag``, with their classes."""

    indices: Tensor  # [N]
    offsets: Tensor  # [B + 1]; [B] where the model has include_last_offset=False
    labels: Tensor  # [B]
    per_sample_weights: Tensor | None = None  # [N]
    plan: RowPlan | None = None  # in batches that the compiled code cut
    weights: Tensor | None = None  # [B], how much each text counts in the loss; None: 1

    def __len__(self) -> int:
        return len(self.labels)


class EncodedDataset(torch.utils.data.Dataset[Example]):
    """Encoded texts and their classes as flat tensors, on the device where training runs.

    Args:
        bags: the row ids of each text.
        labels: the class of each text, [texts].
        idf: the inverse document frequency of every table row, for tf-idf weights; None: none.
        text_weights: how much each text counts in the loss, [texts]; None: 1.
        device: where the tensors live; batches are cut there.
        include_last_offset: whether the offsets of a batch carry the end of its last bag.
    """

    def __init__(
        self,
        bags: Ragged,
        labels: npt.NDArray[np.int64],
        idf: npt.NDArray[np.float32] | None = None,
        text_weights: npt.NDArray[np.float32] | None = None,
        *,
        device: torch.device | str = "cpu",
        include_last_offset: bool = True,
    ) -> None:
        self.bags, self.idf = bags, idf
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
        """The weight of each id, [ids], made when it is first asked for; None: no weighting."""
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
        own = None if self.text_weights is None else self.text_weights[text]
        return self.indices[start:end], self.labels[text], weights, own

    def weights_of(self, texts: Tensor) -> Tensor | None:
        """Return how much these texts count in the loss, [B]; None: 1."""
        return None if self.text_weights is None else self.text_weights[texts]

    def gather(self, texts: Tensor, dropout: TokenDropout | None = None) -> Batch:
        """Cut out the batch of these texts [B], in the order given.

        Args:
            texts: their numbers.
            dropout: which ids are left out.
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
            kept = dropout.kept(texts[bags], positions - starts[bags])
            positions, bags = positions[kept], bags[kept]
            torch.cumsum(torch.bincount(bags, minlength=len(texts)), 0, out=offsets[1:])
            if weights is not None:  # what stays of a text weighs 1 again
                weights = weights[kept]
                weights = weights / weights.new_zeros(len(texts)).index_add_(0, bags, weights)[bags]
        return Batch(
            indices=self.indices[positions],
            offsets=_in_form(offsets, self.indices, self.include_last_offset),
            labels=self.labels[texts],
            per_sample_weights=weights,
            weights=self.weights_of(texts),
        )

    def steps(self, batch_size: int) -> int:
        """Return the number of batches in an epoch."""
        return math.ceil(len(self) / batch_size)

    def batch_texts(
        self, batch_size: int, generator: torch.Generator, number: int
    ) -> npt.NDArray[np.int64]:
        """Return the numbers of the texts in one batch of an epoch, counted from 0."""
        order = torch.randperm(len(self), generator=generator).numpy()
        texts: npt.NDArray[np.int64] = order[number * batch_size :][:batch_size]
        return texts

    def epoch(
        self,
        batch_size: int,
        generator: torch.Generator,
        grouping: Grouping | None = None,
        skip: int = 0,
        dropout: TokenDropout | None = None,
    ) -> Iterator[Batch]:
        """Yield all texts once in random order, in batches.

        Args:
            batch_size: texts in a batch; the last batch may have fewer.
            generator: the source of the order.
            grouping: what batches need to carry their ids grouped by row too: on the CPU as a
                :class:`RowPlan`, the same whatever the number of threads.
            skip: batches that are left out, the first ones.
            dropout: which ids are left out; None: none.
        """
        # On CUDA, batches with ids left out come one by one, and are sorted at their step.
        if grouping is None or (dropout is not None and self.labels.is_cuda):
            batches = shuffled_batches(len(self), batch_size, generator)
            for texts in islice(batches, skip, None):
                yield self.gather(texts.to(self.labels.device), dropout)
        elif self.labels.is_cuda:
            from fasttext_app.optim.cuda_batches import cut_epoch

            yield from cut_epoch(self, batch_size, generator, grouping, skip)
        else:
            yield from self._cut_epoch(batch_size, generator, grouping, skip, dropout)

    def _cut_epoch(
        self,
        batch_size: int,
        generator: torch.Generator,
        grouping: Grouping,
        skip: int,
        dropout: TokenDropout | None,
    ) -> Iterator[Batch]:
        order = torch.randperm(len(self), generator=generator).numpy()[skip * batch_size :]
        texts = max(CUT_IDS * len(self) // max(len(self.bags.indices), 1), 1)
        texts = -(-texts // batch_size) * batch_size
        pieces = [order[start : start + texts] for start in range(0, len(order), texts)]
        scratches: SimpleQueue[npt.NDArray[np.int32]] = SimpleQueue()
        idf = np.empty(0, np.float32) if self.idf is None else self.idf
        how = grouping.mean, grouping.padding
        drawn = (0, np.uint64(0)) if dropout is None else (dropout.dropped, np.uint64(dropout.key))

        def cut(piece: npt.NDArray[np.int64]) -> list[Batch]:
            from fasttext_app.kernels import cut_batches

            try:
                scratch = scratches.get_nowait()
            except Empty:
                scratch = np.empty(grouping.rows, np.int32)
            arrays = cut_batches(
                self.bags.indices, self.bags.offsets, piece, batch_size, idf, *how, scratch, *drawn
            )
            scratches.put(scratch)
            return self._batches(piece, batch_size, *arrays)

        for batches in map_ahead(cut, pieces, thread_count(grouping.threads) - 1):
            yield from batches

    def _batches(
        self,
        texts: npt.NDArray[np.int64],
        batch_size: int,
        ids: npt.NDArray[np.int32],
        weights: npt.NDArray[np.float32],
        id_bounds: npt.NDArray[np.int64],
        bag_offsets: npt.NDArray[np.int32],
        rows: npt.NDArray[np.int32],
        row_bounds: npt.NDArray[np.int64],
        starts: npt.NDArray[np.int32],
        bags: npt.NDArray[np.int32],
        shares: npt.NDArray[np.float32],
        group_bounds: npt.NDArray[np.int64],
    ) -> list[Batch]:
        """Cut the arrays of the compiled code into batches; nothing is copied."""
        all_ids, all_offsets = torch.from_numpy(ids), torch.from_numpy(bag_offsets)
        all_weights, chosen = torch.from_numpy(weights), torch.from_numpy(texts)
        labels, text_weights = self.labels[chosen], self.weights_of(chosen)
        bounds = (id_bounds.tolist(), row_bounds.tolist(), group_bounds.tolist())
        made = []
        for number in range(len(id_bounds) - 1):
            (id0, row0, group0), (id1, row1, group1) = (
                [edges[number + side] for edges in bounds] for side in (0, 1)
            )
            text0 = number * batch_size
            text1 = min(text0 + batch_size, len(texts))
            last = text1 + number + (1 if self.include_last_offset else 0)
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
                per_sample_weights=all_weights[id0:id1] if self.idf is not None else None,
                plan=plan,
                weights=None if text_weights is None else text_weights[text0:text1],
            )
            made.append(batch)
        return made


class ShardedDataset:
    """Training texts that do not fit into memory: shard by shard in random order, each shuffled.

    Args:
        shards: loads each shard.
        lengths: the texts of each shard.
    """

    def __init__(
        self, shards: Sequence[Callable[[], EncodedDataset]], lengths: Sequence[int]
    ) -> None:
        self._shards, self._lengths = shards, lengths

    def __len__(self) -> int:
        return sum(self._lengths)

    def steps(self, batch_size: int) -> int:
        """Return the number of batches in an epoch; no batch has texts of two shards."""
        return sum(math.ceil(length / batch_size) for length in self._lengths)

    def batch_texts(
        self, batch_size: int, generator: torch.Generator, number: int
    ) -> npt.NDArray[np.int64]:
        """Return the numbers of the texts in a batch; see :meth:`EncodedDataset.batch_texts`."""
        for shard in torch.randperm(len(self._shards), generator=generator).tolist():
            length = self._lengths[shard]
            order = torch.randperm(length, generator=generator).numpy()
            if number < math.ceil(length / batch_size):
                texts: npt.NDArray[np.int64] = order[number * batch_size :][:batch_size]
                return texts + sum(self._lengths[:shard])
            number -= math.ceil(length / batch_size)
        raise IndexError("there is no such batch")

    def epoch(
        self,
        batch_size: int,
        generator: torch.Generator,
        grouping: Grouping | None = None,
        skip: int = 0,
        dropout: TokenDropout | None = None,
    ) -> Iterator[Batch]:
        """Yield all texts once, in batches; see :meth:`EncodedDataset.epoch`."""
        for shard in torch.randperm(len(self._shards), generator=generator).tolist():
            steps = math.ceil(self._lengths[shard] / batch_size)
            if skip < steps:
                of_shard = None if dropout is None else dropout.within(shard)
                loaded = self._shards[shard]()
                yield from loaded.epoch(batch_size, generator, grouping, skip, of_shard)
            else:  # its order is drawn all the same, so that those after it stay as they are
                torch.randperm(self._lengths[shard], generator=generator)
            skip = max(skip - steps, 0)


def collate(examples: Sequence[Example], *, include_last_offset: bool = True) -> Batch:
    """Join examples into a batch: ids end to end, and where each text begins and ends.

    >>> one, two = torch.tensor([5, 7]), torch.tensor([7])
    >>> batch = collate([(one, torch.tensor(0), None, None), (two, torch.tensor(1), None, None)])
    >>> batch.indices.tolist(), batch.offsets.tolist(), batch.labels.tolist()
    ([5, 7, 7], [0, 2, 3], [0, 1])
    """
    indices = torch.cat([ids for ids, *_ in examples])
    lengths = torch.tensor([0, *(len(ids) for ids, *_ in examples)], device=indices.device)
    weights = [weights for _, _, weights, _ in examples if weights is not None]
    own = [weight for *_, weight in examples if weight is not None]
    return Batch(
        indices=indices,
        offsets=_in_form(lengths.cumsum(0), indices, include_last_offset),
        labels=torch.stack([label for _, label, *_ in examples]),
        per_sample_weights=torch.cat(weights) if weights else None,
        weights=torch.stack(own) if own else None,
    )


def _in_form(offsets: Tensor, indices: Tensor, include_last_offset: bool) -> Tensor:
    offsets = offsets.to(indices.dtype)  # EmbeddingBag takes both in one type
    return offsets if include_last_offset else offsets[:-1]


def shuffled_batches(texts: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the numbers of all texts once, in random order, ``batch_size`` at a time."""
    yield from torch.randperm(texts, generator=generator).split(batch_size)

"""Batches for training: flat ``indices`` and ``offsets`` cut out of encoded texts.

Shapes: **N** ids in a batch, **B** texts. Nothing is padded. There are three ways to cut a batch,
and tests check that they agree: ``loader.epoch`` on the CPU cuts many at a time in compiled code,
on threads ahead of the training step; ``EncodedDataset.gather`` cuts one with torch operations, on
any device; ``collate`` is the reference implementation, for a stock ``DataLoader``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fasttext_app.core.arrays import F32, I32

Example = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
"""One text: ids [n], class [], the weight of each id [n] or None, its own weight [] or None."""


@dataclass(frozen=True)
class RowPlan:
    """The ids of a batch grouped by table row, as the fused step on the CPU needs them."""

    rows: I32  # [U], the distinct rows
    starts: I32  # [U + 1], bounds of each row's group
    bags: I32  # [N], the text of each grouped id
    id_weights: F32  # [N], the weight of each grouped id in its bag; [1]: all 1


@dataclass(frozen=True)
class WordPlan:
    """The words of a batch whose texts have character n-grams.

    ``Batch.indices`` and ``offsets`` then hold the ids of each of the W distinct words once, with
    word n-grams as words of one id. A bag is the sum of the vectors of its words.
    """

    words: I32  # [M], the words of each text, end to end
    bag_offsets: I32  # [B + 1], bounds of each text in `words`
    bags: I32  # [M], the texts of each word, end to end
    starts: I32  # [W + 1], bounds of each word in `bags`
    scales: F32  # [B], the factor of each bag; [0]: 1


@dataclass(frozen=True)
class Grouping:
    """How to group the ids of a batch by row."""

    rows: int
    """Rows of the table."""
    mean: bool = False
    """Whether a bag is the mean of its rows."""
    padding: int = -1
    """The row that takes no part; -1 if there is none."""
    by_word: bool = False
    """Whether to cut texts with character n-grams into words; see :class:`WordPlan`."""
    threads: int = 0
    """Threads for cutting batches and for steps; 0: all cores."""
    step_threads: int = 1
    """How many of them take the steps. The others cut batches during the steps; if there are none,
    all threads cut batches between the steps."""


@dataclass(frozen=True)
class Batch:
    """B texts as the arguments of ``nn.EmbeddingBag``, with their classes."""

    indices: Tensor  # [N]
    offsets: Tensor  # [B + 1]; [B] where the model has include_last_offset=False
    labels: Tensor  # [B]
    per_sample_weights: Tensor | None = None  # [N]
    plan: RowPlan | None = None  # in batches cut by compiled code
    words: WordPlan | None = None  # in batches cut into words
    weights: Tensor | None = None  # [B], the weight of each text in the loss; None: 1

    def __len__(self) -> int:
        return len(self.labels)


def collate(examples: Sequence[Example], *, include_last_offset: bool = True) -> Batch:
    """Join examples into a batch: ids end to end, with the bounds of each text.

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
        offsets=in_form(lengths.cumsum(0), indices, include_last_offset),
        labels=torch.stack([label for _, label, *_ in examples]),
        per_sample_weights=torch.cat(weights) if weights else None,
        weights=torch.stack(own) if own else None,
    )


def in_form(offsets: Tensor, indices: Tensor, include_last_offset: bool) -> Tensor:
    """Return offsets in the dtype of the indices, with or without the end of the last bag."""
    offsets = offsets.to(indices.dtype)  # EmbeddingBag takes both in one type
    return offsets if include_last_offset else offsets[:-1]

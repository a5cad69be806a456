"""Batches for training: flat ``indices`` and ``offsets`` cut out of one encoded data set.

Shapes: **N** ids in a batch, **B** texts. Nothing is padded. ``EncodedDataset.gather`` is the fast
way (a few tensor operations, on whatever device the data lives); ``collate`` is the plain one, for
a stock ``DataLoader`` and as the reference that ``gather`` must equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fasttext_app.text.ragged import Ragged

__all__ = ["Batch", "EncodedDataset", "Example", "collate", "shuffled_batches"]

Example = tuple[Tensor, Tensor, Tensor | None]
"""One text: ids [n], class [], and the weight of each id [n] or None."""


@dataclass(frozen=True)
class Batch:
    """B texts as the arguments of ``nn.EmbeddingBag``, with their classes."""

    indices: Tensor  # [N]
    offsets: Tensor  # [B + 1]; [B] where the model has include_last_offset=False
    labels: Tensor  # [B]
    per_sample_weights: Tensor | None = None  # [N]

    def __len__(self) -> int:
        return len(self.labels)


class EncodedDataset(torch.utils.data.Dataset[Example]):
    """Encoded texts and their classes as flat tensors, on the device where training runs.

    Args:
        bags: the row ids of each text.
        labels: the class of each text, [texts].
        weights: the weight of each id, [ids], or None.
        device: where the tensors live; batches are cut there.
        include_last_offset: whether the offsets of a batch carry the end of its last bag.
    """

    def __init__(
        self,
        bags: Ragged,
        labels: npt.NDArray[np.int64],
        weights: npt.NDArray[np.float32] | None = None,
        *,
        device: torch.device | str = "cpu",
        include_last_offset: bool = True,
    ) -> None:
        self.indices = torch.from_numpy(bags.indices).to(device)
        self.offsets = torch.from_numpy(bags.offsets).to(device)
        self.labels = torch.from_numpy(labels).to(device)
        self.weights = None if weights is None else torch.from_numpy(weights).to(device)
        self.include_last_offset = include_last_offset

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, text: int) -> Example:
        if not 0 <= text < len(self):
            raise IndexError(f"text {text} of {len(self)}")
        start, end = self.offsets[text], self.offsets[text + 1]
        weights = None if self.weights is None else self.weights[start:end]
        return self.indices[start:end], self.labels[text], weights

    def gather(self, texts: Tensor) -> Batch:
        """Cut out the batch of these texts [B], in the order given."""
        starts = self.offsets[texts]
        lengths = self.offsets[texts + 1] - starts
        offsets = torch.zeros(len(texts) + 1, dtype=lengths.dtype, device=lengths.device)
        torch.cumsum(lengths, 0, out=offsets[1:])
        total = int(offsets[-1])
        positions = torch.arange(total, device=lengths.device)
        positions += torch.repeat_interleave(starts - offsets[:-1], lengths, output_size=total)
        return Batch(
            indices=self.indices[positions],
            offsets=_in_form(offsets, self.indices, self.include_last_offset),
            labels=self.labels[texts],
            per_sample_weights=None if self.weights is None else self.weights[positions],
        )


def collate(examples: Sequence[Example], *, include_last_offset: bool = True) -> Batch:
    """Join examples into a batch: ids end to end, and where each text begins and ends.

    >>> one, two = torch.tensor([5, 7]), torch.tensor([7])
    >>> batch = collate([(one, torch.tensor(0), None), (two, torch.tensor(1), None)])
    >>> batch.indices.tolist(), batch.offsets.tolist(), batch.labels.tolist()
    ([5, 7, 7], [0, 2, 3], [0, 1])
    """
    indices = torch.cat([ids for ids, _, _ in examples])
    lengths = torch.tensor([0, *(len(ids) for ids, _, _ in examples)], device=indices.device)
    weights = [weights for _, _, weights in examples if weights is not None]
    return Batch(
        indices=indices,
        offsets=_in_form(lengths.cumsum(0), indices, include_last_offset),
        labels=torch.stack([label for _, label, _ in examples]),
        per_sample_weights=torch.cat(weights) if weights else None,
    )


def _in_form(offsets: Tensor, indices: Tensor, include_last_offset: bool) -> Tensor:
    offsets = offsets.to(indices.dtype)  # EmbeddingBag takes both in one type
    return offsets if include_last_offset else offsets[:-1]


def shuffled_batches(texts: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the numbers of all texts once, in random order, ``batch_size`` at a time."""
    yield from torch.randperm(texts, generator=generator).split(batch_size)

"""``Ragged``: bags of different lengths as two flat arrays, the form that the whole program keeps.

Shapes: **N** ids, **B** bags. It is what ``nn.EmbeddingBag`` takes, and the layout of an Arrow
``ListArray``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttext_app.core.arrays import I64, Array, Bool

"""One-dimensional integers (int32 where they fit, else int64; uint64 for hashes)."""


@dataclass(frozen=True, eq=False)
class Ragged:
    """B bags of ids; bag ``b`` is ``indices[offsets[b]:offsets[b + 1]]``.

    >>> bags = Ragged.from_lists([[3, 1], [], [2]])
    >>> bags.indices.tolist(), bags.offsets.tolist()
    ([3, 1, 2], [0, 2, 2, 3])
    >>> bags.to_lists()
    [[3, 1], [], [2]]
    """

    indices: Array  # [N]
    offsets: I64  # [B + 1], offsets[0] == 0, offsets[B] == N

    @classmethod
    def from_lists(cls, bags: Sequence[Sequence[int]], dtype: npt.DTypeLike = np.int64) -> Ragged:
        """Build from Python lists; for tests, examples and small inputs."""
        flat = [item for bag in bags for item in bag]
        return cls(np.array(flat, dtype=dtype), offsets_of([len(bag) for bag in bags]))

    @classmethod
    def of_one(cls, bag: Sequence[int]) -> Ragged:
        """Build a single bag of 32-bit ids."""
        return cls(np.array(bag, dtype=np.int32), np.array([0, len(bag)], dtype=np.int64))

    @classmethod
    def concat(cls, parts: Sequence[Ragged]) -> Ragged:
        """Put the bags of all ``parts`` one after another."""
        if len(parts) == 1:
            return parts[0]
        lengths = [part.lengths for part in parts]
        indices = [part.indices for part in parts]
        return cls(
            np.concatenate(indices) if indices else np.empty(0, np.int64),
            offsets_of(np.concatenate(lengths) if lengths else []),
        )

    @classmethod
    def join(cls, parts: Sequence[Ragged]) -> Ragged:
        """Join bag by bag: bag ``b`` of the result is bag ``b`` of each part, in their order.

        >>> words, ngrams = Ragged.from_lists([[1, 2], [3]]), Ragged.from_lists([[9], []])
        >>> Ragged.join([words, ngrams]).to_lists()
        [[1, 2, 9], [3]]
        """
        if len(parts) == 1:
            return parts[0]
        lengths = np.stack([part.lengths for part in parts])  # [parts, B]
        offsets = offsets_of(lengths.sum(axis=0))
        starts = offsets[:-1] + np.cumsum(lengths, axis=0) - lengths
        indices = np.empty(offsets[-1], dtype=np.result_type(*(part.indices for part in parts)))
        for part, start, length in zip(parts, starts, lengths, strict=True):
            indices[bounded_ranges(start, length)] = part.indices
        return cls(indices, offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> I64:
        """The number of ids in each bag, [B]."""
        return self.offsets[1:] - self.offsets[:-1]  # for one text, far sooner than np.diff

    def take(self, bags: npt.NDArray[np.integer[Any]]) -> Ragged:
        """Gather whole bags by number, in the order given; a bag may be taken more than once."""
        lengths = self.lengths[bags]
        positions = bounded_ranges(self.offsets[:-1][bags], lengths)
        return Ragged(self.indices[positions], offsets_of(lengths))

    def where(self, keep: Bool) -> Ragged:
        """Drop the ids for which ``keep`` [N] is false; bags stay, some shorter."""
        if keep.all():
            return self
        kept_before = np.concatenate(([0], np.cumsum(keep)))
        return Ragged(self.indices[keep], kept_before[self.offsets])

    def to_lists(self) -> list[list[int]]:
        """Return Python lists; for tests and for showing a few texts."""
        return (
            [bag.tolist() for bag in np.split(self.indices, self.offsets[1:-1])]
            if len(self)
            else []
        )


def offsets_of(lengths: npt.ArrayLike) -> I64:
    """Return the B+1 offsets of bags with these ``lengths`` [B]."""
    wanted = np.asarray(lengths, dtype=np.int64)
    offsets = np.zeros(len(wanted) + 1, dtype=np.int64)
    wanted.cumsum(out=offsets[1:])
    return offsets


def bounded_ranges(starts: I64, lengths: I64) -> I64:
    """Return ``start, start + 1, ...`` for each (start, length), end to end.

    >>> bounded_ranges(np.array([10, 5]), np.array([2, 3])).tolist()
    [10, 11, 5, 6, 7]
    """
    before = np.cumsum(lengths) - lengths
    ranges = np.arange(int(lengths.sum()), dtype=np.int64)
    ranges += np.repeat(starts - before, lengths)
    return ranges

"""Bags of ids of different lengths as two flat arrays, the layout of an Arrow list column.

It is also what ``nn.EmbeddingBag`` takes. Shapes: **N** ids, **B** bags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttext_app.core.arrays import I64, U64, Array, Bool


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
        """Build from Python lists; for small inputs."""
        flat = [item for bag in bags for item in bag]
        return cls(np.array(flat, dtype=dtype), offsets_from_lengths([len(bag) for bag in bags]))

    @classmethod
    def single(cls, bag: Sequence[int]) -> Ragged:
        """Build one bag of 32-bit ids."""
        return cls(np.array(bag, dtype=np.int32), np.array([0, len(bag)], dtype=np.int64))

    @classmethod
    def one_each(cls, ids: Array) -> Ragged:
        """Build bags of one id each, from ``ids`` [B]."""
        return cls(ids, np.arange(len(ids) + 1))

    @classmethod
    def concat(cls, parts: Sequence[Ragged]) -> Ragged:
        """Concatenate the bags of all ``parts``."""
        if len(parts) == 1:
            return parts[0]
        lengths = [part.lengths for part in parts]
        indices = [part.indices for part in parts]
        return cls(
            np.concatenate(indices) if indices else np.empty(0, np.int64),
            offsets_from_lengths(np.concatenate(lengths) if lengths else []),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> I64:
        """The number of ids in each bag, [B]."""
        return self.offsets[1:] - self.offsets[:-1]  # much faster than np.diff for one bag

    def take(self, bags: npt.NDArray[np.integer[Any]]) -> Ragged:
        """Return the bags with these indices, in this order; an index may repeat."""
        lengths = self.lengths[bags]
        positions = concat_ranges(self.offsets[:-1][bags], lengths)
        return Ragged(self.indices[positions], offsets_from_lengths(lengths))

    def hashes(self) -> U64:
        """Return a number for each bag, [B], equal for the same ids in any order; 0 for no ids.

        It is the sum of a random 64-bit number for each id.

        >>> numbers = Ragged.from_lists([[3, 1], [1], [1, 3], []]).hashes()
        >>> bool(numbers[0] == numbers[2]), len(set(numbers.tolist())), int(numbers[3])
        (True, 3, 0)
        """
        from fasttext_app.core.ragged_kernels import hash_bags

        return hash_bags(self.indices, self.offsets)

    def filter_ids(self, mask: Bool) -> Ragged:
        """Return all bags, with only the ids for which ``mask`` [N] is true.

        >>> bags = Ragged.from_lists([[3, 1], [2]])
        >>> bags.filter_ids(np.array([True, False, False])).to_lists()
        [[3], []]
        """
        if mask.all():
            return self
        kept_before = np.concatenate(([0], np.cumsum(mask)))
        return Ragged(self.indices[mask], kept_before[self.offsets])

    def to_lists(self) -> list[list[int]]:
        """Return Python lists; for small outputs."""
        if not len(self):
            return []
        return [bag.tolist() for bag in np.split(self.indices, self.offsets[1:-1])]


def offsets_from_lengths(lengths: npt.ArrayLike) -> I64:
    """Return the B+1 offsets of bags with these ``lengths`` [B]."""
    sizes = np.asarray(lengths, dtype=np.int64)
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    sizes.cumsum(out=offsets[1:])
    return offsets


def concat_ranges(starts: I64, lengths: I64) -> I64:
    """Concatenate ``np.arange(start, start + length)`` over all pairs.

    >>> concat_ranges(np.array([10, 5]), np.array([2, 3])).tolist()
    [10, 11, 5, 6, 7]
    """
    before = np.cumsum(lengths) - lengths
    ranges = np.arange(int(lengths.sum()), dtype=np.int64)
    ranges += np.repeat(starts - before, lengths)
    return ranges

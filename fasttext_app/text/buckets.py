"""``Buckets``: the hash buckets of n-grams, and the table row of each.

The bucket of an n-gram is its hash (:mod:`fasttext_app.text.hashing`) modulo the number of buckets.
Training reaches only some of millions of buckets. A pruned model has rows for those alone: an
n-gram in any other bucket was never seen in training and adds nothing to its text.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from fasttext_app.core.arrays import I32, I64, U64, Bool, constant
from fasttext_app.core.pickling import state_without_caches

MAX_BITMAP_BYTES = 1 << 22


class Buckets:
    """The table rows of hash buckets.

    Args:
        count: the number of buckets; 0 if there are no n-grams.
        first_row: the row of the first bucket that has one.
        ids: the buckets that have a row, ascending, in the order of their rows; None: all.

    >>> Buckets(10, 100).rows([3, 13, 27])
    [103, 103, 107]
    >>> Buckets(10, 100, np.array([3, 5], dtype=np.int32)).rows([3, 13, 27])
    [100, 100]
    """

    def __init__(self, count: int, first_row: int, ids: I32 | None = None) -> None:
        self.count, self.first_row, self.ids = count, first_row, ids

    __getstate__ = state_without_caches

    def __len__(self) -> int:
        """Return the number of buckets that have a row."""
        return self.count if self.ids is None else len(self.ids)

    def rows(self, hashes: list[int]) -> list[int]:
        """Return the rows of the n-grams with these hashes, without those that have none."""
        if self.ids is None or not hashes:
            return self.find(hashes)
        indices, has_row = self._search(hashes)
        rows: list[int] = (indices[has_row] + self.first_row).tolist()
        return rows

    def find(self, hashes: list[int]) -> list[int]:
        """Return the row of each n-gram with these hashes; -1 for one that has none."""
        if not hashes:
            return []
        if self.ids is None:
            return [self.first_row + value % self.count for value in hashes]
        indices, has_row = self._search(hashes)
        rows: list[int] = np.where(has_row, indices + self.first_row, -1).tolist()
        return rows

    def _search(self, hashes: list[int]) -> tuple[I64, Bool]:
        """Return the index of each hash's bucket in ``ids``, and a mask of those in it."""
        if self.ids is None or not len(self.ids):
            return np.zeros(len(hashes), np.int64), np.zeros(len(hashes), np.bool_)
        buckets = (np.array(hashes, np.uint64) % np.uint64(self.count)).astype(np.int32)
        indices = self.ids.searchsorted(buckets)
        return indices, self.ids.take(indices, mode="clip") == buckets

    @cached_property
    def bitmap(self) -> tuple[U64, I32]:
        """A bit for each bucket in 64-bit words, and the number of bits set before each word.

        Compiled code looks rows up in it. 64 buckets take 12 bytes, so that it stays in the
        processor's cache, where a row number for each bucket would not. Both arrays are empty if
        all buckets have a row, or if :attr:`ranges` takes less memory.
        """
        if self.ids is None or self.ranges is not None:
            return constant(np.empty(0, np.uint64)), constant(np.empty(0, np.int32))
        words, word_of = -(-self.count // 64), self.ids >> 6
        used, first = np.unique(word_of, return_index=True)
        bits = np.zeros(words, np.uint64)
        if len(used):
            bit = np.uint64(1) << (self.ids & 63).astype(np.uint64)
            bits[used] = np.bitwise_or.reduceat(bit, first)
        counts = np.bincount(word_of, minlength=words)
        ranks = (np.cumsum(counts) - counts).astype(np.int32)
        return constant(bits), constant(ranks)

    @cached_property
    def ranges(self) -> tuple[I32, I32] | None:
        """For few of many buckets: where equal ranges of buckets begin in ``ids``, and ``ids``.

        They take 8 bytes for each bucket that has a row, whatever the number of buckets. None if a
        bitmap is small or takes less.
        """
        if self.ids is None or self.count // 64 * 12 <= max(MAX_BITMAP_BYTES, 8 * len(self.ids)):
            return None
        parts = max(len(self.ids), 1)
        part_of = self.ids.astype(np.int64) * parts // self.count
        starts = np.searchsorted(part_of, np.arange(parts + 1)).astype(np.int32)
        return constant(starts), constant(np.ascontiguousarray(self.ids))

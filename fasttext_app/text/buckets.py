"""``HashSpace``: which table row a hashed n-gram has, if any.

Of the millions of buckets, training touches some. The others have no row: an n-gram that falls
there was never seen, and adds nothing to its text.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from fasttext_app.core.arrays import I32, I64, U64, Bool


class HashSpace:
    """The rows of ``bucket`` hash buckets.

    Args:
        bucket: the size of the hash space; 0 where there are no n-grams.
        first: the row of the first bucket that has one.
        kept: the buckets that have a row, in the order of their rows, ascending; None: all.

    >>> HashSpace(10, 100).rows([3, 13, 27])
    [103, 103, 107]
    >>> HashSpace(10, 100, np.array([3, 5], dtype=np.int32)).rows([3, 13, 27])
    [100, 100]
    """

    def __init__(self, bucket: int, first: int, kept: I32 | None = None) -> None:
        self.bucket, self.first, self.kept = bucket, first, kept

    def __len__(self) -> int:
        return self.bucket if self.kept is None else len(self.kept)

    def rows(self, hashes: list[int]) -> list[int]:
        """Return the rows of the n-grams with these hashes; one without a row is left out."""
        if self.kept is None or not hashes:
            return self.find(hashes)
        places, found = self._places(hashes)
        rows: list[int] = (places[found] + self.first).tolist()
        return rows

    def find(self, hashes: list[int]) -> list[int]:
        """Return the row of each n-gram with these hashes; -1 for one without a row."""
        if not hashes:
            return []
        if self.kept is None:
            return [self.first + value % self.bucket for value in hashes]
        places, found = self._places(hashes)
        rows: list[int] = np.where(found, places + self.first, -1).tolist()
        return rows

    def _places(self, hashes: list[int]) -> tuple[I64, Bool]:
        """Return where each bucket stands among those with a row, and whether it has one."""
        if self.kept is None or not len(self.kept):
            return np.zeros(len(hashes), np.int64), np.zeros(len(hashes), np.bool_)
        wanted = np.array([value % self.bucket for value in hashes], dtype=np.int32)
        places = self.kept.searchsorted(wanted)
        return places, self.kept.take(places, mode="clip") == wanted

    @cached_property
    def index(self) -> tuple[U64, I32]:
        """What the compiled look-up reads: a bit for every bucket, and the rows before each word.

        Of 64 buckets it takes 12 bytes, which stay in the processor's cache where a row number
        for each would not. Both arrays are empty where every bucket has a row.
        """
        if self.kept is None:
            return np.empty(0, np.uint64), np.empty(0, np.int32)
        flags = np.zeros(-(-self.bucket // 64) * 64, dtype=np.uint8)
        flags[self.kept] = 1
        bits = np.packbits(flags, bitorder="little").view("<u8")
        set_bits = np.add.reduceat(flags, np.arange(0, len(flags), 64), dtype=np.int32)
        return bits.astype(np.uint64), (np.cumsum(set_bits) - set_bits).astype(np.int32)

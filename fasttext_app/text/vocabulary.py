"""``Vocabulary``: the words that have a table row, with their counts in the training texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import I32, I64, constant
from fasttext_app.core.arrow import python_strings, string_buffers, to_arrow, to_numpy
from fasttext_app.core.pickling import state_without_caches
from fasttext_app.text.tokens import Tokens, WordList

SCANS = 64
"""The number of words that are searched for before all words are put into a dict."""


class WordCounts(NamedTuple):
    """Distinct words of some texts, and how often each occurs."""

    words: pa.StringArray
    counts: I64


def count_words(parts: Iterable[Tokens]) -> WordCounts:
    """Count the words of texts, in any number of parts."""
    return sum_counts(WordCounts(part.words.column, part.word_counts()) for part in parts)


def sum_counts(parts: Iterable[WordCounts]) -> WordCounts:
    """Add up the counts of several parts."""
    columns, counts_of = [], [np.empty(0, np.int64)]
    for part in parts:
        columns.append(part.words)
        counts_of.append(part.counts)
    # Not group_by, whose first call imports Arrow's dataset engine, and pandas with it.
    words, codes = _distinct(pa.chunked_array(columns, pa.string()))
    counts = np.zeros(len(words), np.int64)
    np.add.at(counts, codes, np.concatenate(counts_of))
    return WordCounts(words, counts)


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """V words with their counts, by descending count, then by UTF-8 byte order.

    If a model is trained further on other texts, its own words come first. Words that have a row
    without being frequent, because they have a pretrained vector, come last; their count may be 0.

    A word outside the vocabulary has no row and adds nothing by itself. Its hash still takes part
    in word n-grams, and its character n-grams have rows.
    """

    words: pa.StringArray  # [V]
    counts: I64  # [V]

    __getstate__ = state_without_caches

    @classmethod
    def build(
        cls,
        parts: Iterable[Tokens],
        min_count: int = 1,
        max_size: int = 0,
        also: pa.StringArray | None = None,
    ) -> Vocabulary:
        """Count the words of the training texts and keep the frequent ones.

        Args:
            parts: the tokens of all training texts, in any number of parts.
            min_count: the minimum count of a word.
            max_size: the maximum number of words; 0: no limit.
            also: words to keep whatever their count, after the frequent ones and in this order.

        >>> tokens = Tokens.from_lists([["b", "a", "b"], ["c"]])
        >>> Vocabulary.build([tokens]).words.to_pylist()
        ['b', 'a', 'c']
        >>> vocabulary = Vocabulary.build([tokens], 2, also=pa.array(["d", "c", "b"]))
        >>> vocabulary.words.to_pylist(), vocabulary.counts.tolist()
        (['b', 'd', 'c'], [2, 0, 1])
        """
        return cls.of_counts(count_words(parts), min_count, max_size, also)

    @classmethod
    def of_counts(
        cls,
        counted: WordCounts,
        min_count: int = 1,
        max_size: int = 0,
        also: pa.StringArray | None = None,
    ) -> Vocabulary:
        """Keep the frequent ones of words that are counted; see :meth:`build`."""
        words, counts = counted
        frequent = to_arrow(np.flatnonzero(counts >= max(min_count, 1)))
        table = pa.table([words, to_arrow(counts)], ["word", "count"]).take(frequent)
        table = table.sort_by([("count", "descending"), ("word", "ascending")])
        if also is not None:
            table = pa.concat_tables([table, _other_words(also, table["word"], words, counts)])
        if max_size:
            table = table.slice(0, max_size)
        return cls(table["word"].combine_chunks(), to_numpy(table["count"].combine_chunks()))

    def extended(self, new: Vocabulary, min_count: int = 1, max_size: int = 0) -> Vocabulary:
        """Return these words in the same rows, followed by the words that only ``new`` has.

        Args:
            new: a vocabulary of other texts, whose counts are added.
            min_count: the minimum count of a word to add.
            max_size: the maximum number of words, though none of these is dropped; 0: no limit.

        >>> old = Vocabulary.build([Tokens.from_lists([["b", "a", "b"]])])
        >>> new = Vocabulary.build([Tokens.from_lists([["c", "b"]])])
        >>> both = old.extended(new)
        >>> both.words.to_pylist(), both.counts.tolist()
        (['b', 'a', 'c'], [3, 1, 1])
        """
        rows = np.array(self.rows_of(python_strings(new.words)), np.int64)
        counts = self.counts.copy()
        counts[rows[rows >= 0]] += new.counts[rows >= 0]
        added = np.flatnonzero((rows < 0) & (new.counts >= min_count))
        if max_size:
            added = added[: max(max_size - len(self), 0)]
        words = pa.concat_arrays([self.words, new.words.take(to_arrow(added))])
        return Vocabulary(words, np.concatenate((counts, new.counts[added])))

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {word: row for row, word in enumerate(python_strings(self.words))}

    def row(self, word: str) -> int:
        """Return the row of one word; -1 for an unknown word."""
        if next(self._scans, None) is None:
            return self._row_of.get(word, -1)
        try:
            sought = word.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return -1
        data, bounds = string_buffers(self.words)
        # Words of this length, of which those remain that agree in one byte after the other.
        rows = np.flatnonzero(np.diff(bounds) == len(sought))
        for position, byte in enumerate(sought):
            rows = rows[data[bounds[rows] + position] == byte]
        return int(rows[0]) if len(rows) else -1

    def rows_of(self, words: Sequence[str]) -> list[int]:
        """Return the row of each of some words; -1 for an unknown word."""
        if len(words) <= SCANS:
            return [self.row(word) for word in words]
        row_of = self._row_of
        return [row_of.get(word, -1) for word in words]

    @cached_property
    def _scans(self) -> Iterator[int]:
        return iter(range(SCANS))

    @cached_property
    def index(self) -> tuple[Any, Any, Any]:
        """The look-up table and the words, as ``kernels.find_words`` takes them."""
        from fasttext_app.text.kernels import index_words

        words = WordList.from_column(self.words)
        slots = index_words(words.data, words.bounds, words.hashes)
        return constant(slots), words.data, words.bounds

    def rows(self, words: WordList) -> I32:
        """Return the row of each word, [W]; -1 for an unknown word."""
        from fasttext_app.text.kernels import find_words

        return find_words(*self.index, words.data, words.bounds, words.hashes)


def _other_words(
    words: pa.StringArray, frequent: pa.ChunkedArray, counted: pa.StringArray, counts: I64
) -> pa.Table:
    """Return the distinct words that are not among the frequent ones, with their counts.

    Args:
        words: the words.
        frequent: the frequent words.
        counted: all words of the training texts.
        counts: their counts.
    """
    import pyarrow.compute as pc

    words = pc.unique(words)
    words = words.filter(pc.invert(pc.is_in(words, value_set=frequent)))
    rows = to_numpy(pc.index_in(words, value_set=counted).fill_null(len(counted)))
    return pa.table([words, to_arrow(np.append(counts, 0)[rows])], ["word", "count"])


def _distinct(words: pa.ChunkedArray) -> tuple[pa.StringArray, I32]:
    """Return the distinct words, and the index among them of each word."""
    encoded = words.dictionary_encode().combine_chunks()
    return encoded.dictionary, to_numpy(encoded.indices)

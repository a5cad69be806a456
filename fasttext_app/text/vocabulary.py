"""Which words and labels have a row, in which order, and how often each was seen in training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import I32, I64
from fasttext_app.core.arrow import python_strings, to_arrow, to_numpy
from fasttext_app.text.tokens import Tokens, WordList


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """V words with their counts: by descending count, equal counts by UTF-8 byte order.

    Where a model was trained on with other texts, the words of the first ones come first.

    A word outside has no row and adds nothing by itself; its hash still takes part in word
    n-grams, and its character n-grams have their rows.
    """

    words: pa.StringArray  # [V]
    counts: I64  # [V]

    @classmethod
    def build(cls, parts: Iterable[Tokens], min_count: int = 1, max_size: int = 0) -> Vocabulary:
        """Count the words of all ``parts``, and keep those seen at least ``min_count`` times.

        Args:
            parts: the tokens of all training texts, in any number of pieces.
            min_count: words seen less often are left out.
            max_size: at most this many words; 0 means no limit.

        >>> Vocabulary.build([Tokens.from_lists([["b", "a", "b"], ["c"]])]).words.to_pylist()
        ['b', 'a', 'c']
        """
        columns, counts_of = [], []
        for part in parts:
            columns.append(part.words.column)
            counts_of.append(part.word_counts())
        # Not group_by, whose first call imports Arrow's dataset engine, and pandas with it.
        words, codes = _distinct(pa.chunked_array(columns, pa.string()))
        seen = np.zeros(len(words), np.int64)
        np.add.at(seen, codes, np.concatenate([*counts_of, np.empty(0, np.int64)]))
        kept = to_arrow(np.flatnonzero(seen >= max(min_count, 1)))
        table = pa.table([words, to_arrow(seen)], ["word", "count"]).take(kept)
        table = table.sort_by([("count", "descending"), ("word", "ascending")])
        if max_size:
            table = table.slice(0, max_size)
        return cls(table["word"].combine_chunks(), to_numpy(table["count"].combine_chunks()))

    def grown(self, new: Vocabulary, min_count: int = 1, max_size: int = 0) -> Vocabulary:
        """Return these words, in their places, and after them those of ``new`` that are not here.

        Args:
            new: counted on other texts; its counts of these words are added to theirs.
            min_count: other words that it has seen less often are left out.
            max_size: no more words than this, though all of these; 0 means no limit.

        >>> old = Vocabulary.build([Tokens.from_lists([["b", "a", "b"]])])
        >>> new = Vocabulary.build([Tokens.from_lists([["c", "b"]])])
        >>> old.grown(new).words.to_pylist(), old.grown(new).counts.tolist()
        (['b', 'a', 'c'], [3, 1, 1])
        """
        rows = np.array([self.row(word) for word in python_strings(new.words)], dtype=np.int64)
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
    def _id_of(self) -> dict[str, int]:
        return {word: row for row, word in enumerate(python_strings(self.words))}

    def row(self, word: str) -> int:
        """Return the row of one word; -1 for a word outside."""
        return self._id_of.get(word, -1)

    @cached_property
    def _index(self) -> tuple[Any, Any, Any]:
        from fasttext_app.text.kernels import index_words

        known = WordList.of_column(self.words)
        return index_words(known.data, known.bounds, known.hashes), known.data, known.bounds

    def rows(self, words: WordList) -> I32:
        """Return the row of each of some words, [W]; -1 for a word outside."""
        from fasttext_app.text.kernels import find_words

        return find_words(*self._index, words.data, words.bounds, words.hashes)


def _distinct(words: pa.ChunkedArray) -> tuple[pa.StringArray, I32]:
    """Return the distinct words, and which of them each word is."""
    encoded = words.dictionary_encode().combine_chunks()
    return encoded.dictionary, to_numpy(encoded.indices)

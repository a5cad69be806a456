"""Which words and labels have a row, in which order, and how often each was seen in training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttext_app.text.strings import (
    number_array,
    numbers_of,
    python_strings,
    string_array,
)
from fasttext_app.text.tokens import Tokens, WordList

__all__ = ["LabelSet", "Vocabulary", "label_counts"]

INT_DIGITS = 640  # whatever limit Python is run with, int() reads a string of so many digits


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """V words with their counts: by descending count, equal counts by UTF-8 byte order.

    Where a model was trained on with other texts, the words of the first ones come first.

    A word outside has no row and adds nothing by itself; its hash still takes part in word
    n-grams, and its character n-grams have their rows.
    """

    words: pa.StringArray  # [V]
    counts: npt.NDArray[np.int64]  # [V]

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
        kept = number_array(np.flatnonzero(seen >= max(min_count, 1)))
        table = pa.table([words, number_array(seen)], ["word", "count"]).take(kept)
        table = table.sort_by([("count", "descending"), ("word", "ascending")])
        if max_size:
            table = table.slice(0, max_size)
        return cls(table["word"].combine_chunks(), numbers_of(table["count"].combine_chunks()))

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
        words = pa.concat_arrays([self.words, new.words.take(number_array(added))])
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

    def rows(self, words: WordList) -> npt.NDArray[np.int32]:
        """Return the row of each of some words, [W]; -1 for a word outside."""
        from fasttext_app.text.kernels import find_words

        return find_words(*self._index, words.data, words.bounds, words.hashes)


def _distinct(words: pa.ChunkedArray) -> tuple[pa.StringArray, npt.NDArray[np.int32]]:
    """Return the distinct words, and which of them each word is."""
    encoded = words.dictionary_encode().combine_chunks()
    return encoded.dictionary, numbers_of(encoded.indices)


def label_counts(labels: pa.StringArray) -> dict[str, int]:
    """Return how often each label occurs, by first occurrence."""
    return {str(entry["values"]): entry["counts"] for entry in labels.value_counts().to_pylist()}


@dataclass(frozen=True)
class LabelSet:
    """C label names with the number of training rows of each.

    The order is the one that the data gives (class names of a dataset); without one, whole numbers
    go by value and other names by text.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]

    @classmethod
    def build(
        cls, columns: Sequence[pa.StringArray], order: Sequence[str] | None = None
    ) -> LabelSet:
        """Count the labels of some columns; names in ``order`` come first and stay without a row.

        >>> LabelSet.build([pa.array(["10", "9"]), pa.array(["10"])])
        LabelSet(names=('9', '10'), counts=(1, 2))
        """
        counts: Counter[str] = Counter()
        for column in columns:
            counts.update(label_counts(column))
        named = list(order or ())
        others = [name for name in counts if name not in set(named)]
        names = tuple(named + sorted(others, key=_natural))
        return cls(names, tuple(counts[name] for name in names))

    def counted(self, classes: npt.NDArray[np.int64]) -> LabelSet:
        """Return the same names with the counts of these rows."""
        return LabelSet(self.names, tuple(np.bincount(classes, minlength=len(self)).tolist()))

    def __len__(self) -> int:
        return len(self.names)

    def ids(self, labels: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """Return the class of each label, [B]; -1 for a label outside."""
        import pyarrow.compute as pc  # it takes as long as a few predictions

        found = pc.index_in(labels, value_set=string_array(self.names))
        found = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
        found = found.fill_null(-1) if found.null_count else found
        classes: npt.NDArray[np.int64] = numbers_of(found).astype(np.int64)
        return classes


def _natural(name: str) -> tuple[int, int, str]:
    digits = name.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= INT_DIGITS:
        return (0, int(name), name)
    return (1, 0, name)

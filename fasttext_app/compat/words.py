"""``Words``: the methods of the original's models about words, subwords and their vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from fasttext_app.core.arrays import F32
from fasttext_app.fasttext.word_vectors import Neighbor, WordVectors
from fasttext_app.model.product_quantizer import Coded
from fasttext_app.text.hashing import reference_fnv1a


class Words:
    """Looks up words and their vectors."""

    vectors: WordVectors
    """The table, and the rows of each word."""

    @property
    def words(self) -> list[str]:
        """All words, the most frequent first."""
        return self.vectors.words

    def get_words(self, include_freq: bool = False, on_unicode_error: str = "strict") -> Any:
        """Return the words, and with ``include_freq`` their counts.

        Raises:
            UnicodeDecodeError: a word is not UTF-8, and ``on_unicode_error`` is ``strict``.
        """
        words = [decode_word(word, on_unicode_error) for word in self.words]
        return (words, self.vectors.encoder.vocabulary.counts) if include_freq else words

    def get_dimension(self) -> int:
        """Return the dimension of the vectors."""
        return self.vectors.dim

    def is_quantized(self) -> bool:
        """Return whether the table is in product codes."""
        return isinstance(self.vectors.table, Coded)

    def get_word_id(self, word: str) -> int:
        """Return the row of a word; -1 if it is unknown."""
        return self.vectors.encoder.vocabulary.row(word)

    def get_subword_id(self, subword: str) -> int:
        """Return the row of a character n-gram; -1 if it has none.

        Raises:
            ValueError: the model has no rows for n-grams.
        """
        buckets = self.vectors.encoder.buckets
        if not buckets.count:
            raise ValueError("get_subword_id: the model has no n-grams, so its bucket is 0")
        ngram_hash = reference_fnv1a(subword.encode("utf-8", "surrogateescape"))
        return buckets.find([ngram_hash])[0]

    def get_word_vector(self, word: str) -> F32:
        """Return the vector of a word, [D]."""
        return self.vectors.word(word)

    def get_sentence_vector(self, text: str) -> F32:
        """Return the vector of a line, [D].

        Raises:
            ValueError: the text has a line feed.
        """
        if "\n" in text:
            raise ValueError("predict processes one line at a time (remove '\\n')")
        return self.vectors.sentence(text)

    def get_subwords(self, word: str, on_unicode_error: str = "strict") -> Any:
        """Return (the word and its character n-grams, their rows)."""
        names, rows = self.vectors.subwords(word)
        return [decode_word(name, on_unicode_error) for name in names], np.array(rows, np.int64)

    def get_input_vector(self, ind: int) -> F32:
        """Return a row of the table, [D].

        Raises:
            ValueError: there is no such row.
        """
        rows = len(self.vectors.table)
        if not 0 <= ind < rows:
            raise ValueError(f"get_input_vector: row {ind} is out of range; there are {rows} rows")
        return np.array(self.vectors.rows([ind])[0])

    def get_input_matrix(self) -> F32:
        """Return the table, [V, D].

        Raises:
            ValueError: the model is quantized.
        """
        if self.is_quantized():
            raise ValueError("Can't get quantized Matrix")
        return np.array(self.vectors.table, np.float32)

    def get_nearest_neighbors(
        self, word: str, k: int = 10, on_unicode_error: str = "strict"
    ) -> list[Neighbor]:
        """Return (cosine similarity, word) of the k words nearest to a word."""
        return _decode_neighbors(self.vectors.nearest(word, k), on_unicode_error)

    def get_analogies(
        self,
        wordA: str,  # noqa: N803
        wordB: str,  # noqa: N803
        wordC: str,  # noqa: N803
        k: int = 10,
        on_unicode_error: str = "strict",
    ) -> list[Neighbor]:
        """Return (cosine similarity, word) of the k words nearest to A - B + C."""
        return _decode_neighbors(self.vectors.analogies(wordA, wordB, wordC, k), on_unicode_error)

    def __getitem__(self, word: str) -> F32:
        return self.get_word_vector(word)

    def __contains__(self, word: str) -> bool:
        return self.get_word_id(word) >= 0


def decode_word(word: str, errors: str) -> str:
    r"""Decode a word whose bytes may not be UTF-8, as the original does.

    >>> decode_word("caf\udce9", "replace")
    'caf�'
    """
    return word.encode("utf-8", "surrogateescape").decode("utf-8", errors)


def _decode_neighbors(neighbors: list[Neighbor], errors: str) -> list[Neighbor]:
    return [(similarity, decode_word(word, errors)) for similarity, word in neighbors]

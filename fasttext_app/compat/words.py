"""``Words``: what the original's models say of words, and of the rows that they have."""

from __future__ import annotations

from typing import Any

import numpy as np

from fasttext_app.core.arrays import F32
from fasttext_app.fasttext.word_vectors import Neighbor, WordVectors
from fasttext_app.model.product_quantizer import Coded
from fasttext_app.text.hashing import reference_fnv1a


class Words:
    """Looks up words.

    Args:
        vectors: the rows, and which of them a word has.
    """

    def __init__(self, vectors: WordVectors) -> None:
        self.vectors = vectors

    @property
    def words(self) -> list[str]:
        """All words, the most frequent first."""
        return self.vectors.words

    def get_words(self, include_freq: bool = False, on_unicode_error: str = "strict") -> Any:
        """Return the words, and with ``include_freq`` their counts.

        Raises:
            UnicodeDecodeError: one is no UTF-8, and ``on_unicode_error`` is ``strict``.
        """
        words = [decoded(word, on_unicode_error) for word in self.words]
        return (words, self.vectors.encoder.vocabulary.counts) if include_freq else words

    def get_dimension(self) -> int:
        """Return the numbers of a vector."""
        return self.vectors.dim

    def is_quantized(self) -> bool:
        """Return whether the table is in codes."""
        return isinstance(self.vectors.table, Coded)

    def get_word_id(self, word: str) -> int:
        """Return the row of a word, -1 for an unknown one."""
        return self.vectors.encoder.vocabulary.row(word)

    def get_subword_id(self, subword: str) -> int:
        """Return the row of a character n-gram, -1 where it has none."""
        value = reference_fnv1a(subword.encode("utf-8", "surrogateescape"))
        hashed = self.vectors.encoder.hashed
        return next(iter(hashed.rows([value]) if hashed.bucket else []), -1)

    def get_word_vector(self, word: str) -> F32:
        """Return the vector of a word."""
        return self.vectors.word(word)

    def get_sentence_vector(self, text: str) -> F32:
        """Return the vector of a line.

        Raises:
            ValueError: the text has a line feed.
        """
        if "\n" in text:
            raise ValueError("predict processes one line at a time (remove '\\n')")
        return self.vectors.sentence(text)

    def get_subwords(self, word: str, on_unicode_error: str = "strict") -> Any:
        """Return (the word and its character n-grams, their rows)."""
        names, rows = self.vectors.subwords(word)
        return [decoded(name, on_unicode_error) for name in names], np.array(rows, np.int64)

    def get_input_vector(self, ind: int) -> F32:
        """Return a row of the table."""
        return np.array(self.vectors.rows([ind])[0])

    def get_input_matrix(self) -> F32:
        """Return the table, [V, D].

        Raises:
            ValueError: it is in codes.
        """
        if self.is_quantized():
            raise ValueError("Can't get quantized Matrix")
        return np.array(self.vectors.table, np.float32)

    def get_nearest_neighbors(
        self, word: str, k: int = 10, on_unicode_error: str = "strict"
    ) -> list[tuple[float, str]]:
        """Return (cosine, word) of the nearest words."""
        return _neighbors(self.vectors.nearest(word, k), on_unicode_error)

    def get_analogies(
        self,
        wordA: str,  # noqa: N803
        wordB: str,  # noqa: N803
        wordC: str,  # noqa: N803
        k: int = 10,
        on_unicode_error: str = "strict",
    ) -> list[tuple[float, str]]:
        """Return (cosine, word) of what is nearest to A - B + C."""
        return _neighbors(self.vectors.analogies(wordA, wordB, wordC, k), on_unicode_error)

    def __getitem__(self, word: str) -> F32:
        return self.get_word_vector(word)

    def __contains__(self, word: str) -> bool:
        return self.get_word_id(word) >= 0


def decoded(name: str, errors: str) -> str:
    """Decode a word as the original does, which keeps bytes: ``errors`` is for no UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", errors)


def _neighbors(found: list[Neighbor], errors: str) -> list[Neighbor]:
    return [(score, decoded(name, errors)) for score, name in found]

"""Term weighting: how much each id of a text counts, as EmbeddingBag's ``per_sample_weights``.

``tfidf`` weighs id ``i`` of a text by its inverse document frequency, and scales the weights of
the text to a sum of 1, so that a bag is a weighted mean and long texts do not get longer vectors.
The frequency of an id *within* a text is there already: an id that occurs twice is added twice.

    idf(i) = ln((1 + texts) / (1 + texts with i)) + 1
    w(i)   = idf(i) / sum of idf over the ids of the text
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fasttext_app.text.ragged import Ragged

__all__ = ["Occurrences", "inverse_document_frequency", "tfidf_weights"]

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Occurrences:
    """How often each table row occurs in the training texts."""

    texts: int
    counts: npt.NDArray[np.int32]  # [rows], all occurrences
    texts_with: npt.NDArray[np.int32]  # [rows], texts that have the row

    @classmethod
    def count(cls, parts: Iterable[Ragged], rows: int) -> Occurrences:
        """Count the ids of all ``parts``."""
        from fasttext_app.text.kernels import count_texts

        texts, found = 0, np.zeros((rows, 3), dtype=np.int32)  # a row's figures are in one place
        for bags in parts:
            count_texts(bags.indices, bags.offsets, found, texts)
            texts += len(bags)
        return cls(texts, found[:, 0].copy(), found[:, 1].copy())

    def take(self, rows: npt.NDArray[np.int64]) -> Occurrences:
        """Return the figures of these rows alone."""
        return Occurrences(self.texts, self.counts[rows], self.texts_with[rows])


def inverse_document_frequency(found: Occurrences) -> F32:
    """Return the idf of every table row, [rows]."""
    return (np.log((1 + found.texts) / (1 + found.texts_with)) + 1).astype(np.float32)


def tfidf_weights(bags: Ragged, idf: F32) -> F32:
    """Return the weight of every id, [N]; those of one text sum to 1."""
    weights = idf[bags.indices]
    full = np.flatnonzero(bags.lengths)
    if not len(full):
        return weights
    sums = np.add.reduceat(weights, bags.offsets[:-1][full])
    scaled: F32 = weights / np.repeat(sums, bags.lengths[full])
    return scaled

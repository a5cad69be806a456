"""Term weighting: how much each id of a text counts, as EmbeddingBag's ``per_sample_weights``.

``tfidf`` weighs id ``i`` of a text by its inverse document frequency, and scales the weights of
the text to a sum of 1, so that a bag is a weighted mean and long texts do not get longer vectors.
The frequency of an id *within* a text is there already: an id that occurs twice is added twice.

    idf(i) = ln((1 + texts) / (1 + texts with i)) + 1
    w(i)   = idf(i) / sum of idf over the ids of the text
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fasttext_app.text.ragged import Ragged

__all__ = ["inverse_document_frequency", "tfidf_weights"]

CHUNK_TEXTS = 65_536  # sorted at a time, to find each (text, id) once

F32 = npt.NDArray[np.float32]


def inverse_document_frequency(bags: Ragged, rows: int) -> F32:
    """Return the idf of every table row, [rows], from the training texts."""
    frequency = np.zeros(rows, dtype=np.int64)  # texts with the id
    for start in range(0, len(bags), CHUNK_TEXTS):
        offsets = bags.offsets[start : start + CHUNK_TEXTS + 1]
        text_of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        once = np.unique(text_of * rows + bags.indices[offsets[0] : offsets[-1]])
        frequency += np.bincount(once % rows, minlength=rows)
    return (np.log((1 + len(bags)) / (1 + frequency)) + 1).astype(np.float32)


def tfidf_weights(bags: Ragged, idf: F32) -> F32:
    """Return the weight of every id, [N]; those of one text sum to 1."""
    weights = idf[bags.indices]
    full = np.flatnonzero(bags.lengths)
    if not len(full):
        return weights
    sums = np.add.reduceat(weights, bags.offsets[:-1][full])
    scaled: F32 = weights / np.repeat(sums, bags.lengths[full])
    return scaled

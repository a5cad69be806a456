"""Term weighting: how much each id of a text counts, as EmbeddingBag's ``per_sample_weights``.

``tfidf`` weighs id ``i`` of a text by its inverse document frequency, and scales the weights of
the text to a sum of 1, so that a bag is a weighted mean and long texts do not get longer vectors.
The frequency of an id *within* a text is there already: an id that occurs twice is added twice.

    idf(i) = ln((1 + texts) / (1 + texts with i)) + 1
    w(i)   = idf(i) / sum of idf over the ids of the text
"""

from __future__ import annotations

from dataclasses import dataclass
from queue import LifoQueue

import numpy as np

from fasttext_app.core.arrays import F32, I32, I64
from fasttext_app.core.ragged import Ragged

MOST_TABLES, TABLE_BYTES = 4, 1 << 28  # more of them would be slow to fill and to add up


@dataclass(frozen=True)
class Occurrences:
    """How often each table row occurs in the training texts."""

    texts: int
    counts: I32  # [rows], all occurrences
    texts_with: I32  # [rows], texts that have the row

    def take(self, rows: I64) -> Occurrences:
        """Return the figures of these rows alone."""
        return Occurrences(self.texts, self.counts[rows], self.texts_with[rows])


class OccurrenceCounter:
    """Counts the ids of texts; on any number of threads, each of which has a table to add to.

    A thread waits where there is no table left for it.

    Args:
        rows: of the embedding table.

    >>> counter = OccurrenceCounter(3)
    >>> counter.add(Ragged.from_lists([[2, 0, 2], [2]], np.int32), 0)
    >>> found = counter.found(texts=2)
    >>> found.counts.tolist(), found.texts_with.tolist()
    ([1, 0, 3], [1, 0, 2])
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._tables = max(min(TABLE_BYTES // (12 * max(rows, 1)), MOST_TABLES), 1)
        # Those that no thread adds to, the last one first: None is made only where it is needed.
        self._free: LifoQueue[I32 | None] = LifoQueue()
        for _ in range(self._tables):
            self._free.put(None)

    def add(self, bags: Ragged, first: int) -> None:
        """Count the ids of some texts, which are numbered from ``first`` among all."""
        from fasttext_app.text.kernels import count_texts

        table = self._free.get()
        try:
            if table is None:  # a row's figures are in one place
                table = np.zeros((self._rows, 3), dtype=np.int32)
            count_texts(bags.indices, bags.offsets, table, first)
        finally:
            self._free.put(table)

    def found(self, texts: int) -> Occurrences:
        """Return what was counted in all, and end; ``texts`` is how many there were."""
        tables = [table for _ in range(self._tables) if (table := self._free.get()) is not None]
        total = tables.pop() if tables else np.zeros((self._rows, 3), dtype=np.int32)
        while tables:
            total[:, :2] += tables.pop()[:, :2]
        return Occurrences(texts, total[:, 0], total[:, 1])


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

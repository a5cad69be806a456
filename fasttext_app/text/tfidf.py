"""Term weighting: the weight of each id in its bag, EmbeddingBag's ``per_sample_weights``.

``tfidf`` weights an id by its inverse document frequency, scaled so that the weights of a text sum
to 1: a bag is a weighted mean, and long texts do not get longer vectors. The frequency of an id
*within* a text needs no weight, because an id that occurs twice is added twice.

    idf(i) = ln((1 + texts) / (1 + texts with i)) + 1
    w(i)   = idf(i) / sum of idf over the ids of the text
"""

from __future__ import annotations

from dataclasses import dataclass
from queue import LifoQueue

import numpy as np

from fasttext_app.core.arrays import F32, I32
from fasttext_app.core.ragged import Ragged
from fasttext_app.errors import TrainingError
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.vocabulary import WordCounts

WORDS = 1 << 14
"""Words whose character n-grams are counted at a time."""
MAX_TABLES, TABLE_BYTES = 4, 1 << 28  # more and larger ones would be slow to clear and to add up


@dataclass(frozen=True)
class Occurrences:
    """The number of occurrences of each table row in the training texts."""

    texts: int
    counts: I32  # [rows], all occurrences
    text_counts: I32  # [rows], texts that have the row


class OccurrenceCounter:
    """Counts the ids of texts, on any number of threads.

    Each thread adds to a table of its own. With more threads than tables, threads wait.

    Args:
        rows: the number of rows of the embedding table.

    >>> counter = OccurrenceCounter(3)
    >>> counter.add(Ragged.from_lists([[2, 0, 2], [2]], np.int32), 0)
    >>> total = counter.total(texts=2)
    >>> total.counts.tolist(), total.text_counts.tolist()
    ([1, 0, 3], [1, 0, 2])
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._tables = max(min(TABLE_BYTES // (12 * max(rows, 1)), MAX_TABLES), 1)
        # The tables that no thread is using, the last used one first; None: not allocated yet.
        self._free: LifoQueue[I32 | None] = LifoQueue()
        for _ in range(self._tables):
            self._free.put(None)

    def add(self, bags: Ragged, first: int) -> None:
        """Count the ids of some texts; ``first`` is the index of the first one among all texts.

        Raises:
            TrainingError: there is not enough memory.
        """
        from fasttext_app.text.kernels import count_rows

        table = self._free.get()
        try:
            if table is None:  # the three numbers of a row are side by side, for the cache
                table = _zeros(self._rows, 3)
            count_rows(bags.indices, bags.offsets, table, first)
        finally:
            self._free.put(table)

    def total(self, texts: int) -> Occurrences:
        """Return the counts over all ``texts`` texts; the counter cannot be used any more."""
        tables = [table for _ in range(self._tables) if (table := self._free.get()) is not None]
        total = tables.pop() if tables else _zeros(self._rows, 3)
        while tables:
            total[:, :2] += tables.pop()[:, :2]
        return Occurrences(texts, total[:, 0], total[:, 1])


def _zeros(rows: int, *columns: int) -> I32:
    try:
        return np.zeros((rows, *columns), np.int32)
    except MemoryError:
        raise TrainingError(
            f"not enough memory to count the n-grams of {rows:,} rows; lower text.bucket"
        ) from None


def char_ngram_counts(encoder: TextEncoder, words: WordCounts) -> I32:
    """Count the character n-grams of texts by the texts' words, [rows]; words count as 0.

    A word has the same character n-grams wherever it occurs, so each distinct word is encoded once.

    Args:
        encoder: the encoder of the texts.
        words: the words of the texts, and how often each occurs.

    Raises:
        TrainingError: there is not enough memory.
    """
    counts = _zeros(encoder.rows)
    for start in range(0, len(words.words) if encoder.maxn else 0, WORDS):
        bags = encoder.encode_words(words.words.slice(start, WORDS))
        repeats = words.counts[start : start + WORDS].astype(np.int32)
        np.add.at(counts, bags.indices, np.repeat(repeats, bags.lengths))
    counts[: len(encoder.vocabulary)] = 0
    return counts


def inverse_document_frequency(occurrences: Occurrences) -> F32:
    """Return the idf of every table row, [rows]."""
    ratios = (1 + occurrences.texts) / (1 + occurrences.text_counts)
    return (np.log(ratios) + 1).astype(np.float32)


def balance_families(
    idf: F32, occurrences: Occurrences, char_counts: I32, char_share: float
) -> F32:
    """Scale the idf of character n-grams, so that they have a given share of all weight.

    A word has many more character n-grams than word n-grams. Unscaled, they would leave the words
    little of the weight of a text. A bucket that both share counts as what it is more often.

    Args:
        idf: the idf of every row, [rows].
        occurrences: the occurrences of all ids.
        char_counts: the occurrences of character n-grams only, [rows].
        char_share: the total weight of the character n-grams over that of all other ids.

    >>> idf = np.array([1.0, 2.0, 1.0], np.float32)
    >>> all_ids = Occurrences(2, np.array([2, 1, 8], np.int32), np.array([2, 1, 2], np.int32))
    >>> balance_families(idf, all_ids, np.array([0, 0, 8], np.int32), 1.0).tolist()
    [1.0, 2.0, 0.5]
    """
    is_char = 2 * char_counts.astype(np.int64) > occurrences.counts
    weights = occurrences.counts * idf.astype(np.float64)
    char_weight, other_weight = weights[is_char].sum(), weights[~is_char].sum()
    if not (char_weight and other_weight):
        return idf
    scale = np.where(is_char, char_share * other_weight / char_weight, 1.0)
    return (idf * scale).astype(np.float32)


def tfidf_weights(bags: Ragged, idf: F32) -> F32:
    """Return the weight of every id, [N]; the weights of a text sum to 1."""
    weights = idf[bags.indices]
    not_empty = np.flatnonzero(bags.lengths)
    if not len(not_empty):
        return weights
    sums = np.add.reduceat(weights, bags.offsets[:-1][not_empty])
    scaled: F32 = weights / np.repeat(sums, bags.lengths[not_empty])
    return scaled

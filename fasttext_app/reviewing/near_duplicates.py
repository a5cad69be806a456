"""Near-duplicates: texts that share most of their words and pairs of adjacent words.

Candidates come from MinHash (Broder 1997) with bands; each is then compared exactly, by the Jaccard
similarity of the sets of its words and pairs of words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import I64, Array, mix_bits
from fasttext_app.text.chunks import as_chunks
from fasttext_app.text.rewriting import Rewriting
from fasttext_app.text.tokenizers import Tokenizer, load_tokenizer
from fasttext_app.text.tokens import Tokens

BANDS, ROWS_PER_BAND = 12, 4
SIMILAR = 0.7
"""The least Jaccard similarity of near-duplicates; MinHash misses 4 % of the pairs at it."""


def near_duplicates(texts: pa.ChunkedArray) -> I64:
    """Return a number for each text, [N]: near-duplicates of one another have the same.

    A text without words is like no other.

    >>> texts = pa.chunked_array([["The bank fell by 5 % today", "a goal", "the bank fell by 5 %"]])
    >>> near_duplicates(texts).tolist()
    [0, 1, 0]
    """
    tokenizer = load_tokenizer("unicode", rewriting=Rewriting(lowercase=True))
    parts = [_signatures(tokenizer(chunk)) for chunk in as_chunks(texts)]
    signatures = np.concatenate([part for part, _ in parts])
    has_words = np.concatenate([lengths > 0 for _, lengths in parts])
    groups = np.arange(len(texts))
    shingles = _Shingles(texts, tokenizer)
    for first, second in _candidates(signatures, np.flatnonzero(has_words)):
        one, other = _root(groups, first), _root(groups, second)
        if one != other and shingles.similarity(first, second) >= SIMILAR:
            groups[max(one, other)] = min(one, other)
    return np.array([_root(groups, row) for row in range(len(groups))], np.int64)


def _signatures(tokens: Tokens) -> tuple[Array, I64]:
    """Return the MinHash values of each text, [B, bands * rows], and its number of words."""
    lengths = tokens.lengths
    words = tokens.words.hashes.astype(np.uint64)[tokens.codes]
    pairs = words.copy()  # the last word of a text has no pair, and stands for itself
    inner = np.ones(len(words), bool)
    inner[tokens.offsets[1:][lengths > 0] - 1] = False
    places = np.flatnonzero(inner)
    pairs[places] = (words[places] << np.uint64(32)) | words[places + 1]
    count = BANDS * ROWS_PER_BAND
    signatures = np.zeros((len(lengths), count), np.uint64)
    starts = tokens.offsets[:-1][lengths > 0]
    seeds = np.random.default_rng(0).integers(0, 2**63, count, dtype=np.uint64)
    for column, seed in enumerate(seeds if len(starts) else ()):
        lowest = np.minimum(mix_bits(words ^ seed), mix_bits(pairs ^ seed))
        signatures[lengths > 0, column] = np.minimum.reduceat(lowest, starts)
    return signatures, lengths


def _candidates(signatures: Array, rows: I64) -> Iterator[tuple[int, int]]:
    """Yield pairs of rows with an equal band, each once: a row with the first and the one before.

    A group of many rows gives two pairs for each row, not all of its pairs.
    """
    seen: set[tuple[int, int]] = set()
    for start in range(0, signatures.shape[1], ROWS_PER_BAND):
        band = signatures[rows, start : start + ROWS_PER_BAND]
        _, group = np.unique(band, axis=0, return_inverse=True)
        group = group.ravel()
        order = np.argsort(group, kind="stable")
        is_first = np.diff(group[order], prepend=-1) != 0
        firsts = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
        for place in np.flatnonzero(~is_first).tolist():
            row = int(rows[order[place]])
            for other in (int(rows[order[firsts[place]]]), int(rows[order[place - 1]])):
                if (other, row) not in seen:
                    seen.add((other, row))
                    yield other, row


class _Shingles:
    """The sets of words and pairs of words of texts, made when they are asked for."""

    def __init__(self, texts: pa.ChunkedArray, tokenizer: Tokenizer) -> None:
        self._texts, self._tokenizer = texts, tokenizer
        self._sets: dict[int, frozenset[object]] = {}

    def similarity(self, first: int, second: int) -> float:
        """Return the Jaccard similarity of two texts."""
        one, other = self._set(first), self._set(second)
        return len(one & other) / max(len(one | other), 1)

    def _set(self, row: int) -> frozenset[object]:
        if row not in self._sets:
            (words,) = self._tokenizer.split([self._texts[row].as_py()])
            self._sets[row] = frozenset(self._all(words))
        return self._sets[row]

    @staticmethod
    def _all(words: list[str]) -> Iterable[object]:
        yield from words
        yield from pairwise(words)


def _root(groups: I64, row: int) -> int:
    """Return the first row of a group, and shorten the way to it."""
    while groups[row] != row:
        groups[row] = groups[groups[row]]
        row = int(groups[row])
    return row

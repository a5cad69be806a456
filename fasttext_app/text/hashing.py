"""Hashes of words and n-grams: FNV-1a as in fastText, chained for word n-grams.

Every rule is specified to the byte, so a saved model means the same on every machine:

- A string hashes to 32 bits by FNV-1a over its UTF-8 bytes, each byte *sign-extended* before the
  XOR (a quirk of fastText, kept so that models can be exchanged).
- The hash of a word n-gram starts as the hash of its first word, sign-extended to 64 bits. Each
  further word makes it ``hash * 116049371 + next`` modulo 2^64, with ``next`` sign-extended, too.
- Character n-grams are substrings of ``<word>``, counted in characters, not bytes; a boundary sign
  alone is not one.
- The bucket of an n-gram is ``hash % bucket``, its row ``V + bucket`` (see ``buckets.py``).

Source: Joulin et al. (2016), "Bag of Tricks for Efficient Text Classification", and fastText's
published model format. The functions here are reference implementations that take one item at a
time, and ``char_ngram_hashes`` in NumPy. They encode a few texts; ``kernels.py`` does the same for
columns in compiled code (``hash_words``, ``char_ngram_hashes``, ``emit_rows``), and tests check
that all agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from fasttext_app.core.arrays import I64, U32

FNV_OFFSET, FNV_PRIME = 2166136261, 16777619
CHAIN, MASK64 = 116049371, 2**64 - 1


def reference_fnv1a(data: bytes, state: int = FNV_OFFSET) -> int:
    """Hash bytes to 32 bits, continuing from ``state``.

    >>> reference_fnv1a(b""), reference_fnv1a(b"a")
    (2166136261, 3826002220)
    """
    for byte in data:
        extended = byte | 0xFFFFFF00 if byte >= 128 else byte
        state = ((state ^ extended) * FNV_PRIME) & 0xFFFFFFFF
    return state


def reference_word_ngrams(tokens: list[str], longest: int) -> list[tuple[str, int]]:
    """Return every word n-gram of 2 to ``longest`` words with its 64-bit hash.

    N-grams are ordered by their first word, shorter ones first.

    >>> [ngram for ngram, _ in reference_word_ngrams(["a", "b", "c"], 3)]
    ['a b', 'a b c', 'b c']
    """
    hashes = word_ngram_hashes(
        [signed(reference_fnv1a(token.encode())) for token in tokens], longest
    )
    names = [
        " ".join(tokens[start : start + length])
        for start in range(len(tokens))
        for length in range(2, min(longest, len(tokens) - start) + 1)
    ]
    return list(zip(names, hashes, strict=True))


def word_ngram_hashes(word_hashes: list[int], longest: int) -> list[int]:
    """Return the 64-bit hash of every word n-gram of 2 to ``longest`` words, in the same order.

    Args:
        word_hashes: the hash of each word of a text, as a signed number.
        longest: the maximum length of n-grams.
    """
    if longest == 2:  # the common case, faster on its own
        return [(first * CHAIN + second) & MASK64 for first, second in pairwise(word_hashes)]
    ngram_hashes = []
    for start, state in enumerate(word_hashes if longest > 1 else []):
        for word_hash in word_hashes[start + 1 : start + longest]:
            state = (state * CHAIN + word_hash) & MASK64
            ngram_hashes.append(state)
    return ngram_hashes


def reference_char_ngrams(word: str, minn: int, maxn: int) -> list[tuple[str, int]]:
    """Return the character n-grams of ``<word>`` with their 32-bit hashes.

    N-grams are ordered by their start, shorter ones first.

    >>> [ngram for ngram, _ in reference_char_ngrams("ab", 2, 3)]
    ['<a', '<ab', 'ab', 'ab>', 'b>']
    """
    marked = f"<{word}>".encode("utf-8", "surrogateescape")
    # The first byte of each character; a UTF-8 continuation byte is 10xxxxxx.
    starts = [index for index, byte in enumerate(marked) if byte & 0xC0 != 0x80] + [len(marked)]
    ngrams = []
    for start in range(len(starts) - 1):
        for length in range(max(minn, 1), min(maxn, len(starts) - 1 - start) + 1):
            if length > 1 or 0 < start < len(starts) - 2:
                ngram = marked[starts[start] : starts[start + length]]
                ngrams.append((ngram.decode("utf-8", "surrogateescape"), reference_fnv1a(ngram)))
    return ngrams


def char_ngram_hashes(words: Sequence[bytes], minn: int, maxn: int) -> tuple[U32, I64]:
    """Return the hashes of :func:`reference_char_ngrams` of many words, [N], and offsets [W+1].

    >>> hashes, offsets = char_ngram_hashes([b"ab", b"c"], 2, 3)
    >>> hashes[offsets[1] :].tolist() == [value for _, value in reference_char_ngrams("c", 2, 3)]
    True
    """
    if maxn < max(minn, 1):
        return np.empty(0, np.uint32), np.zeros(len(words) + 1, np.int64)
    data = np.frombuffer(b"".join(b"<%b>" % word for word in words), np.uint8)
    extended = data.astype(np.int8).astype(np.int32).view(np.uint32)
    # Characters of all words: their first bytes and widths, and the word that each is of.
    starts = np.flatnonzero(data & 0xC0 != 0x80)
    widths = np.diff(starts, append=len(data))
    ends = np.cumsum([len(word) + 2 for word in words], dtype=np.int64)
    last_of_word = np.searchsorted(starts, ends) - 1
    word_of = np.searchsorted(last_of_word, np.arange(len(starts)))
    last = last_of_word[word_of]
    is_sign = (np.arange(len(starts)) == last) | (np.diff(word_of, prepend=-1) > 0)
    # Extend the n-gram that begins at each character by one character after the other.
    states, hashes, masks = np.full(len(starts), FNV_OFFSET, np.uint32), [], []
    for length in range(1, maxn + 1):
        character = np.arange(length - 1, len(starts) + length - 1)
        is_inside = character <= last
        character = np.minimum(character, len(starts) - 1)
        for offset in range(int(widths.max(initial=0))):
            has_byte = is_inside & (offset < widths[character])
            positions = np.minimum(starts[character] + offset, len(data) - 1)
            extended_states = (states ^ extended[positions]) * np.uint32(FNV_PRIME)
            states = np.where(has_byte, extended_states, states)
        if length >= minn:
            hashes.append(states)
            masks.append(is_inside & ~is_sign if length == 1 else is_inside)
    mask = np.stack(masks, axis=1)
    counts = np.bincount(word_of, mask.sum(axis=1), len(words))
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return np.stack(hashes, axis=1)[mask], offsets


def signed(hash32: int) -> int:
    """Read 32 bits as a number from -2^31 to 2^31 - 1."""
    return hash32 - 2**32 if hash32 >= 2**31 else hash32

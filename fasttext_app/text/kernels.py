"""The text path in compiled code: one pass from bytes to word codes, one from codes to row ids.

Each kernel does what a plain function does elsewhere, and tests hold the two equal:

=================  =============================================================================
``hash_words``     ``hashing.reference_fnv1a``
``find_words``     ``Vocabulary.row``
``char_hashes``    ``hashing.reference_char_ngrams``
``emit_rows``      ``TextEncoder.encode_few``
=================  =============================================================================

Shapes: **N** tokens, **B** texts, **W** distinct words, **V** vocabulary words. Strings are Arrow's
own buffers, UTF-8 bytes and offsets [W + 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasttext_app.core.arrays import I32, I64, U8, U32, U64
from fasttext_app.core.jit import compiled
from fasttext_app.core.prefetch import PREFETCH_DISTANCE, prefetch_row, prefetch_row_for_write
from fasttext_app.text.token_kernels import EXTENDED, MASK32, ONE, PRIME, SEED, same_bytes

LONG, ROW = np.uint64(1 << 31), np.uint64((1 << 31) - 1)
CHAIN, QUADS = np.uint64(116049371), np.uint64(0x3333333333333333)


@compiled
def hash_words(data: U8, bounds: I32) -> U32:
    """Hash every word to 32 bits, [W]."""
    hashes = np.empty(len(bounds) - 1, dtype=np.uint32)
    for word in range(len(hashes)):
        state = SEED
        for at in range(bounds[word], bounds[word + 1]):
            state = ((state ^ EXTENDED[data[at]]) * PRIME) & MASK32
        hashes[word] = state
    return hashes


@compiled
def _key(data: U8, start: Any, end: Any, hashed: Any) -> tuple[Any, Any]:
    """Return what a word is looked up by, in two halves.

    They are its first eight bytes, where a shorter one has its length in place of the eighth; and
    its hash, with a bit for a word that goes on after those.
    """
    head = np.uint64(0)
    for step in range(min(end - start, 8)):
        head |= np.uint64(data[start + step]) << np.uint64(8 * step)
    tail = np.uint64(hashed) << np.uint64(32)
    if end - start < 8:
        return head | np.uint64(end - start) << np.uint64(56), tail
    return head, tail | LONG


@compiled
def index_words(data: U8, bounds: I32, hashes: U32) -> U64:
    """Return the look-up table of a vocabulary, for :func:`find_words`.

    Of every slot it has the two halves of a word's key, with its row + 1 added to the second.
    """
    mask = 4095
    while mask < 2 * len(hashes):
        mask = 2 * mask + 1
    slots = np.zeros((mask + 1, 2), dtype=np.uint64)
    for word in range(len(hashes)):
        slot = np.int64(hashes[word]) & mask
        while slots[slot, 1] != 0:
            slot = (slot + 1) & mask
        head, tail = _key(data, bounds[word], bounds[word + 1], hashes[word])
        slots[slot, 0], slots[slot, 1] = head, tail | np.uint64(word + 1)
    return slots


@compiled
def find_words(slots: U64, known: U8, known_bounds: I32, data: U8, bounds: I32, hashes: U32) -> I32:
    """Return the vocabulary row of every word, [W]; -1 for a word outside."""
    rows = np.empty(len(hashes), dtype=np.int32)
    mask = len(slots) - 1
    for word in range(len(hashes)):
        rows[word] = -1
        if word + PREFETCH_DISTANCE < len(hashes):
            prefetch_row(slots, np.int64(hashes[word + PREFETCH_DISTANCE]) & mask)
        start, end = bounds[word], bounds[word + 1]
        head, tail = _key(data, start, end, hashes[word])
        slot = np.int64(hashes[word]) & mask
        while slots[slot, 1] != 0:
            if slots[slot, 0] == head and slots[slot, 1] & ~ROW == tail:
                row = np.int64(slots[slot, 1] & ROW) - 1
                if end - start < 8 or (
                    known_bounds[row + 1] - known_bounds[row] == end - start
                    and same_bytes(data, start + 8, end, known, known_bounds[row] + 8)
                ):
                    rows[word] = row
                    break
            slot = (slot + 1) & mask
    return rows


@compiled
def char_hashes(data: U8, bounds: I32, minn: int, maxn: int, skipped: int = -1) -> tuple[U32, I64]:
    """Hash the character n-grams of each ``<word>``, by where they begin, shorter ones first.

    Args:
        data: the bytes of the words.
        bounds: where each begins and ends, [W + 1].
        minn: the shortest n-gram, in characters.
        maxn: the longest.
        skipped: the number of a word that has none; -1: all words have.

    Returns:
        The hashes end to end, and the offsets of every word's, [W + 1].
    """
    words = len(bounds) - 1
    offsets = np.zeros(words + 1, dtype=np.int64)
    longest = 0
    for word in range(words):
        characters = 2
        for at in range(bounds[word], bounds[word + 1]):
            characters += (data[at] & 0xC0) != 0x80
        longest = max(longest, bounds[word + 1] - bounds[word])
        count = 0
        for length in range(max(minn, 1), 0 if word == skipped else maxn + 1):
            count += max(characters - 2 if length == 1 else characters - length + 1, 0)
        offsets[word + 1] = offsets[word] + count
    hashes = np.empty(offsets[words], dtype=np.uint32)
    marked = np.empty(longest + 2, dtype=np.uint8)
    begins = np.empty(longest + 3, dtype=np.int64)
    made = 0
    for word in range(words):
        size = bounds[word + 1] - bounds[word] + 2
        marked[0], marked[size - 1] = 60, 62
        marked[1 : size - 1] = data[bounds[word] : bounds[word + 1]]
        characters = 0
        for at in range(size):
            if (marked[at] & 0xC0) != 0x80:
                begins[characters] = at
                characters += 1
        begins[characters] = size
        for start in range(0 if word == skipped else characters):
            state = SEED
            for length in range(1, min(maxn, characters - start) + 1):
                for at in range(begins[start + length - 1], begins[start + length]):
                    state = ((state ^ EXTENDED[marked[at]]) * PRIME) & MASK32
                if length >= max(minn, 2) or (length >= minn and 0 < start < characters - 1):
                    hashes[made] = state
                    made += 1
    return hashes, offsets


@compiled
def _row(slot: Any, first: int, bits: U64, ranks: I32) -> Any:
    """Return the row of a bucket: each has its own, or only those whose bit is set."""
    if len(bits) == 0:
        return first + slot
    word, bit = bits[slot >> 6], np.uint64(slot & 63)
    if not (word >> bit) & ONE:
        return -1
    below = word & ((ONE << bit) - ONE)  # its set bits are counted by halves, quarters, ...
    below -= (below >> np.uint64(1)) & np.uint64(0x5555555555555555)
    below = (below & QUADS) + ((below >> np.uint64(2)) & QUADS)
    below = (below + (below >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    count = (below * np.uint64(0x0101010101010101)) >> np.uint64(56)
    return first + ranks[slot >> 6] + np.int64(count)


@compiled
def emit_rows(
    codes: I32,
    offsets: I64,
    word_rows: I32,
    hashes: U32,
    chars: U32,
    char_offsets: I64,
    longest: int,
    bucket: int,
    first: int,
    bits: U64,
    ranks: I32,
) -> tuple[I32, I64]:
    """Turn the word codes of every text into table rows: words, character and word n-grams.

    Args:
        codes: [N].
        offsets: the tokens of every text, [B + 1].
        word_rows: the row of each distinct word, -1 for none, [W].
        hashes: the FNV-1a hash of each distinct word, [W].
        chars: the hashes of the character n-grams of all distinct words, end to end.
        char_offsets: which of them are whose, [W + 1]; [1] where there are none.
        longest: the longest word n-gram.
        bucket: the hash space; at least 1.
        first: the first row of n-grams.
        bits: which buckets have a row (see :class:`HashSpace`); [0]: all have one.
        ranks: how many of them come before each word of ``bits``.

    Returns:
        Rows end to end, and the offsets of every text's rows, [B + 1].
    """
    with_chars = len(char_offsets) > 1
    char_rows = np.empty(len(chars), dtype=np.int32)  # once for each word, however often it occurs
    bounds = np.zeros(len(char_offsets), dtype=np.int64)
    made, space = 0, np.uint64(bucket)
    for word in range(len(char_offsets) - 1):
        for number in range(char_offsets[word], char_offsets[word + 1]):
            found = _row(np.int64(np.uint64(chars[number]) % space), first, bits, ranks)
            if found >= 0:
                char_rows[made] = found
                made += 1
        bounds[word + 1] = made
    most = len(codes) * longest
    if with_chars:
        for code in codes:
            most += bounds[code + 1] - bounds[code]
    rows = np.empty(most, dtype=np.int32)
    row_offsets = np.zeros(len(offsets), dtype=np.int64)
    made = 0
    for text in range(len(offsets) - 1):
        start, end = offsets[text], offsets[text + 1]
        for token in range(start, end):
            code = codes[token]
            row = word_rows[code]
            if row >= 0:
                rows[made] = row
                made += 1
            if with_chars:
                for at in range(bounds[code], bounds[code + 1]):
                    rows[made] = char_rows[at]
                    made += 1
        for token in range(start, end if longest > 1 else start):
            state = np.uint64(np.int64(np.int32(hashes[codes[token]])))
            for following in range(token + 1, min(token + longest, end)):
                added = np.uint64(np.int64(np.int32(hashes[codes[following]])))
                state = state * CHAIN + added
                found = _row(np.int64(state % space), first, bits, ranks)
                if found >= 0:
                    rows[made] = found
                    made += 1
        row_offsets[text + 1] = made
    # A copy, unless the array is nearly full: it may stay for long.
    return (rows[:made] if 4 * made > 3 * most else rows[:made].copy()), row_offsets


@compiled
def count_texts(rows: I32, offsets: I64, found: I32, first: int) -> None:
    """Count how often each row occurs, and in how many texts.

    Args:
        rows: the rows of all texts, end to end.
        offsets: those of every text, [B + 1].
        found: what to add to, for each row: all occurrences, texts, and the last text that had it,
            counted from 1; [V, 3].
        first: how many texts came before.
    """
    for text in range(len(offsets) - 1):
        for at in range(offsets[text], offsets[text + 1]):
            if at + PREFETCH_DISTANCE < len(rows):
                prefetch_row_for_write(found, rows[at + PREFETCH_DISTANCE])
            figures = found[rows[at]]
            figures[0] += 1
            if figures[2] != first + text + 1:
                figures[2] = first + text + 1
                figures[1] += 1

"""Compiled code from words to row ids: hash words, look them up, emit the rows of each text.

Each kernel has a reference implementation, and tests check that both agree:

=====================  =========================================================================
``hash_words``         ``hashing.reference_fnv1a``
``find_words``         ``Vocabulary.row``
``char_ngram_hashes``  ``hashing.reference_char_ngrams``
``emit_rows``          ``TextEncoder.encode_plain``
``count_features``     ``TextEncoder.count_features``, in plain Python
``encode_text``        the others, one after another, and ``code_column`` before them
=====================  =========================================================================

Shapes: **N** tokens, **B** texts, **W** distinct words, **V** table rows. Words are in Arrow's
layout: the UTF-8 bytes of word ``w`` are ``data[bounds[w]:bounds[w + 1]]``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasttext_app.core.arrays import I32, I64, U8, U32, U64
from fasttext_app.core.bits import high_product, set_bits
from fasttext_app.core.jit import compiled, inlined
from fasttext_app.core.prefetch import PREFETCH_DISTANCE, prefetch_row, prefetch_row_for_write
from fasttext_app.text.token_kernels import (
    BLANK,
    END_BYTES,
    END_HASH,
    MASK32,
    NOT_UTF8,
    ONE,
    PADDING,
    PRIME,
    SEED,
    SIGN_EXTENDED,
    SPELLINGS,
    fnv1a,
    read_word,
    same_bytes,
    spell,
)

LONG, ROW = np.uint64(1 << 31), np.uint64((1 << 31) - 1)
CHAIN, MOST = np.uint64(116049371), np.uint64(2**64 - 1)
MARKER = np.uint64(NOT_UTF8) << np.uint64(56)
"""What the head of a word of up to seven bytes has beside its length; see ``read_word``."""
OPENING, CLOSING = ord("<"), ord(">")


@compiled
def hash_words(data: U8, bounds: I32) -> U32:
    """Return the FNV-1a hash of every word, [W].

    >>> from fasttext_app.core.arrow import string_array, string_buffers
    >>> hash_words(*string_buffers(string_array(["", "a"]))).tolist()
    [2166136261, 3826002220]
    """
    hashes = np.empty(len(bounds) - 1, dtype=np.uint32)
    for word in range(len(hashes)):
        hashes[word] = fnv1a(data, bounds[word], bounds[word + 1])
    return hashes


@inlined
def _key(data: U8, start: Any, end: Any, word_hash: Any) -> tuple[Any, Any]:
    r"""Return the key of a word in the look-up table, as two 64-bit halves.

    The head has the first eight bytes, or up to seven bytes and the length. The tail has the hash
    in its upper half, and a bit for words of eight bytes or more. So the key of a short word
    identifies it; for a long word the bytes after the eighth must be compared, too::

        "be"        head b"be\0\0\0\0\0\2"   tail hash << 32
        "question"  head b"question"           tail hash << 32 | LONG
    """
    head = np.uint64(0)
    for step in range(min(end - start, 8)):
        head |= np.uint64(data[start + step]) << np.uint64(8 * step)
    tail = np.uint64(word_hash) << np.uint64(32)
    if end - start < 8:
        return head | np.uint64(end - start) << np.uint64(56), tail
    return head, tail | LONG


@compiled
def index_words(data: U8, bounds: I32, hashes: U32) -> U64:
    """Return the look-up table of a vocabulary for :func:`find_words`, [slots, 2].

    It is an open-addressing hash table with linear probing. A slot has the two halves of a word's
    key, with row + 1 added to the second half; an empty slot has zeros.

    >>> from fasttext_app.core.arrow import string_array, string_buffers
    >>> data, bounds = string_buffers(string_array(["be", "to"]))
    >>> slots = index_words(data, bounds, hash_words(data, bounds))
    >>> slots.shape, sorted((slots[:, 1] & ROW).tolist())[-3:]
    ((4096, 2), [0, 1, 2])
    """
    # A power of two of slots, at least half of them empty.
    mask = 4095
    while mask < 2 * len(hashes):
        mask = 2 * mask + 1
    slots = np.zeros((mask + 1, 2), dtype=np.uint64)

    # Put each word into the first empty slot, starting at the slot that its hash names.
    for word in range(len(hashes)):
        slot = np.int64(hashes[word]) & mask
        while slots[slot, 1] != 0:
            slot = (slot + 1) & mask
        head, tail = _key(data, bounds[word], bounds[word + 1], hashes[word])
        slots[slot, 0], slots[slot, 1] = head, tail | np.uint64(word + 1)
    return slots


@inlined
def _find_word(
    slots: U64, known_data: U8, known_bounds: I32, data: U8, start: Any, end: Any, key: Any
) -> Any:
    """Return the vocabulary row of the word ``data[start:end]``, which has this key; -1 if none."""
    head, tail = key
    # Probe from the slot that the hash names until the key matches or a slot is empty.
    mask = len(slots) - 1
    slot = np.int64(tail >> np.uint64(32)) & mask
    while slots[slot, 1] != 0:
        if slots[slot, 0] == head and slots[slot, 1] & ~ROW == tail:
            # The keys of long words can be equal by chance: compare the remaining bytes.
            row = np.int64(slots[slot, 1] & ROW) - 1
            if end - start < 8 or (
                known_bounds[row + 1] - known_bounds[row] == end - start
                and same_bytes(data, start + 8, end, known_data, known_bounds[row] + 8)
            ):
                return row
        slot = (slot + 1) & mask
    return np.int64(-1)


@compiled
def find_words(
    slots: U64, known_data: U8, known_bounds: I32, data: U8, bounds: I32, hashes: U32
) -> I32:
    """Return the vocabulary row of every word, [W]; -1 for an unknown word.

    Args:
        slots: the result of :func:`index_words` for the vocabulary.
        known_data: the bytes of the vocabulary's words.
        known_bounds: the bounds of the vocabulary's words.
        data: the bytes of the words to look up.
        bounds: the bounds of the words to look up, [W + 1].
        hashes: the FNV-1a hashes of the words to look up, [W].

    >>> from fasttext_app.core.arrow import string_array, string_buffers
    >>> known = string_buffers(string_array(["be", "to"]))
    >>> words = string_buffers(string_array(["to", "question"]))
    >>> slots = index_words(*known, hash_words(*known))
    >>> find_words(slots, *known, *words, hash_words(*words)).tolist()
    [1, -1]
    """
    rows = np.empty(len(hashes), dtype=np.int32)
    mask = len(slots) - 1
    for word in range(len(hashes)):
        if word + PREFETCH_DISTANCE < len(hashes):
            prefetch_row(slots, np.int64(hashes[word + PREFETCH_DISTANCE]) & mask)
        start, end = bounds[word], bounds[word + 1]
        key = _key(data, start, end, hashes[word])
        rows[word] = _find_word(slots, known_data, known_bounds, data, start, end, key)
    return rows


@compiled
def _hash_char_ngrams(marked: U8, size: Any, starts: I64, minn: Any, maxn: Any, hashes: U32) -> Any:
    """Write the hashes of one word's character n-grams, and return their number.

    Args:
        marked: ``<word>``.
        size: its length in bytes.
        starts: takes where each character starts.
        minn: the minimum length of n-grams, in characters.
        maxn: the maximum length of n-grams.
        hashes: takes the hashes.
    """
    characters = count = 0
    for index in range(size):
        if (marked[index] & 0xC0) != 0x80:  # not a continuation byte
            starts[characters] = index
            characters += 1
    starts[characters] = size
    # From each start, extend the hash character by character, and keep it at each length from minn
    # to maxn.
    for start in range(characters):
        state = SEED
        for length in range(1, min(maxn, characters - start) + 1):
            for index in range(starts[start + length - 1], starts[start + length]):
                state = ((state ^ SIGN_EXTENDED[marked[index]]) * PRIME) & MASK32
            if length >= max(minn, 2) or (length >= minn and 0 < start < characters - 1):
                hashes[count] = state
                count += 1
    return count


@compiled
def char_ngram_hashes(
    data: U8, bounds: I32, minn: int, maxn: int, excluded: int = -1
) -> tuple[U32, I64]:
    """Hash the character n-grams of each ``<word>``, ordered by their start, shorter ones first.

    Args:
        data: the bytes of the words.
        bounds: the bounds of the words, [W + 1].
        minn: the minimum length of n-grams, in characters.
        maxn: the maximum length of n-grams.
        excluded: the index of a word without n-grams; -1: none.

    Returns:
        The hashes of all words end to end, and the offsets of each word's hashes, [W + 1].

    >>> from fasttext_app.core.arrow import string_array, string_buffers
    >>> data, bounds = string_buffers(string_array(["ab", "c"]))
    >>> hashes, offsets = char_ngram_hashes(data, bounds, 3, 3, -1)  # <ab, ab> and <c>
    >>> hashes.tolist(), offsets.tolist()
    ([1218209508, 1699241756, 2358793410], [0, 2, 3])
    """
    # Count the n-grams of each word. A word of c characters, counting < and >, has c - n + 1
    # n-grams of length n; of length 1 it has c - 2, because < or > alone is not an n-gram.
    words = len(bounds) - 1
    offsets = np.zeros(words + 1, dtype=np.int64)
    longest = 0
    for word in range(words):
        characters = 2
        for index in range(bounds[word], bounds[word + 1]):
            characters += (data[index] & 0xC0) != 0x80  # not a continuation byte
        longest = max(longest, bounds[word + 1] - bounds[word])
        count = 0
        for length in range(max(minn, 1), 0 if word == excluded else maxn + 1):
            count += max(characters - 2 if length == 1 else characters - length + 1, 0)
        offsets[word + 1] = offsets[word] + count

    hashes = np.empty(offsets[words], dtype=np.uint32)
    marked = np.empty(longest + 2, dtype=np.uint8)
    starts = np.empty(longest + 3, dtype=np.int64)
    for word in range(words):
        if word == excluded:
            continue
        size = bounds[word + 1] - bounds[word] + 2
        marked[0], marked[size - 1] = OPENING, CLOSING
        for index in range(size - 2):
            marked[index + 1] = data[bounds[word] + index]
        _hash_char_ngrams(marked, size, starts, minn, maxn, hashes[offsets[word] :])
    return hashes, offsets


@inlined
def _bucket_row(bucket: Any, first_row: Any, bits: U64, ranks: I32) -> tuple[Any, Any]:
    """Return the row of a bucket, and 1 if it has one, else 0; without ``bits``, every bucket does.

    Rows are numbered from ``first_row`` in the order of the buckets that have one. So the row of a
    bucket adds the bits set in earlier words (``ranks``) and the bits set below it in its own word:
    with bits 0b1010 and first_row 100, bucket 3 has row 101.
    """
    if len(bits) == 0:
        return first_row + bucket, np.int64(1)
    word, bit = bits[bucket >> 6], np.uint64(bucket & 63)
    below = set_bits(word & ((ONE << bit) - ONE))
    return first_row + ranks[bucket >> 6] + np.int64(below), np.int64((word >> bit) & ONE)


@inlined
def _remainder(value: Any, divisor: Any, reciprocal: Any) -> Any:
    """Return ``value % divisor`` of 64-bit numbers; a division takes ten times as long.

    Args:
        value: the number.
        divisor: at least 1.
        reciprocal: ``MOST // divisor``.
    """
    # The estimated quotient is at most one too small.
    rest = value - high_product(value, reciprocal) * divisor
    return rest - divisor * np.uint64(rest >= divisor)


@inlined
def _signed(word_hash: Any) -> Any:
    """Return a hash of 32 bits, read as a signed number, as one of 64 bits."""
    return np.uint64(np.int64(np.int32(word_hash)))


@compiled
def count_features(
    codes: I32,
    offsets: I64,
    data: U8,
    bounds: I32,
    minn: int,
    maxn: int,
    longest: int,
    excluded: int,
) -> I64:
    """Count the words, character n-grams and word n-grams of each text, with or without a row.

    Args:
        codes: the code of every token, [N].
        offsets: the offsets of each text's tokens, [B + 1].
        data: the bytes of the distinct words.
        bounds: the bounds of the distinct words, [W + 1].
        minn: the minimum length of character n-grams, in characters.
        maxn: the maximum length of character n-grams; 0: none.
        longest: the maximum length of word n-grams; 1: none.
        excluded: the code of the word that is not counted, nor its character n-grams; -1: none.

    >>> from fasttext_app.text.tokens import Tokens
    >>> tokens = Tokens.from_lists([["ab", "c"], [], ["c"]])
    >>> words = tokens.words.data, tokens.words.bounds
    >>> count_features(tokens.codes, tokens.offsets, *words, 3, 3, 2, -1).tolist()
    [6, 0, 2]
    """
    # Of each distinct word: itself, and its n-grams as in char_ngram_hashes().
    of_word = np.ones(len(bounds) - 1, dtype=np.int64)
    if excluded >= 0:
        of_word[excluded] = 0
    for word in range(len(of_word) if maxn > 0 else 0):
        if word == excluded:
            continue
        characters = 2
        for index in range(bounds[word], bounds[word + 1]):
            characters += (data[index] & 0xC0) != 0x80
        for length in range(max(minn, 1), maxn + 1):
            of_word[word] += max(characters - 2 if length == 1 else characters - length + 1, 0)
    # Add them up for each text, and add the n-grams of 2 to `longest` words.
    counts = np.zeros(len(offsets) - 1, dtype=np.int64)
    for text in range(len(offsets) - 1):
        words = offsets[text + 1] - offsets[text]
        if maxn == 0 and excluded < 0:
            counts[text] = words
        else:
            for token in range(offsets[text], offsets[text + 1]):
                counts[text] += of_word[codes[token]]
        for length in range(2, longest + 1):
            counts[text] += max(words - length + 1, 0)
    return counts


@compiled
def emit_rows(
    codes: I32,
    offsets: I64,
    word_rows: I32,
    hashes: U32,
    ngram_hashes: U32,
    ngram_offsets: I64,
    longest: int,
    bucket_count: int,
    first_row: int,
    bits: U64,
    ranks: I32,
) -> tuple[I32, I64]:
    """Turn the word codes of each text into table rows: words with character n-grams, word n-grams.

    Args:
        codes: the code of every token, [N].
        offsets: the offsets of each text's tokens, [B + 1].
        word_rows: the row of each distinct word, -1 for none, [W].
        hashes: the FNV-1a hash of each distinct word, [W].
        ngram_hashes: the hashes of the character n-grams of the distinct words, end to end.
        ngram_offsets: the offsets of each word's n-grams, [W + 1]; [1] if there are none.
        longest: the maximum length of word n-grams; 1: none.
        bucket_count: the number of hash buckets, at least 1.
        first_row: the row of the first bucket that has one.
        bits: ``Buckets.bitmap``: a bit for each bucket that has a row; [0]: all have one.
        ranks: ``Buckets.bitmap``: the number of bits set before each word of ``bits``.

    Returns:
        The rows of all texts end to end, and the offsets of each text's rows, [B + 1].

    >>> from fasttext_app.text.tokens import Tokens
    >>> tokens = Tokens.from_lists([["to", "be"], [], ["see"]])  # codes 0 1 2
    >>> word_rows = np.array([1, 0, -1], np.int32)  # "see" is unknown
    >>> words = tokens.codes, tokens.offsets, word_rows, tokens.words.hashes
    >>> no_char_ngrams = np.empty(0, np.uint32), np.zeros(1, np.int64)
    >>> all_buckets = np.empty(0, np.uint64), np.empty(0, np.int32)
    >>> rows, offsets = emit_rows(*words, *no_char_ngrams, 2, 1000, 2, *all_buckets)
    >>> rows.tolist(), offsets.tolist()  # "to be": bucket 900, row 2 + 900
    ([1, 0, 902], [0, 3, 3, 3])
    """
    # The rows of each distinct word's character n-grams, once, however often the word occurs.
    has_char_ngrams = len(ngram_offsets) > 1
    char_rows = np.empty(len(ngram_hashes), dtype=np.int32)
    char_offsets = np.zeros(len(ngram_offsets), dtype=np.int64)
    count, buckets = 0, np.uint64(bucket_count)
    reciprocal = MOST // buckets
    for word in range(len(ngram_offsets) - 1):
        for ngram in range(ngram_offsets[word], ngram_offsets[word + 1]):
            bucket = np.int64(_remainder(np.uint64(ngram_hashes[ngram]), buckets, reciprocal))
            char_rows[count], has_row = _bucket_row(bucket, first_row, bits, ranks)
            count += has_row
        char_offsets[word + 1] = count

    # Make room for the largest possible number of rows: with n-grams of up to n words, n per token.
    capacity = len(codes) * longest
    if has_char_ngrams:
        for code in codes:
            capacity += char_offsets[code + 1] - char_offsets[code]
    rows = np.empty(capacity, dtype=np.int32)
    row_offsets = np.zeros(len(offsets), dtype=np.int64)
    count = 0
    for text in range(len(offsets) - 1):
        # Words, each followed by its character n-grams.
        start, end = offsets[text], offsets[text + 1]
        for token in range(start, end):
            code = codes[token]
            word_row = word_rows[code]
            if word_row >= 0:
                rows[count] = word_row
                count += 1
            if has_char_ngrams:
                for index in range(char_offsets[code], char_offsets[code + 1]):
                    rows[count] = char_rows[index]
                    count += 1

        # Word n-grams: chain the hashes of the words that follow each word. Where an n-gram has no
        # row, the next one is written; a processor cannot foresee it, so there is no branch.
        for token in range(start, end if longest > 2 else start):
            state = _signed(hashes[codes[token]])
            for following in range(token + 1, min(token + longest, end)):
                state = state * CHAIN + _signed(hashes[codes[following]])
                bucket = np.int64(_remainder(state, buckets, reciprocal))
                rows[count], has_row = _bucket_row(bucket, first_row, bits, ranks)
                count += has_row
        if longest == 2 and end > start:  # the common case, faster on its own
            before = _signed(hashes[codes[start]])
            for token in range(start + 1, end):
                word_hash = _signed(hashes[codes[token]])
                bucket = np.int64(_remainder(before * CHAIN + word_hash, buckets, reciprocal))
                rows[count], has_row = _bucket_row(bucket, first_row, bits, ranks)
                count += has_row
                before = word_hash
        row_offsets[text + 1] = count

    # The result may be kept for long, so copy it unless the array is nearly full.
    return (rows[:count] if 4 * count > 3 * capacity else rows[:count].copy()), row_offsets


@inlined
def _range_row(bucket: Any, first_row: Any, bucket_count: Any, starts: I32, ids: I32) -> Any:
    """Return the row of a bucket, -1 if it has none; see :func:`place_rows`."""
    part = bucket * (len(starts) - 1) // bucket_count
    low, end = np.int64(starts[part]), np.int64(starts[part + 1])
    high = end
    while low < high:
        middle = (low + high) >> 1
        if ids[middle] < bucket:
            low = middle + 1
        else:
            high = middle
    if low == end or ids[low] != bucket:
        return np.int64(-1)
    return first_row + low


@compiled
def place_rows(
    rows: I32, offsets: I64, first_row: int, bucket_count: int, starts: I32, ids: I32
) -> tuple[I32, I64]:
    """Number the rows of buckets anew where few buckets have one, and drop the others' rows.

    Args:
        rows: the rows of all texts, end to end, from a table with a row for every bucket, [N];
            rows of 2^31 and more are negative numbers.
        offsets: the offsets of each text's rows, [B + 1].
        first_row: the row of the first bucket.
        bucket_count: the number of buckets.
        starts: where each of K equal ranges of buckets begins in ``ids``, [K + 1].
        ids: the buckets that have a row, ascending.

    >>> rows, offsets = np.array([0, 907, 905, 1], np.int32), np.array([0, 3, 4])
    >>> ids = np.array([3, 905], np.int32)
    >>> rows, offsets = place_rows(rows, offsets, 2, 1000, np.array([0, 1, 2], np.int32), ids)
    >>> rows.tolist(), offsets.tolist()
    ([0, 3, 1], [0, 2, 3])
    """
    placed, new_offsets = np.empty(len(rows), np.int32), np.zeros(len(offsets), np.int64)
    count = 0
    for text in range(len(offsets) - 1):
        for position in range(offsets[text], offsets[text + 1]):
            row = np.int64(rows[position]) & 0xFFFFFFFF
            if row >= first_row:
                row = _range_row(row - first_row, first_row, bucket_count, starts, ids)
                if row < 0:
                    continue
            placed[count] = row
            count += 1
        new_offsets[text + 1] = count
    return placed[:count].copy(), new_offsets


@compiled
def encode_text(
    data: U8,
    rules: int,
    label_prefix: U8,
    ends_lines: bool,
    vocabulary: tuple[U64, U8, I32],
    minn: int,
    maxn: int,
    longest: int,
    buckets: tuple[int, int, U64, I32],
    ranges: tuple[I32, I32],
) -> tuple[I32, int]:
    """Encode one text in one pass over its bytes, to what the other kernels make of a column.

    Args:
        data: the UTF-8 bytes of the text.
        rules: the rules of the tokenizer; see ``code_column``.
        label_prefix: the prefix of labels, if ``ends_lines``.
        ends_lines: whether the text ends with the word ``</s>``; see ``end_lines``.
        vocabulary: the look-up table of the vocabulary, and its words; see ``find_words``.
        minn: the minimum length of character n-grams.
        maxn: the maximum length of character n-grams; 0: none.
        longest: the maximum length of word n-grams; 1: none.
        buckets: ``bucket_count``, ``first_row``, ``bits`` and ``ranks``; see ``emit_rows``.
        ranges: ``starts`` and ``ids``, if few buckets have a row; see ``place_rows``; else empty.

    Returns:
        The rows of the text, and the number of its words and n-grams, with or without a row.
    """
    bucket_count, first_row, bits, ranks = buckets
    range_starts, ids = ranges
    slots, known_words, known_bounds = vocabulary
    divisor = np.uint64(bucket_count)
    reciprocal = MOST // divisor
    # Typed by NumPy: with a literal, numba would compile the callees twice.
    zero: Any = np.int64(0)
    one: Any = np.int64(1)
    mask = len(slots) - 1

    # Read the tokens, as code_column() does: where each of them begins and ends, its hash and its
    # head. No array is made in a loop: numba would count the references to it at every turn.
    spelled = np.empty(3 * len(data) + len(END_BYTES) + PADDING, np.uint8)
    size: Any = spell(data, zero, np.int64(len(data)), SPELLINGS[rules], spelled)
    room = size // 2 + 2
    starts, ends = np.empty(room, np.int64), np.empty(room, np.int64)
    hashes, heads = np.empty(room, np.uint32), np.empty(room, np.uint64)
    tokens, longest_word, index = zero, zero, one
    while index < size:
        start = index
        length, head, _ = read_word(spelled, start)
        index += length + 1
        is_token: Any = length > 0
        if ends_lines and is_token:
            if length == len(END_BYTES) and same_bytes(
                spelled, start, start + length, END_BYTES, zero
            ):
                break  # the line ends here
            is_token = length < len(label_prefix) or not same_bytes(
                spelled, start, start + len(label_prefix), label_prefix, zero
            )
        if is_token:
            token_hash = fnv1a(spelled, start, start + length)
            prefetch_row(slots, np.int64(token_hash) & mask)
            starts[tokens], ends[tokens] = start, start + length
            hashes[tokens], heads[tokens] = token_hash, head
            tokens += 1
            longest_word = max(longest_word, length)
    counted = tokens  # the word </s> is none of the features of a text
    if ends_lines:
        for step in range(len(END_BYTES)):
            spelled[size + step] = END_BYTES[step]
        spelled[size + len(END_BYTES)] = BLANK
        starts[tokens], ends[tokens] = size, size + len(END_BYTES)
        hashes[tokens], heads[tokens] = END_HASH, read_word(spelled, size)[1]
        tokens += 1

    # The row of each token, followed by those of its character n-grams.
    lengths = max(maxn - max(minn, 1) + 1, 0)
    rows = np.empty(tokens * longest + (size + tokens) * lengths, np.int32)
    char_starts = np.empty(longest_word + 3, np.int64)
    char_hashes = np.empty((longest_word + 2) * lengths, np.uint32)
    count, features = zero, counted
    for token in range(tokens):
        first, end, head = starts[token], ends[token], heads[token]
        tail = np.uint64(hashes[token]) << np.uint64(32)
        if end - first < 8:
            head -= MARKER
        else:
            tail |= LONG
        row = _find_word(slots, known_words, known_bounds, spelled, first, end, (head, tail))
        if row >= 0:
            rows[count] = row
            count += 1
        if maxn > 0 and token < counted:
            # The blanks around the word are no longer needed.
            spelled[first - 1], spelled[end] = OPENING, CLOSING
            ngrams = _hash_char_ngrams(
                spelled[first - 1 : end + 1], end + 2 - first, char_starts, minn, maxn, char_hashes
            )
            features += ngrams
            for ngram in range(ngrams):
                bucket = np.int64(_remainder(np.uint64(char_hashes[ngram]), divisor, reciprocal))
                row = _row_of(bucket, first_row, bucket_count, bits, ranks, range_starts, ids)
                if row >= 0:
                    rows[count] = row
                    count += 1

    # Word n-grams: chain the hashes of the words that follow each word.
    for token in range(tokens if longest > 1 else zero):
        state = _signed(hashes[token])
        for following in range(token + 1, min(token + longest, tokens)):
            state = state * CHAIN + _signed(hashes[following])
            bucket = np.int64(_remainder(state, divisor, reciprocal))
            row = _row_of(bucket, first_row, bucket_count, bits, ranks, range_starts, ids)
            features += 1
            if row >= 0:
                rows[count] = row
                count += 1
    return rows[:count], features


@inlined
def _row_of(
    bucket: Any, first_row: Any, bucket_count: Any, bits: U64, ranks: I32, starts: I32, ids: I32
) -> Any:
    """Return the row of a bucket, -1 if it has none, by :func:`_bucket_row` or `_range_row`."""
    if len(starts) > 0:
        return _range_row(bucket, first_row, bucket_count, starts, ids)
    row, has_row = _bucket_row(bucket, first_row, bits, ranks)
    return row if has_row else np.int64(-1)


@compiled
def count_rows(rows: I32, offsets: I64, table: I32, first: int) -> None:
    """Add to the counts of each row: its occurrences, and the texts that have it.

    Args:
        rows: the rows of all texts, end to end, [N].
        offsets: the offsets of each text's rows, [B + 1].
        table: the occurrences of each row, its texts, and the last text that had it, counted from
            1; [V, 3].
        first: the number of texts counted before.

    >>> table = np.zeros((3, 3), np.int32)
    >>> count_rows(np.array([2, 0, 2, 2], np.int32), np.array([0, 3, 4]), table, 0)
    >>> table.tolist()
    [[1, 1, 1], [0, 0, 0], [3, 2, 2]]
    """
    for text in range(len(offsets) - 1):
        number = first + text + 1
        for index in range(offsets[text], offsets[text + 1]):
            if index + PREFETCH_DISTANCE < len(rows):
                prefetch_row_for_write(table, rows[index + PREFETCH_DISTANCE])
            # A processor cannot foresee whether a row is new in its text, so there is no branch;
            # nor a slice of the table, whose references numba would count at every turn.
            row = rows[index]
            is_new = table[row, 2] != number
            table[row, 0] += 1
            table[row, 1] += is_new
            table[row, 2] = number

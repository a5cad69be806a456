"""Compiled code of the built-in tokenizers: one pass over the bytes of a column.

================  ==============================================================================
``code_column``   splits texts like ``tokenizers.basic_english`` or ``whitespace``, or at fastText's
                  white space, and numbers the distinct words
``end_lines``     does the rest of ``fasttext_tokenizer.fasttext_words``: labels and ``</s>``
================  ==============================================================================

Those functions are the reference implementations, and tests check that the results agree.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasttext_app.core.arrays import I32, I64, U8, U32, U64
from fasttext_app.core.jit import compiled, inlined
from fasttext_app.text.fasttext_tokenizer import END, WHITESPACE
from fasttext_app.text.hashing import reference_fnv1a

SEED, PRIME = np.uint64(2166136261), np.uint64(16777619)  # of FNV-1a
MASK32, NO_BYTES = np.uint64(0xFFFFFFFF), np.uint64(0)
ONE = np.uint64(1)
NOT_UTF8 = 0xF8  # this byte and the ones above it do not occur in UTF-8
BYTES = np.arange(256, dtype=np.uint8)
SIGN_EXTENDED = BYTES.view(np.int8).astype(np.int32).view(np.uint32).astype(np.uint64)
"""Every byte as FNV-1a reads it in fastText: sign-extended to 32 bits."""
SAME, LOWER = BYTES.copy(), BYTES + 32 * ((BYTES >= 65) & (BYTES <= 90)).astype(np.uint8)

# What a byte does to the token that it is read for: WORD adds to it; SPACE ends it; DROPPED is
# skipped; ALONE ends it and is a token itself; ANGLE may begin <br />, which is a space; LEAD may
# begin a space of two or three bytes. Otherwise ANGLE and LEAD are like WORD.
WORD, SPACE, DROPPED, ALONE, ANGLE, LEAD = range(6)


def _unicode_kinds(english: bool) -> U8:
    """Return the kind of each byte for splitting like ``str.split`` or like basic_english."""
    kinds = np.full(256, WORD, dtype=np.uint8)
    kinds[[*range(0x09, 0x0E), *range(0x1C, 0x21)]] = SPACE
    kinds[[0xC2, 0xE1, 0xE2, 0xE3]] = LEAD
    if english:
        kinds[[ord(sign) for sign in ".,()!?'"]] = ALONE
        kinds[[ord(sign) for sign in ";:"]] = SPACE
        kinds[ord('"')] = DROPPED
        kinds[ord("<")] = ANGLE
    return kinds


def _fasttext_kinds() -> U8:
    """Return the kind of each byte for splitting as fastText does."""
    kinds = np.full(256, WORD, dtype=np.uint8)
    kinds[[*WHITESPACE.encode()]] = SPACE
    return kinds


UNICODE, ENGLISH, FASTTEXT = range(3)
RULES = {"whitespace": UNICODE, "basic_english": ENGLISH, "fasttext": FASTTEXT}
"""The rules by which ``code_column`` splits, by the name of the tokenizer."""
UNICODE_KINDS, ENGLISH_KINDS = _unicode_kinds(english=False), _unicode_kinds(english=True)
FASTTEXT_KINDS = _fasttext_kinds()
BREAK = np.frombuffer(b"<br />", dtype=np.uint8).copy()
END_BYTES = np.frombuffer(END.encode(), dtype=np.uint8).copy()
END_HASH = np.uint32(reference_fnv1a(END.encode()))


@inlined
def space_width(data: U8, index: Any, end: Any) -> int:
    r"""Return the length of the non-ASCII space that begins at ``index``; 0 if none does.

    The spaces are U+0085 and U+00A0 (two bytes), U+1680, U+2000 to U+200A, U+2028, U+2029, U+202F,
    U+205F and U+3000 (three bytes)::

        b"\xe2\x80\x83x" at 0  ->  3  (U+2003, an em space)
        b"\xe2\x82\xac" at 0   ->  0  (U+20AC, a euro sign)
    """
    first = data[index]
    if first == 0xC2:
        is_space = index + 1 < end and (data[index + 1] == 0x85 or data[index + 1] == 0xA0)
        return 2 if is_space else 0
    if index + 2 >= end:
        return 0
    second, third = data[index + 1], data[index + 2]
    if first == 0xE1:
        return 3 if second == 0x9A and third == 0x80 else 0
    if first == 0xE3:
        return 3 if second == 0x80 and third == 0x80 else 0
    if second == 0x81:
        return 3 if third == 0x9F else 0
    if second != 0x80:
        return 0
    return 3 if third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF else 0


@inlined
def break_width(data: U8, index: Any, end: Any) -> Any:
    """Return the length of the ``<br />`` that begins at ``index``; 0 if none does.

    Case does not matter, and quotes are skipped, because basic_english drops them first::

        b'<BR "/>x' at 0  ->  7
        b"<b> x" at 0     ->  0
    """
    matched, start = 0, index
    while index < end:
        byte = LOWER[data[index]]
        index += 1
        if byte == 34:  # a quote
            continue
        if byte != BREAK[matched]:
            return 0
        matched += 1
        if matched == len(BREAK):
            return index - start
    return 0


@inlined
def same_bytes(data: U8, start: int, end: int, other: U8, other_start: int) -> bool:
    """Return whether ``data[start:end]`` equals the same number of bytes of ``other``."""
    for step in range(end - start):
        if data[start + step] != other[other_start + step]:
            return False
    return True


@compiled
def _grown_table(table: U64, capacity: Any, hashes: U32, heads: U64, words: int) -> U64:
    """Return a table of the same words with two slots or more for each of ``capacity`` words."""
    slots = len(table)
    while slots < 2 * capacity:
        slots *= 2
    larger = np.zeros((slots, 2), dtype=np.uint64)
    for word in range(words):
        slot = np.int64(hashes[word]) & (slots - 1)
        while larger[slot, 1] != 0:
            slot = (slot + 1) & (slots - 1)
        larger[slot, 0], larger[slot, 1] = heads[word], np.uint64(word + 1)
    return larger


@compiled
def _grown(array: Any, used: Any, capacity: Any) -> Any:
    """Return a longer array with the first ``used`` elements of ``array``.

    They are copied by a loop: for a slice, numba also compiles the message of an error that it
    might raise.
    """
    larger = np.empty(capacity, dtype=array.dtype)
    for index in range(used):
        larger[index] = array[index]
    return larger


@compiled
def code_column(data: U8, bounds: I32, rules: int) -> tuple[I32, I64, U8, I32, U32]:
    """Split texts into tokens, and number the distinct words in the order of first appearance.

    Words are looked up in an open-addressing hash table by their head, a 64-bit number. A word of
    up to seven bytes fits into its head, along with its length, marked by a byte that does not
    occur in UTF-8; so one comparison finds it. The head of a longer word has its first eight bytes.

    Args:
        data: the bytes of the texts; for ``basic_english``, non-ASCII letters in lower case.
        bounds: the bounds of the texts, [B + 1].
        rules: one of ``RULES``.

    Returns:
        The code of every token [N], the offsets of each text's tokens [B + 1], and the distinct
        words: their bytes, bounds [W + 1] and FNV-1a hashes [W].

    >>> from fasttext_app.core.arrow import string_array, string_buffers
    >>> texts = string_buffers(string_array(["To be to", "", "be!"]))
    >>> codes, offsets, words, word_bounds, hashes = code_column(*texts, RULES["basic_english"])
    >>> codes.tolist(), offsets.tolist(), bytes(words), word_bounds.tolist()
    ([0, 1, 0, 1, 2], [0, 3, 3, 5], b'tobe!', [0, 2, 4, 5])
    """
    kinds, folded = UNICODE_KINDS, SAME
    if rules == ENGLISH:
        kinds, folded = ENGLISH_KINDS, LOWER
    elif rules == FASTTEXT:
        kinds = FASTTEXT_KINDS

    # Arrays grow as needed. `arena` has the bytes of the distinct words, end to end. A slot of
    # `table` has the head of a word, and its code + 1; 0 if it is empty.
    size = bounds[-1] - bounds[0]
    codes = np.empty(size // 4 + 16, dtype=np.int32)  # tokens rarely average less than 4 bytes
    offsets = np.zeros(len(bounds), dtype=np.int64)
    arena = np.empty(size // 16 + 64, dtype=np.uint8)
    zero: Any = np.int64(0)  # with a literal 0, numba would compile the callees twice
    words = used = tokens = zero
    starts, hashes = np.empty(257, dtype=np.int32), np.empty(256, dtype=np.uint32)
    heads = np.empty(256, dtype=np.uint64)
    starts[0] = 0
    table = np.zeros((512, 2), dtype=np.uint64)
    for text in range(len(bounds) - 1):
        # Make room: each byte of the text may be a token, a new word, and a byte of that word.
        index, end = np.int64(bounds[text]), np.int64(bounds[text + 1])
        longest = end - index
        if tokens + longest > len(codes):
            codes = _grown(codes, tokens, 2 * len(codes) + longest)
        if used + longest > len(arena):
            arena = _grown(arena, used, 2 * len(arena) + longest)
        if words + longest > len(hashes):
            table = _grown_table(table, words + longest, hashes, heads, words)
            capacity = len(table) // 2
            starts = _grown(starts, words + 1, capacity + 1)
            hashes, heads = _grown(hashes, words, capacity), _grown(heads, words, capacity)
        mask = len(table) - 1

        while index < end:
            # Read one token: copy its bytes behind the arena, and compute its hash and head, until
            # a byte ends it. That byte stays in `byte`, and what it does in `kind`.
            length, state, head, kind = 0, SEED, NO_BYTES, SPACE
            byte = folded[data[index]]
            while index < end:
                byte = folded[data[index]]
                kind = kinds[byte]
                index += 1
                if kind == LEAD or kind == ANGLE:
                    width = space_width(data, index - 1, end)
                    if kind == ANGLE:
                        width = break_width(data, index - 1, end)
                    kind = SPACE if width else WORD
                    index += max(width - 1, 0)
                if kind == WORD:
                    arena[used + length] = byte
                    if length < 8:
                        head |= np.uint64(byte) << np.uint64(8 * length)
                    length += 1
                    state = ((state ^ SIGN_EXTENDED[byte]) * PRIME) & MASK32
                elif kind != DROPPED:
                    break

            # Look up the token; then, if a sign such as a comma ended it, the sign.
            while True:
                if length:
                    # Probe from the slot that the hash names until the word or an empty
                    # slot is found. Long words with the same head are compared byte by byte.
                    if length < 8:
                        head |= np.uint64(NOT_UTF8 + length) << np.uint64(56)
                    slot = np.int64(state) & mask
                    while table[slot, 1] != 0:
                        if table[slot, 0] == head:
                            known = np.int64(table[slot, 1]) - 1
                            # A short word's length can differ only if the bytes are not UTF-8.
                            same = starts[known + 1] - starts[known] == length
                            if same and length >= 8:
                                same = hashes[known] == state and same_bytes(
                                    arena, used + 8, used + length, arena, starts[known] + 8
                                )
                            if same:
                                break
                        slot = (slot + 1) & mask

                    # A new word: its bytes are already in place at the end of the arena.
                    if table[slot, 1] == 0:
                        hashes[words], heads[words] = state, head
                        used += length
                        words += 1
                        starts[words] = used
                        table[slot, 0], table[slot, 1] = head, np.uint64(words)
                    codes[tokens] = np.int64(table[slot, 1]) - 1
                    tokens += 1
                if kind != ALONE:
                    break
                arena[used], head, length, kind = byte, np.uint64(byte), 1, SPACE
                state = ((SEED ^ SIGN_EXTENDED[byte]) * PRIME) & MASK32
        offsets[text + 1] = tokens
    return (
        codes[:tokens],
        offsets,
        arena[:used].copy(),
        starts[: words + 1].copy(),
        hashes[:words].copy(),
    )


@compiled
def end_lines(
    codes: I32, offsets: I64, words: U8, bounds: I32, hashes: U32, prefix: U8
) -> tuple[I32, I64, U8, I32, U32]:
    """Treat texts as fastText's lines: end each at its first ``</s>``, and drop its labels.

    Args:
        codes: the code of every token, from :func:`code_column` like the next four.
        offsets: the offsets of each text's tokens, [B + 1].
        words: the bytes of the distinct words.
        bounds: the bounds of the distinct words, [W + 1].
        hashes: the hashes of the distinct words, [W].
        prefix: the label prefix.

    Returns:
        The same five, with ``</s>`` added to the distinct words if it was not among them.

    >>> from fasttext_app.core.arrow import bytes_buffers, string_array, string_buffers
    >>> texts = string_buffers(string_array(["__label__a to be", ""]))
    >>> coded = code_column(*texts, RULES["fasttext"])  # codes 0 1 2
    >>> codes, offsets, words, *_ = end_lines(*coded, bytes_buffers(b"__label__")[0])
    >>> codes.tolist(), offsets.tolist(), bytes(words)
    ([1, 2, 3, 3], [0, 3, 4], b'__label__atobe</s>')
    """
    # Find the labels and </s> among the distinct words.
    end, count = -1, len(hashes)
    is_label = np.zeros(count, dtype=np.uint8)
    for word in range(count):
        start, size = bounds[word], bounds[word + 1] - bounds[word]
        if size >= len(prefix) and same_bytes(words, start, start + len(prefix), prefix, 0):
            is_label[word] = 1
        if size == len(END_BYTES) and same_bytes(words, start, start + size, END_BYTES, 0):
            end = word

    # Append </s> to the words if no text has it.
    if end < 0:
        end, used = count, len(words)
        more_words = np.empty(used + len(END_BYTES), np.uint8)
        more_bounds, more_hashes = np.empty(count + 2, np.int32), np.empty(count + 1, np.uint32)
        more_words[:used], more_words[used:] = words, END_BYTES
        more_bounds[: count + 1], more_bounds[count + 1] = bounds, len(more_words)
        more_hashes[:count], more_hashes[count] = hashes, END_HASH
        words, bounds, hashes = more_words, more_bounds, more_hashes

    # Copy the tokens of each text up to </s>, without the labels, and end it with </s>.
    ended = np.empty(len(codes) + len(offsets) - 1, dtype=np.int32)
    ended_offsets = np.zeros(len(offsets), dtype=np.int64)
    tokens = 0
    for text in range(len(offsets) - 1):
        for index in range(offsets[text], offsets[text + 1]):
            code = codes[index]
            if code == end:
                break
            if not is_label[code]:
                ended[tokens] = code
                tokens += 1
        ended[tokens] = end
        tokens += 1
        ended_offsets[text + 1] = tokens
    return ended[:tokens].copy(), ended_offsets, words, bounds, hashes

"""The built-in tokenizers in compiled code: one pass over the bytes.

=================  =============================================================================
``code_column``    ``tokenizers.basic_english``, ``whitespace``; word by word into a dict
``end_lines``      what ``fasttext_lines.fasttext_words`` does after the split
=================  =============================================================================

Tests hold each equal to the plain function.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasttext_app.core.arrays import I32, I64, U8, U32, U64
from fasttext_app.core.jit import compiled
from fasttext_app.text.fasttext_tokenizer import END, WHITESPACE
from fasttext_app.text.hashing import reference_fnv1a

SEED, PRIME = np.uint64(2166136261), np.uint64(16777619)
MASK32, NO_BYTES = np.uint64(0xFFFFFFFF), np.uint64(0)
ONE = np.uint64(1)
NO_UTF8 = 0xF8  # this byte and those above it are not in UTF-8
BYTES = np.arange(256, dtype=np.uint8)
EXTENDED = BYTES.view(np.int8).astype(np.int32).view(np.uint32).astype(np.uint64)
"""Every byte as FNV-1a takes it in, sign-extended to 32 bits: fastText's own quirk."""
SAME, LOWER = BYTES.copy(), BYTES + 32 * ((BYTES >= 65) & (BYTES <= 90)).astype(np.uint8)

WORD, SPACE, DROPPED, ALONE, ANGLE, LEAD = range(6)


def _kinds(english: bool) -> U8:
    """Say of every byte what it does to the token that it stands in."""
    kinds = np.full(256, WORD, dtype=np.uint8)
    kinds[[*range(0x09, 0x0E), *range(0x1C, 0x21)]] = SPACE  # as str.split() has it
    kinds[[0xC2, 0xE1, 0xE2, 0xE3]] = LEAD  # may begin a space of two or three bytes
    if english:
        kinds[[ord(sign) for sign in ".,()!?'"]] = ALONE
        kinds[[ord(sign) for sign in ";:"]] = SPACE
        kinds[ord('"')] = DROPPED
        kinds[ord("<")] = ANGLE
    return kinds


def _ascii_spaces() -> U8:
    """Say the same by the rules of fastText, which knows these six bytes and NUL."""
    kinds = np.full(256, WORD, dtype=np.uint8)
    kinds[[*WHITESPACE.encode()]] = SPACE
    return kinds


UNICODE, ENGLISH, FASTTEXT = range(3)
RULES = {"whitespace": UNICODE, "basic_english": ENGLISH, "fasttext": FASTTEXT}
"""The rules of each tokenizer: what stands between Unicode spaces; those of ``basic_english``; or
what stands between ASCII spaces, whatever the bytes."""
PLAIN_KINDS, ENGLISH_KINDS, ASCII_KINDS = (
    _kinds(english=False),
    _kinds(english=True),
    _ascii_spaces(),
)
BREAK = np.frombuffer(b"<br />", dtype=np.uint8).copy()
END_BYTES = np.frombuffer(END.encode(), dtype=np.uint8).copy()
END_HASH = np.uint32(reference_fnv1a(END.encode()))


@compiled
def _space_width(data: U8, at: Any, end: Any) -> int:
    """Return the bytes of the non-ASCII space that begins here, 0 if none does."""
    first = data[at]
    if first == 0xC2:
        return 2 if at + 1 < end and (data[at + 1] == 0x85 or data[at + 1] == 0xA0) else 0
    if at + 2 >= end:
        return 0
    second, third = data[at + 1], data[at + 2]
    if first == 0xE1:
        return 3 if second == 0x9A and third == 0x80 else 0
    if first == 0xE3:
        return 3 if second == 0x80 and third == 0x80 else 0
    if second == 0x81:
        return 3 if third == 0x9F else 0
    if second != 0x80:
        return 0
    return 3 if third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF else 0


@compiled
def _break_width(data: U8, at: Any, end: Any) -> Any:
    """Return the bytes of the ``<br />`` that begins here, 0 if none does; quotes do not count."""
    matched, start = 0, at
    while at < end:
        byte = LOWER[data[at]]
        at += 1
        if byte == 34:
            continue
        if byte != BREAK[matched]:
            return 0
        matched += 1
        if matched == len(BREAK):
            return at - start
    return 0


@compiled
def same_bytes(data: U8, start: int, end: int, other: U8, other_start: int) -> bool:
    """Compare a range of bytes with as many of another array."""
    for step in range(end - start):
        if data[start + step] != other[other_start + step]:
            return False
    return True


@compiled
def _with_room(table: U64, most: Any, hashes: U32, heads: U64, words: int) -> U64:
    """Return a table of the same words, for ``most`` words at twice as many slots."""
    slots = len(table)
    while slots < 2 * most:
        slots *= 2
    larger = np.zeros((slots, 2), dtype=np.uint64)
    for word in range(words):
        slot = np.int64(hashes[word]) & (slots - 1)
        while larger[slot, 1] != 0:
            slot = (slot + 1) & (slots - 1)
        larger[slot, 0], larger[slot, 1] = heads[word], np.uint64(word + 1)
    return larger


@compiled
def _moved(old: Any, used: Any, room: Any) -> Any:
    """Return a longer array with the first ``used`` elements of an old one.

    By a loop: for a slice, numba also compiles the message of an error that it might raise.
    """
    larger = np.empty(room, dtype=old.dtype)
    for at in range(used):
        larger[at] = old[at]
    return larger


@compiled
def code_column(data: U8, bounds: I32, rules: int) -> tuple[I32, I64, U8, I32, U32]:
    """Split texts into tokens, and number the distinct ones in the order in which they appear.

    A word is looked up by its head: its bytes where it has at most seven, marked with its length
    by a byte that no text has; else its first eight. So a short word takes one look.

    Args:
        data: the bytes of the texts; for ``basic_english``, letters other than A-Z are lower-cased.
        bounds: where each text begins and ends, [B + 1].
        rules: one of ``RULES``.

    Returns:
        The code of every token [N], the offsets of every text's tokens [B + 1], and the distinct
        words: bytes, offsets [W + 1], and FNV-1a hashes [W].
    """
    kinds, folded = PLAIN_KINDS, SAME
    if rules == ENGLISH:
        kinds, folded = ENGLISH_KINDS, LOWER
    elif rules == FASTTEXT:
        kinds = ASCII_KINDS
    size = bounds[-1] - bounds[0]
    codes = np.empty(size // 4 + 16, dtype=np.int32)  # there is rarely more than a token in 4 bytes
    offsets = np.zeros(len(bounds), dtype=np.int64)
    arena = np.empty(size // 16 + 64, dtype=np.uint8)
    zero: Any = np.int64(0)  # with a plain 0, what is called would be compiled twice
    words = used = tokens = zero
    starts, hashes = np.empty(257, dtype=np.int32), np.empty(256, dtype=np.uint32)
    heads = np.empty(256, dtype=np.uint64)
    starts[0] = 0
    table = np.zeros((512, 2), dtype=np.uint64)  # of every slot: a head, and a word's number + 1
    for text in range(len(bounds) - 1):
        at, end = np.int64(bounds[text]), np.int64(bounds[text + 1])
        most = end - at  # a token, a new word and a byte of it for each byte
        if tokens + most > len(codes):
            codes = _moved(codes, tokens, 2 * len(codes) + most)
        if used + most > len(arena):
            arena = _moved(arena, used, 2 * len(arena) + most)
        if words + most > len(hashes):
            table = _with_room(table, words + most, hashes, heads, words)
            room = len(table) // 2
            starts = _moved(starts, words + 1, room + 1)
            hashes, heads = _moved(hashes, words, room), _moved(heads, words, room)
        mask = len(table) - 1
        while at < end:
            length, state, head, kind = 0, SEED, NO_BYTES, SPACE
            byte = folded[data[at]]
            while at < end:
                byte = folded[data[at]]
                kind = kinds[byte]
                at += 1
                if kind == LEAD or kind == ANGLE:
                    width = _space_width(data, at - 1, end)
                    if kind == ANGLE:
                        width = _break_width(data, at - 1, end)
                    kind = SPACE if width else WORD
                    at += max(width - 1, 0)
                if kind == WORD:
                    arena[used + length] = byte
                    if length < 8:
                        head |= np.uint64(byte) << np.uint64(8 * length)
                    length += 1
                    state = ((state ^ EXTENDED[byte]) * PRIME) & MASK32
                elif kind != DROPPED:
                    break
            while True:  # the token before a sign, then the sign itself
                if length:
                    if length < 8:
                        head |= np.uint64(NO_UTF8 + length) << np.uint64(56)
                    slot = np.int64(state) & mask
                    while table[slot, 1] != 0:
                        if table[slot, 0] == head:
                            known = np.int64(table[slot, 1]) - 1
                            same = starts[known + 1] - starts[known] == length  # else no UTF-8
                            if same and length >= 8:
                                same = hashes[known] == state and same_bytes(
                                    arena, used + 8, used + length, arena, starts[known] + 8
                                )
                            if same:
                                break
                        slot = (slot + 1) & mask
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
                state = ((SEED ^ EXTENDED[byte]) * PRIME) & MASK32
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
    """Do to texts what fastText does to lines: each ends at ``</s>``, and loses its labels.

    Args:
        codes: what :func:`code_column` returned, as are the next four.
        offsets: the tokens of every text, [B + 1].
        words: the bytes of the distinct words.
        bounds: where each begins and ends, [W + 1].
        hashes: [W].
        prefix: what begins a label.

    Returns:
        The same, with a word more if ``</s>`` was not among them.
    """
    end, most = -1, len(hashes)
    label = np.zeros(most, dtype=np.uint8)
    for word in range(most):
        start, size = bounds[word], bounds[word + 1] - bounds[word]
        if size >= len(prefix) and same_bytes(words, start, start + len(prefix), prefix, 0):
            label[word] = 1
        if size == len(END_BYTES) and same_bytes(words, start, start + size, END_BYTES, 0):
            end = word
    if end < 0:
        end, used = most, len(words)
        longer, further = np.empty(used + len(END_BYTES), np.uint8), np.empty(most + 2, np.int32)
        more = np.empty(most + 1, np.uint32)
        longer[:used], longer[used:] = words, END_BYTES
        further[: most + 1], further[most + 1] = bounds, len(longer)
        more[:most], more[most] = hashes, END_HASH
        words, bounds, hashes = longer, further, more
    ended = np.empty(len(codes) + len(offsets) - 1, dtype=np.int32)
    ended_offsets = np.zeros(len(offsets), dtype=np.int64)
    made = 0
    for text in range(len(offsets) - 1):
        for at in range(offsets[text], offsets[text + 1]):
            code = codes[at]
            if code == end:
                break
            if not label[code]:
                ended[made] = code
                made += 1
        ended[made] = end
        made += 1
        ended_offsets[text + 1] = made
    return ended[:made].copy(), ended_offsets, words, bounds, hashes

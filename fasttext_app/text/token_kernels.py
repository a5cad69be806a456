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
from fasttext_app.core.bits import EACH_BYTE, HIGH_BITS, load_word, store_half, trailing_zeros
from fasttext_app.core.jit import compiled, inlined
from fasttext_app.core.prefetch import prefetch_row
from fasttext_app.text.fasttext_tokenizer import END, WHITESPACE
from fasttext_app.text.hashing import reference_fnv1a

SEED, PRIME = np.uint64(2166136261), np.uint64(16777619)  # of FNV-1a
MASK32, NO_BYTES = np.uint64(0xFFFFFFFF), np.uint64(0)
ONE = np.uint64(1)
NOT_UTF8 = 0xF8  # this byte and the ones above it do not occur in UTF-8
BYTES = np.arange(256, dtype=np.uint8)
SIGN_EXTENDED = BYTES.view(np.int8).astype(np.int32).view(np.uint32).astype(np.uint64)
"""Every byte as FNV-1a reads it in fastText: sign-extended to 32 bits."""
LOWER = BYTES + 32 * ((BYTES >= 65) & (BYTES <= 90)).astype(np.uint8)
BLANK = ord(" ")
LEADS = [0xC2, 0xE1, 0xE2, 0xE3]
"""The bytes that may begin a space of two or three bytes."""
EITHER = np.uint32(1 << 31)
"""Marks a byte that may begin a space of several bytes, and else is itself."""
PADDING = 16
"""Bytes behind the words of a text that are read, and that count for nothing."""


def _spellings(spaces: bytes, signs: bytes, dropped: bytes, either: list[int], same: U8) -> U32:
    """Return what :func:`spell` writes for each byte, with its length in the fourth byte.

    Args:
        spaces: the bytes that become a blank.
        signs: the bytes that are words by themselves, and so get blanks around them.
        dropped: the bytes of which nothing is left.
        either: the bytes that may begin a space of several bytes.
        same: what the others become.
    """
    spellings = same.astype(np.uint32) | np.uint32(1 << 24)
    spellings[[*spaces]] = BLANK | 1 << 24
    for sign in signs:
        spellings[sign] = BLANK | sign << 8 | BLANK << 16 | 3 << 24
    spellings[[*dropped]] = 0
    spellings[either] |= EITHER
    return spellings


UNICODE, ENGLISH, FASTTEXT = range(3)
RULES = {"whitespace": UNICODE, "basic_english": ENGLISH, "fasttext": FASTTEXT}
"""The rules by which ``code_column`` splits, by the name of the tokenizer."""
ASCII_SPACES = bytes([*range(0x09, 0x0E), *range(0x1C, 0x21)])
"""The ASCII characters at which ``str.split`` splits."""
SPELLINGS = np.stack(
    [
        _spellings(ASCII_SPACES, b"", b"", LEADS, BYTES),
        _spellings(ASCII_SPACES + b";:", b".,()!?'", b'"', [*LEADS, ord("<")], LOWER),
        _spellings(WHITESPACE.encode(), b"", b"", [], BYTES),
    ]
)
"""What each byte becomes, by the rules: see :func:`spell`; [3, 256]."""
BREAK = np.frombuffer(b"<br />", dtype=np.uint8).copy()
END_BYTES = np.frombuffer(END.encode(), dtype=np.uint8).copy()
END_HASH = np.uint32(reference_fnv1a(END.encode()))

PENDING = 64
"""The number of words that are read before they are looked up."""
LONG = np.uint64(1 << 63)
HALF = np.uint64(32)
MIX = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio: products with it spread well over their upper bits."""
BLANKS = np.uint64(BLANK) * EACH_BYTE


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


@inlined
def spell(data: U8, start: Any, end: Any, spellings: U32, spelled: U8) -> Any:
    r"""Write one text with its words between blanks into ``spelled``; return its size.

    A blank comes first and last, and there may be several between two words::

        b'Stop<br/>"it", OK' by ENGLISH  ->  b" stop<br/>it ,  ok "

    Args:
        data: the bytes of the texts.
        start: where the text starts.
        end: where it ends.
        spellings: the row of ``SPELLINGS`` for the rules.
        spelled: takes the bytes, three for each of the text and ``PADDING`` more.
    """
    spelled[0] = BLANK
    used: Any = np.int64(1)
    index, stop = np.uint64(start), np.uint64(end)  # of signed ones, numba sees if they are below 0
    while index < stop:
        # Four bytes are written at once; those beyond the length are written over.
        spelling = spellings[data[index]]
        if spelling & EITHER:
            if data[index] == BREAK[0]:
                width = break_width(data, np.int64(index), end)
            else:
                width = space_width(data, np.int64(index), end)
            if width:
                index += np.uint64(width - 1)
                spelling = np.uint32(BLANK)
            used += 1
            spelled[used - 1] = spelling & np.uint32(0xFF)
        else:
            store_half(spelled, used, spelling)
            used += np.int64(spelling >> np.uint32(24))
        index += ONE
    spelled[used] = BLANK
    return used + 1


@inlined
def read_word(spelled: U8, start: Any) -> tuple[Any, Any, Any]:
    r"""Return the length of the word at ``start``, its head, and a hash of it.

    The head is a 64-bit number that has the first eight bytes of a word. A word of up to seven
    bytes fits into it along with its length, marked by a byte that does not occur in UTF-8::

        b"be it "      ->  2, head b"be\0\0\0\0\0\xfa"
        b"question? "  ->  9, head b"question"
        b" it "        ->  0
    """
    word = load_word(spelled, start)
    # The highest bit of each byte that is a blank; above the first one, of others too.
    gaps = word ^ BLANKS
    gaps = (gaps - EACH_BYTE) & ~gaps & HIGH_BITS
    if gaps:
        size = trailing_zeros(gaps) >> np.uint64(3)
        below = ((gaps & (~gaps + ONE)) >> np.uint64(7)) - ONE
        head = (word & below) | (np.uint64(NOT_UTF8) + size) << np.uint64(56)
        return np.int64(size), head, head * MIX
    # A long word: all its bytes take part in the hash, eight at a time.
    head, mixed, position = word, word * MIX, start
    while not gaps:
        position += 8
        word = load_word(spelled, position)
        gaps = word ^ BLANKS
        gaps = (gaps - EACH_BYTE) & ~gaps & HIGH_BITS
        if gaps:
            word &= ((gaps & (~gaps + ONE)) >> np.uint64(7)) - ONE
        mixed = (mixed ^ (mixed >> HALF) ^ word) * MIX
    size = trailing_zeros(gaps) >> np.uint64(3)
    return position - start + np.int64(size), head, mixed


@inlined
def fnv1a(data: U8, start: Any, end: Any) -> Any:
    """Return the FNV-1a hash of ``data[start:end]``."""
    state = SEED
    for index in range(np.uint64(start), np.uint64(end)):
        state = ((state ^ SIGN_EXTENDED[data[index]]) * PRIME) & MASK32
    return state


@compiled
def _grown_table(table: U64, capacity: Any, hashes: U64) -> U64:
    """Return a table of the same words with two slots or more for each of ``capacity`` words."""
    slots = len(table)
    while slots < 2 * capacity:
        slots *= 2
    larger = np.zeros((slots, 2), dtype=np.uint64)
    shift = np.uint64(64) - trailing_zeros(np.uint64(slots))
    for old in range(len(table)):
        word = np.int64(table[old, 1] & MASK32) - 1
        if word >= 0:
            slot = np.int64(hashes[word] >> shift)
            while larger[slot, 1] != 0:
                slot = (slot + 1) & (slots - 1)
            larger[slot, 0], larger[slot, 1] = table[old, 0], table[old, 1]
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
def _code_texts(
    data: U8,
    bounds: I32,
    spellings: U32,
    spelled: U8,
    progress: I64,
    codes: I32,
    offsets: I64,
    arena: U8,
    starts: I32,
    hashes: U32,
    mixed: U64,
    table: U64,
    pending: tuple[I64, I64, U64, U64],
) -> bool:
    """Do what :func:`code_column` says, until all is done or an array is full; return which.

    No array is replaced here: numba would keep all of them in memory instead of in registers.

    Args:
        data: the bytes of the texts.
        bounds: the bounds of the texts, [B + 1].
        spellings: the row of ``SPELLINGS`` for the rules.
        spelled: the present text, from :func:`spell`.
        progress: the number of texts that are begun; the position in the present one, and its end;
            the number of tokens, of distinct words, and of their bytes.
        codes: takes the code of every token.
        offsets: takes the offsets of each text's tokens, [B + 1].
        arena: takes the bytes of the distinct words, end to end.
        starts: takes the bounds of the distinct words.
        hashes: takes their FNV-1a hashes.
        mixed: takes their hashes from :func:`read_word`.
        table: the look-up table, [slots, 2]: the head of a word; and its code + 1, with the upper
            half of the hash of a long word; 0 in an empty slot.
        pending: room for the words that are not yet looked up: where they start, and what
            :func:`read_word` returns.
    """
    text, index, end, tokens, words, used = progress
    firsts, lengths, heads, mixes = pending
    mask, shift = len(table) - 1, np.uint64(64) - trailing_zeros(np.uint64(len(table)))
    is_done = False
    while tokens + PENDING <= len(codes) and words + PENDING <= len(hashes):
        if index >= end:
            offsets[text] = tokens
            is_done = text == len(bounds) - 1
            if is_done:
                break
            end = spell(data, bounds[text], bounds[text + 1], spellings, spelled)
            index = np.int64(1)
            text += 1

        # Read some words.
        first, count = index, np.int64(0)
        while index < end and count < PENDING:
            length, head, mix = read_word(spelled, index)
            firsts[count], lengths[count] = index, length
            heads[count], mixes[count] = head, mix
            prefetch_row(table, np.int64(mix >> shift))
            count += length > 0
            index += length + 1
        if used + index - first > len(arena):  # each of them may be new
            index = first
            break

        # Look them up: probe from the slot that the hash names until the word or an empty slot is
        # found.
        for number in range(count):
            head, length = heads[number], lengths[number]
            check = NO_BYTES if length < 8 else (mixes[number] | LONG) >> HALF
            slot = np.int64(mixes[number] >> shift)
            while table[slot, 1] != 0:
                if table[slot, 0] == head and table[slot, 1] >> HALF == check:
                    known = np.int64(table[slot, 1] & MASK32) - 1
                    if length < 8 or (
                        starts[known + 1] - starts[known] == length
                        and same_bytes(
                            spelled,
                            firsts[number] + 8,
                            firsts[number] + length,
                            arena,
                            starts[known] + 8,
                        )
                    ):
                        break
                slot = (slot + 1) & mask
            if table[slot, 1] == 0:  # a new word
                for step in range(length):
                    arena[used + step] = spelled[firsts[number] + step]
                hashes[words] = fnv1a(arena, used, used + length)
                mixed[words] = mixes[number]
                used += length
                words += 1
                starts[words] = used
                table[slot, 0], table[slot, 1] = head, np.uint64(words) | check << HALF
            codes[tokens] = np.int64(table[slot, 1] & MASK32) - 1
            tokens += 1
    progress[0], progress[1], progress[2] = text, index, end
    progress[3], progress[4], progress[5] = tokens, words, used
    return is_done


@compiled
def code_column(data: U8, bounds: I32, rules: int) -> tuple[I32, I64, U8, I32, U32]:
    """Split texts into tokens, and number the distinct words in the order of first appearance.

    Words are looked up in an open-addressing hash table, by their head (see :func:`read_word`) and,
    if they have eight bytes or more, by 31 bits of their hash; then their bytes are compared, too.
    Some words are read before the first of them is looked up, so that their slots are in the cache.

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
    size, longest = bounds[-1] - bounds[0], np.int64(0)
    for text in range(len(bounds) - 1):
        longest = max(longest, np.int64(bounds[text + 1] - bounds[text]))
    spellings, spelled = SPELLINGS[rules], np.empty(3 * longest + PADDING, dtype=np.uint8)
    pending = (
        np.empty(PENDING, np.int64),
        np.empty(PENDING, np.int64),
        np.empty(PENDING, np.uint64),
        np.empty(PENDING, np.uint64),
    )
    progress = np.zeros(6, np.int64)
    codes = np.empty(size // 4 + PENDING, dtype=np.int32)  # tokens rarely average less than 4 bytes
    offsets = np.zeros(len(bounds), dtype=np.int64)
    arena = np.empty(size // 16 + longest + PADDING, dtype=np.uint8)
    starts, hashes = np.zeros(257, dtype=np.int32), np.empty(256, dtype=np.uint32)
    mixed, table = np.empty(256, dtype=np.uint64), np.zeros((512, 2), dtype=np.uint64)
    while not _code_texts(
        data,
        bounds,
        spellings,
        spelled,
        progress,
        codes,
        offsets,
        arena,
        starts,
        hashes,
        mixed,
        table,
        pending,
    ):
        # Grow the arrays that are full.
        tokens, words, used = progress[3], progress[4], progress[5]
        if tokens + PENDING > len(codes):
            codes = _grown(codes, tokens, 2 * len(codes))
        elif words + PENDING > len(hashes):
            table = _grown_table(table, 2 * len(hashes), mixed)
            capacity = len(table) // 2
            starts = _grown(starts, words + 1, capacity + 1)
            hashes, mixed = _grown(hashes, words, capacity), _grown(mixed, words, capacity)
        else:
            arena = _grown(arena, used, 2 * len(arena) + longest)
    tokens, words, used = progress[3], progress[4], progress[5]
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

"""Compiled code of the ``unicode`` tokenizer: the tokens of a column, with spaces between them.

``word_break.py`` is the reference implementation, and tests check that the results agree.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasttext_app.core.arrays import I32, U8
from fasttext_app.core.jit import compiled
from fasttext_app.text.word_break import APART, DROPPED, IGNORED, NEWLINES, PICTOGRAPHS

LETTERS, WORDS = b"ahm", b"ahm1k"
JOINED = (
    (b"r", b"n"),  # WB3
    (LETTERS + b"1", LETTERS + b"1"),  # WB5, WB8, WB9, WB10
    (b"h", b"'"),  # WB7a
    (b"k", b"k"),  # WB13
    (WORDS + b"_", b"_"),  # WB13a
    (b"_", WORDS),  # WB13b
)
"""Classes of neighbors that belong together; ``word_break.CLASSES`` has the letters."""
BRIDGED = (
    (LETTERS, b".:'"),  # WB6, WB7
    (b"h", b'"'),  # WB7b, WB7c
    (b"1", b".,'"),  # WB11, WB12
)
"""Ends that belong together with the one character between them."""
JOIN = 1
AFTER, BEFORE = 2, 5
"""Added to the number of a rule of ``BRIDGED``: joined if one of its ends comes after or before."""


def _pair_rules() -> U8:
    """Return what to do between a character of one class and one of another, [128, 128]."""
    rules = np.zeros((128, 128), np.uint8)
    for number, (ends, middle) in enumerate(BRIDGED):
        rules[np.ix_([*ends], [*middle])] = AFTER + number
        rules[np.ix_([*middle], [*ends])] = BEFORE + number
    for left, right in JOINED:
        rules[np.ix_([*left], [*right])] = JOIN
    return rules


def _mask(classes: bytes) -> U8:
    """Return 1 for each of these classes, [128]."""
    mask = np.zeros(128, np.uint8)
    mask[[*classes]] = 1
    return mask


PAIR_RULES = _pair_rules()
IS_END = np.stack([_mask(ends) for ends, _ in BRIDGED])  # [rules, 128]
IS_IGNORED, IS_NEWLINE, IS_DROPPED = _mask(IGNORED), _mask(NEWLINES), _mask(DROPPED)
IS_PICTOGRAPH = _mask(PICTOGRAPHS)
FLAG, ZWJ = ord("g"), ord("z")
NOT_UTF8 = 0xDC80  # has no class
SPACE = 32


@compiled
def _code_point(data: U8, index: Any, end: Any) -> Any:
    """Return the character that begins at ``index``, and its number of bytes."""
    first = np.int64(data[index])
    if first < 0x80:
        return first, np.int64(1)
    width = np.int64(2) if first < 0xE0 else np.int64(3) if first < 0xF0 else np.int64(4)
    if first < 0xC2 or first > 0xF4 or index + width > end:
        return np.int64(NOT_UTF8), np.int64(1)
    code_point = first & (0x7F >> width)
    for step in range(1, width):
        byte = np.int64(data[index + step])
        if byte & 0xC0 != 0x80:
            return np.int64(NOT_UTF8), np.int64(1)
        code_point = (code_point << 6) | (byte & 0x3F)
    return min(code_point, np.int64(0x10FFFF)), width


@compiled
def _class_after(data: U8, index: Any, end: Any, classes: U8) -> Any:
    """Return the class of the next character that is not ignored; 0 at the end."""
    while index < end:
        code_point, width = _code_point(data, index, end)
        if not IS_IGNORED[classes[code_point]]:
            return classes[code_point]
        index += width
    return 0


@compiled
def _copied(data: U8, start: Any, end: Any, out: U8, used: Any) -> Any:
    """Copy ``data[start:end]`` and a space behind the first ``used`` bytes; return the new end."""
    for index in range(start, end):
        out[used] = data[index]
        used += 1
    out[used] = SPACE
    return used + 1


@compiled
def spaced_words(data: U8, bounds: I32, classes: U8) -> tuple[U8, I32]:
    """Return texts with the tokens of each, and a space behind every token.

    Args:
        data: the bytes of the texts.
        bounds: the bounds of the texts, [B + 1].
        classes: ``word_break.class_table()``.

    Returns:
        The bytes and bounds of the result, [B + 1].

    >>> from fasttext_app.core.arrow import string_array, string_buffers
    >>> from fasttext_app.text.word_break import class_table
    >>> texts = string_buffers(string_array(["Can't stop!", "", "今天"]))
    >>> out, out_bounds = spaced_words(*texts, class_table())
    >>> bytes(out).decode(), out_bounds.tolist()
    ("Can't stop ! 今 今天 天 ", [0, 13, 13, 28])
    """
    zero: Any = np.int64(0)
    out = np.empty(2 * (bounds[-1] - bounds[0]) + 64, dtype=np.uint8)
    out_bounds = np.zeros(len(bounds), dtype=np.int32)
    used = zero
    for text in range(len(bounds) - 1):
        # Make room. A text of letters apart, three bytes each, becomes (3 + 1) + (6 + 1) bytes a
        # letter, and one of signs, of one byte each, two bytes a sign.
        index, end = np.int64(bounds[text]), np.int64(bounds[text + 1])
        if used + 4 * (end - index) > len(out):
            larger = np.empty(2 * len(out) + 4 * (end - index), dtype=np.uint8)
            for position in range(used):
                larger[position] = out[position]
            out = larger

        # `left` is the class of the last character that is not ignored, `before` of the one before
        # it, and `previous` of the last character of all. `start` is where the segment began, with
        # a character of the class `first`.
        left = before = previous = flags = first = 0
        start, letter_start, letter_end = index, zero - 1, zero - 1
        text_start = index
        while index <= end:
            code = 0
            width = zero + 1
            joined = False
            if index < end:
                code_point, width = _code_point(data, index, end)
                code = classes[code_point]
                if index > text_start:
                    # WB4: the character belongs to the one before it.
                    if IS_IGNORED[code] and not IS_NEWLINE[previous]:
                        previous = code
                        index += width
                        continue
                    flags = flags + 1 if left == FLAG else 0
                    rule = PAIR_RULES[left, code]
                    if rule == JOIN:
                        joined = True
                    elif rule >= BEFORE:
                        joined = IS_END[rule - BEFORE, before] == 1
                    elif rule >= AFTER:
                        after = _class_after(data, index + width, end, classes)
                        joined = IS_END[rule - AFTER, after] == 1
                    if previous == ZWJ and IS_PICTOGRAPH[code]:
                        joined = True
                    if code == FLAG and flags % 2 == 1:
                        joined = True

            # A segment ends here: copy it, and before it the pair that it makes with a letter.
            if not joined and index > text_start:
                if first == APART:
                    if letter_end == start:
                        used = _copied(data, letter_start, index, out, used)
                    letter_start, letter_end = start, index
                if not IS_DROPPED[first]:
                    used = _copied(data, start, index, out, used)
            if not joined:
                start, first = index, code
            before, left, previous = left, code, code
            index += width
        out_bounds[text + 1] = used
    return out[:used].copy(), out_bounds

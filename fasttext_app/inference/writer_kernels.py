"""Compiled code of the writers: strings and numbers of a column as they stand in JSON and CSV.

Strings are in Arrow's layout, in and out: bytes, and offsets [rows + 1]. ``json.dumps`` and
``csv.writer`` are the reference implementations, which ``writers.py`` calls for a few rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasttext_app.core.arrays import F64, I32, U8
from fasttext_app.core.bits import EACH_BYTE, HIGH_BITS, load_word, store_word
from fasttext_app.core.jit import compiled, inlined

QUOTE, BACKSLASH, SPACE, ZERO, COMMA = ord('"'), ord("\\"), ord(" "), ord("0"), ord(",")
LF, CR = ord("\n"), ord("\r")
SHORT_ESCAPES = np.zeros(256, np.uint8)
"""The letter that stands for a byte behind a backslash in JSON; 0: there is none."""
for _character, _letter in {"\n": "n", "\r": "r", "\t": "t", "\f": "f", "\b": "b"}.items():
    SHORT_ESCAPES[ord(_character)] = ord(_letter)
SHORT_ESCAPES[QUOTE], SHORT_ESCAPES[BACKSLASH] = QUOTE, BACKSLASH
HEX = np.frombuffer(b"0123456789abcdef", np.uint8).copy()
LONGEST_NUMBER = 8
QUOTES, BACKSLASHES, SPACES, COMMAS, LFS, CRS = (
    np.uint64(byte) * EACH_BYTE for byte in (QUOTE, BACKSLASH, SPACE, COMMA, LF, CR)
)
"""Eight times the same byte."""


@inlined
def _below(word: Any, bytes_: Any) -> Any:
    """Return a number that is not 0 if one of eight bytes is less than the others' and than 128.

    A subtraction borrows from the highest bit of the first such byte, which was not set.
    """
    return (word - bytes_) & ~word & HIGH_BITS


@inlined
def _equal(word: Any, bytes_: Any) -> Any:
    """Return a number that is not 0 if one of eight bytes equals the others'."""
    return _below(word ^ bytes_, EACH_BYTE)


@inlined
def _escapes(word: Any) -> Any:
    """Return a number that is not 0 if JSON escapes one of eight bytes."""
    return _equal(word, QUOTES) | _equal(word, BACKSLASHES) | _below(word, SPACES)


@compiled
def json_strings(data: U8, offsets: I32) -> tuple[U8, I32]:
    r"""Return strings as ``json.dumps(..., ensure_ascii=False)`` writes them.

    >>> from fasttext_app.core.arrow import string_array, string_buffers
    >>> data, offsets = json_strings(*string_buffers(string_array(['a"b', "\n\x01"])))
    >>> bytes(data), offsets.tolist()
    (b'"a\\"b""\\n\\u0001"', [0, 6, 16])
    """
    index, end = np.int64(offsets[0]), np.int64(offsets[-1])
    size = end - index + 2 * (len(offsets) - 1)
    while index < end:
        if index + 8 <= end and _escapes(load_word(data, index)) == 0:
            index += 8
            continue
        byte = data[index]
        index += 1
        if SHORT_ESCAPES[byte]:
            size += 1
        elif byte < SPACE:
            size += 5
    out, ends = np.empty(size, np.uint8), np.zeros(len(offsets), np.int32)
    used = 0
    for row in range(len(offsets) - 1):
        out[used] = QUOTE
        used += 1
        index, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        while index < end:
            if index + 8 <= end:
                word = load_word(data, index)
                if _escapes(word) == 0:
                    store_word(out, used, word)
                    used += 8
                    index += 8
                    continue
            byte = data[index]
            index += 1
            if SHORT_ESCAPES[byte]:
                out[used], out[used + 1] = BACKSLASH, SHORT_ESCAPES[byte]
                used += 2
            elif byte < SPACE:
                out[used], out[used + 1] = BACKSLASH, ord("u")
                out[used + 2] = out[used + 3] = ZERO
                out[used + 4], out[used + 5] = HEX[byte >> 4], HEX[byte & 15]
                used += 6
            else:
                out[used] = byte
                used += 1
        out[used] = QUOTE
        used += 1
        ends[row + 1] = used
    return out, ends


@compiled
def csv_strings(data: U8, offsets: I32) -> tuple[U8, I32]:
    """Return strings as cells of CSV: in quotes where they have a comma, a quote or a line break.

    >>> from fasttext_app.core.arrow import string_array, string_buffers
    >>> data, offsets = csv_strings(*string_buffers(string_array(["a", 'a,"b', ""])))
    >>> bytes(data), offsets.tolist()
    (b'a"a,""b"', [0, 1, 8, 8])
    """
    quoted = np.zeros(len(offsets) - 1, np.bool_)
    size = np.int64(offsets[-1]) - np.int64(offsets[0])
    for row in range(len(quoted)):
        index, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        while index < end:
            if index + 8 <= end:
                word = load_word(data, index)
                found = _equal(word, QUOTES) | _equal(word, COMMAS)
                if found | _equal(word, LFS) | _equal(word, CRS) == 0:
                    index += 8
                    continue
            byte = data[index]
            index += 1
            size += byte == QUOTE
            if byte == QUOTE or byte == COMMA or byte == LF or byte == CR:
                quoted[row] = True
        size += 2 * quoted[row]
    out, ends = np.empty(size, np.uint8), np.zeros(len(offsets), np.int32)
    used = 0
    for row in range(len(quoted)):
        if quoted[row]:
            out[used] = QUOTE
            used += 1
        index, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        while index < end:
            if index + 8 <= end:
                word = load_word(data, index)
                if _equal(word, QUOTES) == 0:
                    store_word(out, used, word)
                    used += 8
                    index += 8
                    continue
            byte = data[index]
            index += 1
            if byte == QUOTE:
                out[used] = QUOTE
                used += 1
            out[used] = byte
            used += 1
        if quoted[row]:
            out[used] = QUOTE
            used += 1
        ends[row + 1] = used
    return out, ends


@inlined
def _millionths(value: float) -> Any:
    """Return a number from 0 to 1 in millionths; half of one is rounded to an even number."""
    # The product and its rounding error, exactly: Dekker's split of the number into two halves.
    product = value * 1e6
    split = 134217729.0 * value
    high = split - (split - value)
    error = (high * 1e6 - product) + (value - high) * 1e6
    whole = np.int64(product)
    above = product - whole - 0.5
    if above > 0 or (above == 0 and (error > 0 or (error == 0 and whole % 2 == 1))):
        whole += 1
    return whole


@compiled
def number_strings(values: F64, as_json: bool) -> tuple[U8, I32]:
    """Return numbers from 0 to 1 with six digits behind the point.

    Args:
        values: the numbers.
        as_json: as ``json.dumps(round(value, 6))`` writes them, without zeros at the end.

    >>> data, offsets = number_strings(np.array([0.75, 1, 1.2e-5]), False)
    >>> bytes(data)
    b'0.7500001.0000000.000012'
    >>> data, offsets = number_strings(np.array([0.75, 1, 1.2e-5]), True)
    >>> bytes(data), offsets.tolist()
    (b'0.751.01.2e-05', [0, 4, 7, 14])
    """
    out = np.empty(LONGEST_NUMBER * len(values), np.uint8)
    ends = np.zeros(len(values) + 1, np.int32)
    used = 0
    for row in range(len(values)):
        millionths = _millionths(values[row])
        if as_json and 0 < millionths < 100:
            # Python writes numbers below 0.0001 with an exponent.
            tens, ones = millionths // 10, millionths % 10
            out[used] = ZERO + (tens if tens else ones)
            used += 1
            if tens and ones:
                out[used], out[used + 1] = ord("."), ZERO + ones
                used += 2
            out[used], out[used + 1], out[used + 2] = ord("e"), ord("-"), ZERO
            out[used + 3] = ZERO + (5 if tens else 6)
            used += 4
        else:
            out[used], out[used + 1] = ZERO + millionths // 1_000_000, ord(".")
            rest, last = millionths % 1_000_000, used + 2
            for digit in range(used + 7, used + 1, -1):
                out[digit] = ZERO + rest % 10
                if rest % 10 and last == used + 2:
                    last = max(digit, last)
                rest //= 10
            used = last + 1 if as_json else used + 8
        ends[row + 1] = used
    return out[:used].copy(), ends

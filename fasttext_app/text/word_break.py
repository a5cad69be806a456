"""The ``unicode`` tokenizer: the words of any script, by UAX #29 and without a dictionary.

UAX #29 ("Unicode Text Segmentation") says where words begin and end. White space and controls are
dropped; punctuation marks, symbols and emoji are tokens of their own. Chinese, Japanese, Thai, Lao,
Khmer and Burmese have no spaces, and UAX #29 leaves their letters apart: here, each letter is a
token, with its marks, and so is each pair of neighbors.

    can't stop!   ─►  can't  stop  !
    今天 3.5°C     ─►  今  今天  天  3.5  °  C

The functions here are the reference implementation, and encode single texts;
``word_break_kernels.py`` does the same for columns.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np

from fasttext_app.core.arrays import U8
from fasttext_app.text.spans import Span
from fasttext_app.text.unicode_data import WORD_BREAK

CODES = {name: code for code, name in enumerate(["Other", *WORD_BREAK])}
"""The code of each class of characters."""

LETTERS = ("ALetter", "ALetterPict", "Hebrew_Letter")
WORDS = (*LETTERS, "Numeric", "Katakana")
NEWLINES = ("CR", "LF", "Newline")
IGNORED = ("Extend", "Format", "ZWJ")
DROPPED = (*NEWLINES, *IGNORED, "WSegSpace", "Space")
"""Classes of the first character of a segment that is no token."""

JOINED = (
    (("CR",), ("LF",)),  # WB3
    (LETTERS, LETTERS),  # WB5
    (("Hebrew_Letter",), ("Single_Quote",)),  # WB7a
    (("Numeric",), ("Numeric",)),  # WB8
    (LETTERS, ("Numeric",)),  # WB9
    (("Numeric",), LETTERS),  # WB10
    (("Katakana",), ("Katakana",)),  # WB13
    ((*WORDS, "ExtendNumLet"), ("ExtendNumLet",)),  # WB13a
    (("ExtendNumLet",), WORDS),  # WB13b
)
"""Classes of neighbors that belong together."""
BRIDGED = (
    (LETTERS, ("MidLetter", "MidNumLet", "Single_Quote")),  # WB6, WB7
    (("Hebrew_Letter",), ("Double_Quote",)),  # WB7b, WB7c
    (("Numeric",), ("MidNum", "MidNumLet", "Single_Quote")),  # WB11, WB12
)
"""Ends that belong together with the one character between them."""


@cache
def class_table() -> U8:
    """Return the code of the class of each character, [0x110000]."""
    table = np.zeros(0x110000, np.uint8)
    for name, members in WORD_BREAK.items():
        for member in members.split():
            first, _, last = member.partition("-")
            table[int(first, 16) : int(last or first, 16) + 1] = CODES[name]
    table.flags.writeable = False
    return table


@cache
def _class_names() -> tuple[list[str], bytes]:
    return ["Other", *WORD_BREAK], class_table().tobytes()


def segments(text: str) -> list[Span]:
    """Return the spans between the word boundaries of UAX #29.

    >>> text = "a.b 3.5"
    >>> [text[start:end] for start, end in segments(text)]
    ['a.b', ' ', '3.5']
    """
    names, table = _class_names()
    classes = [names[table[ord(letter)]] for letter in text]
    # WB4: marks and invisible characters belong to the character before them, unless that ends a
    # line. The other rules see only the characters that remain.
    bases = [
        index
        for index, name in enumerate(classes)
        if name not in IGNORED or index == 0 or classes[index - 1] in NEWLINES
    ]
    around = ["", *(classes[index] for index in bases), ""]
    bounds, flags = [0], 0
    for number, (left, right) in enumerate(pairwise(around[1:-1])):
        start, before, after = bases[number + 1], around[number], around[number + 3]
        flags = flags + 1 if left == "Regional_Indicator" else 0
        joined = (
            any(left in one and right in other for one, other in JOINED)
            or any(
                (left in ends and right in middle and after in ends)
                or (before in ends and left in middle and right in ends)
                for ends, middle in BRIDGED
            )
            or (classes[start - 1] == "ZWJ" and right in ("Pict", "ALetterPict"))  # WB3c
            or (left == right == "WSegSpace" and start == bases[number] + 1)  # WB3d
            or (right == "Regional_Indicator" and flags % 2 == 1)  # WB15, WB16
        )
        if not joined:
            bounds.append(start)
    return list(pairwise([*bounds, len(text)])) if text else []


def unicode_spans(text: str) -> list[Span]:
    """Return the spans of :func:`unicode_words`."""
    names, table = _class_names()
    spans: list[Span] = []
    letter = (0, -1)  # the last span, if it was a letter that stands apart
    for start, end in segments(text):
        first = names[table[ord(text[start])]]
        if first == "Apart":
            if letter[1] == start:
                spans.append((letter[0], end))
            letter = (start, end)
        if first not in DROPPED:
            spans.append((start, end))
    return spans


def unicode_words(text: str) -> list[str]:
    """Return the tokens of a text.

    >>> unicode_words("Can't stop!")
    ["Can't", 'stop', '!']
    >>> unicode_words("今天 3.5°C")
    ['今', '今天', '天', '3.5', '°', 'C']
    """
    return [text[start:end] for start, end in unicode_spans(text)]

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

import re
from functools import cache
from itertools import accumulate, pairwise

import numpy as np

from fasttext_app.core.arrays import U8
from fasttext_app.text.spans import Span
from fasttext_app.text.unicode_data import WORD_BREAK

CLASSES = {
    "Other": "o",
    "CR": "r",
    "LF": "n",
    "Newline": "l",
    "Extend": "e",
    "Format": "f",
    "ZWJ": "z",
    "Katakana": "k",
    "Hebrew_Letter": "h",
    "ALetter": "a",
    "ALetterPict": "m",
    "Single_Quote": "'",
    "Double_Quote": '"',
    "MidNumLet": ".",
    "MidLetter": ":",
    "MidNum": ",",
    "Numeric": "1",
    "ExtendNumLet": "_",
    "Regional_Indicator": "g",
    "WSegSpace": " ",
    "Space": "t",
    "Apart": "c",
    "Pict": "p",
}
"""A letter for each class of characters, by the names of ``unicode_data.py``."""

IGNORED, NEWLINES, PICTOGRAPHS = b"efz", b"rnl", b"pm"
DROPPED = b"rnlefz t"
"""Classes of the first character of a segment that is no token."""
APART = ord(CLASSES["Apart"])

SEGMENT = re.compile(
    rb"""[ahm1]+ (?=[ tcop]) | [ ]+ (?![PM])  # most words, which is faster; WB3d: spaces
    | (?: [ahmM1]+ | rn | gg? | . )     # WB3: a line end; WB15, WB16: two letters are a flag
    (?: (?<=[ahmM1_]) [ahmM1]+          # WB5, WB8, WB9, WB10, WB13b: letters and digits
      | (?<=[ahmM]) [.:'] [ahmM]        # WB6, WB7: an apostrophe in a word
      | (?<=1) [.,'] 1                  # WB11, WB12: a decimal point
      | (?<=[k_]) k                     # WB13, WB13b: Katakana
      | (?<=[ahmM1k_]) _                # WB13a: an underscore
      | (?<=h) "h | (?<=h) '            # WB7a, WB7b, WB7c: Hebrew quotation marks
      | [PM]                            # WB3c: see `_cut`
    )*""",
    re.VERBOSE | re.DOTALL,
)
"""A segment in the classes of its characters."""
HAS_IGNORED = re.compile(rb"[efz]")


@cache
def class_table() -> U8:
    """Return the letter of the class of each character, [0x110000]."""
    table = np.full(0x110000, ord(CLASSES["Other"]), np.uint8)
    for name, members in WORD_BREAK.items():
        for member in members.split():
            first, _, last = member.partition("-")
            table[int(first, 16) : int(last or first, 16) + 1] = ord(CLASSES[name])
    table.flags.writeable = False
    return table


def segments(text: str) -> list[Span]:
    """Return the spans between the word boundaries of UAX #29.

    >>> text = "a.b 3.5"
    >>> [text[start:end] for start, end in segments(text)]
    ['a.b', ' ', '3.5']
    """
    pieces, places = _cut(text)
    bounds = accumulate(map(len, pieces), initial=0)
    return list(pairwise(bounds if places is None else (places[bound] for bound in bounds)))


def _cut(text: str) -> tuple[list[bytes], list[int] | None]:
    """Cut a text into segments.

    Returns:
        The classes of the characters of each segment, without ignored ones; and the place in the
        text of each of these characters, and of its end; None if none is ignored.
    """
    code_points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    classes: bytes = class_table()[code_points].tobytes()
    if not HAS_IGNORED.search(classes):
        return SEGMENT.findall(classes), None
    # WB4: marks and invisible characters belong to the character before them, unless that ends a
    # line. The other rules see only the characters that remain. But WB3c joins a pictograph to the
    # joiner just before it, so it becomes a class of its own, and WB3d joins spaces without marks.
    places = [
        place
        for place, code in enumerate(classes)
        if code not in IGNORED or place == 0 or classes[place - 1] in NEWLINES
    ]
    remaining = bytearray(classes[place] for place in places)
    for index, place in enumerate(places[1:], start=1):
        code, before = classes[place], classes[place - 1]
        if before == ord("z") and code in PICTOGRAPHS:
            remaining[index] = ord(chr(code).upper())
        elif before in IGNORED and code == ord(" "):
            remaining[index] = ord("t")
    return SEGMENT.findall(bytes(remaining)), [*places, len(text)]


def unicode_spans(text: str) -> list[Span]:
    """Return the spans of :func:`unicode_words`."""
    pieces, places = _cut(text)
    spans: list[Span] = []
    letter_start, letter_end = 0, -1  # of the last letter that stands apart
    start = 0
    for piece in pieces:
        end, first = start + len(piece), piece[0]
        if first not in DROPPED:
            if first == APART:
                if letter_end == start:
                    spans.append((letter_start, end))
                letter_start, letter_end = start, end
            spans.append((start, end))
        start = end
    return spans if places is None else [(places[start], places[end]) for start, end in spans]


def unicode_words(text: str) -> list[str]:
    """Return the tokens of a text.

    >>> unicode_words("Can't stop!")
    ["Can't", 'stop', '!']
    >>> unicode_words("今天 3.5°C")
    ['今', '今天', '天', '3.5', '°', 'C']
    """
    return [text[start:end] for start, end in unicode_spans(text)]

"""``Rewriting``: what changes in a text before it is cut into tokens.

``replace`` puts a word in place of each URL, e-mail address, emoji or number, and ``lowercase``
makes letters small, by Python's ``str.lower``. Both come before any tokenizer.

>>> Rewriting(lowercase=True, replace=("url", "number")).text("See www.example.org, 3.5 stars")
'see  __url__ ,  __number__  stars'
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import pyarrow as pa

from fasttext_app.core.arrow import python_strings, strings_from_bytes
from fasttext_app.text.spans import Span
from fasttext_app.text.unicode_data import PICTOGRAPHS

# Letters of scripts with spaces go on in a URL, and make a number part of a word. Those from Thai
# on, and the ideographs, do neither: a text has no space between them and what precedes them.
SPACED_LETTERS = "\u00c0-\u0dff"
FLAGS = "\U0001f1e6-\U0001f1ff"  # letters of which two are a flag
MODIFIERS = "\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"

PATTERNS = {
    "url": (
        rf"\b(?i:https?://|ftp://|www\.)[!#-;=?-~{SPACED_LETTERS}]*"
        rf"[0-9A-Za-z/#&=~%+$@_{SPACED_LETTERS}-]"  # the last is no punctuation mark
    ),
    "email": r"\b[0-9A-Za-z_.%+-]+@(?:[0-9A-Za-z-]+\.)+[A-Za-z]{2,}\b",
    # One set for all first characters, because such a pattern is found faster.
    "emoji": (
        rf"[PICTOGRAPHS{FLAGS}0-9#*]"
        rf"(?:(?<=[{FLAGS}])[{FLAGS}]?|(?<=[0-9#*])\ufe0f\u20e3"
        rf"|(?<=[PICTOGRAPHS])[{MODIFIERS}]*(?:\u200d[PICTOGRAPHS][{MODIFIERS}]*)*)"
    ),
    "number": (
        rf"\d(?<![A-Za-z_{SPACED_LETTERS}].)(?<![0-9].)\d*+(?:[.,]\d++)*+"
        rf"(?![0-9A-Za-z_{SPACED_LETTERS}])"
    ),
}
"""What is replaced, in this order: a URL may have an address in it, and an address a number."""


@cache
def compiled_pattern(name: str) -> re.Pattern[str]:
    """Return the pattern of one of :data:`PATTERNS`."""
    members = "".join(
        "-".join(f"\\U{int(end, 16):08x}" for end in member.split("-"))
        for member in PICTOGRAPHS.split()
    )
    source = PATTERNS[name].replace("PICTOGRAPHS", members)
    return re.compile(source, 0 if name == "number" else re.ASCII)  # digits of all scripts


@dataclass(frozen=True)
class Rewriting:
    """Rewrites texts.

    Attributes:
        lowercase: whether to make letters small.
        replace: what to replace by a word: keys of :data:`PATTERNS`.
    """

    lowercase: bool = False
    replace: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.lowercase or bool(self.replace)

    def text(self, text: str) -> str:
        """Return a text, rewritten."""
        for name, pattern in self._patterns(text):
            text = pattern.sub(word_for(name), text)
        return text.lower() if self.lowercase else text

    def column(self, texts: pa.StringArray) -> pa.StringArray:
        """Return a column of texts, rewritten."""
        rewritten = [self.text(text) for text in python_strings(texts)]
        return strings_from_bytes([text.encode("utf-8", "surrogateescape") for text in rewritten])

    def traced(self, text: str) -> tuple[str, list[Span]]:
        """Return a text, rewritten, and where each of its characters comes from.

        >>> Rewriting(replace=("number",)).traced("a 12")
        ('a  __number__ ', [(0, 1), (1, 2), (2, 4), (2, 4), ..., (2, 4)])
        """
        origins = [(index, index + 1) for index in range(len(text))]
        for name, pattern in self._patterns(text):
            parts: list[Span] = []
            end = 0
            for match in pattern.finditer(text):
                whole = origins[match.start()][0], origins[match.end() - 1][1]
                parts += origins[end : match.start()] + [whole] * len(word_for(name))
                end = match.end()
            origins = parts + origins[end:]
            text = pattern.sub(word_for(name), text)
        if self.lowercase:
            origins = [
                origin for letter, origin in zip(text, origins, strict=True) for _ in letter.lower()
            ]
            text = text.lower()
        return text, origins

    def _patterns(self, text: str) -> list[tuple[str, re.Pattern[str]]]:
        """Return the patterns that may match in a text."""
        return [(name, compiled_pattern(name)) for name in self.names if _may(name, text)]

    @property
    def names(self) -> list[str]:
        """What is replaced, in the order in which that happens."""
        return [name for name in PATTERNS if name in self.replace]


def _may(name: str, text: str) -> bool:
    """Return whether a pattern may match in a text; this is faster than looking for a match."""
    if name == "url":
        return "://" in text or "www." in text.lower()
    if name == "emoji":
        return not text.isascii()
    return name != "email" or "@" in text


def word_for(name: str) -> str:
    """Return what stands in place of a match, with a space on either side."""
    return f" __{name}__ "


def rewritten_spans(spans: list[Span], origins: list[Span], length: int) -> list[Span]:
    """Return spans of a rewritten text as spans of the text that it came from.

    Args:
        spans: spans of the rewritten text.
        origins: where its characters come from, as :meth:`Rewriting.traced` returns them.
        length: the length of the original text.
    """
    return [
        (origins[start][0], origins[end - 1][1])
        if end > start
        else (origins[start][0] if start < len(origins) else length,) * 2
        for start, end in spans
    ]

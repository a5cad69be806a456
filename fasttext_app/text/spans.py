"""The spans of tokens in their text: (start, end) of each, in characters.

``text[start:end]`` is what a token was made of, before lower-casing and with the quotes that were
dropped. A token that is not in the text, such as the ``</s>`` at its end, has an empty span.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

from fasttext_app.text.fasttext_tokenizer import END, WORD

Span: TypeAlias = tuple[int, int]

UNICODE_WORD = re.compile(r"\S+")


def whitespace_spans(text: str) -> list[Span]:
    """Return the spans of the words between Unicode white space.

    >>> whitespace_spans(" to  be")
    [(1, 3), (5, 7)]
    """
    return [match.span() for match in UNICODE_WORD.finditer(text)]


def fasttext_spans(text: str, prefix: str) -> list[Span]:
    """Return the spans of :func:`~fasttext_app.text.fasttext_tokenizer.fasttext_words`.

    >>> fasttext_spans("__label__a to be", "__label__")
    [(11, 13), (14, 16), (16, 16)]
    """
    spans: list[Span] = []
    for match in WORD.finditer(text):
        if match[0] == END:
            return [*spans, match.span()]
        if not match[0].startswith(prefix):
            spans.append(match.span())
    return [*spans, (len(text), len(text))]


def replacement_spans(text: str, rules: Sequence[tuple[str, str]]) -> list[Span]:
    """Return the spans of words that come from lower-casing, replacing and splitting a text.

    >>> replacement_spans('A "b"? C', [('"', ""), ("?", " ? ")])
    [(0, 1), (3, 4), (5, 6), (7, 8)]
    """
    # origins[i] is the index in the text that character i of the rewritten text comes from.
    # Lower-casing turns some characters into two.
    origins = [index for index, letter in enumerate(text) for _ in letter.lower()]
    text = text.lower()
    for pattern, replacement in rules:
        if pattern in text:
            origins = _replaced_origins(origins, text, pattern, len(replacement))
            text = text.replace(pattern, replacement)
    return [(origins[start], origins[end - 1] + 1) for start, end in whitespace_spans(text)]


def _replaced_origins(origins: list[int], text: str, pattern: str, length: int) -> list[int]:
    """Return the origins after each ``pattern`` has become ``length`` characters."""
    replaced, copied = [], 0
    while (start := text.find(pattern, copied)) >= 0:
        replaced += origins[copied:start] + [origins[start]] * length
        copied = start + len(pattern)
    return replaced + origins[copied:]

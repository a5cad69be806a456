"""Where the tokens of a text stand in it: (start, end) of each, in characters.

What a token was made of is ``text[start:end]``: lower-casing and dropped quotes are undone. A token
that is not in the text, as the ``</s>`` at its end, has an empty span.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

from fasttext_app.text.fasttext_tokenizer import END, WORD

Span: TypeAlias = tuple[int, int]

UNICODE_WORD = re.compile(r"\S+")


def whitespace_spans(text: str) -> list[Span]:
    """Return where the words between Unicode whitespace stand.

    >>> whitespace_spans(" to  be")
    [(1, 3), (5, 7)]
    """
    return [match.span() for match in UNICODE_WORD.finditer(text)]


def fasttext_spans(text: str, prefix: str) -> list[Span]:
    """Return where the words of :func:`~fasttext_app.text.fasttext_tokenizer.fasttext_words` stand.

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
    """Return where words stand that come of lower-casing, replacing, and splitting on whitespace.

    >>> replacement_spans('A "b"? C', [('"', ""), ("?", " ? ")])
    [(0, 1), (3, 4), (5, 6), (7, 8)]
    """
    places = [at for at, letter in enumerate(text) for _ in letter.lower()]  # some become two
    text = text.lower()
    for pattern, replacement in rules:
        if pattern in text:
            places = _moved(places, text, pattern, len(replacement))
            text = text.replace(pattern, replacement)
    return [(places[start], places[end - 1] + 1) for start, end in whitespace_spans(text)]


def _moved(places: list[int], text: str, pattern: str, length: int) -> list[int]:
    """Return where letters came from, once each ``pattern`` has become ``length`` letters."""
    moved, done = [], 0
    while (found := text.find(pattern, done)) >= 0:
        moved += places[done:found] + [places[found]] * length
        done = found + len(pattern)
    return moved + places[done:]

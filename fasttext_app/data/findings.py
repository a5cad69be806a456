"""What people should know of their rows: labels that look alike, texts that say "NA", copies.

>>> str(SimilarLabels(({"p": 30, "p ": 2},)))
"labels that differ only in blanks or case: 'p' (30) and 'p ' (2); write them alike"
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import I64
from fasttext_app.core.arrow import string_buffers, to_arrow
from fasttext_app.data.labels import joined_cells

SHOWN = 3  # groups of labels, or words, in a sentence
MISSING_WORDS = (
    *("NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "nan", "NaN", "-nan", "-NaN", "NaT"),
    *("null", "NULL", "Null", "None", "none", "undefined"),
)
"""What programs write for a missing value."""


@dataclass(frozen=True)
class Finding:
    """The base of all findings; ``str()`` of one is a sentence."""


@dataclass(frozen=True)
class SimilarLabels(Finding):
    """Labels that differ only in blanks or case."""

    groups: tuple[Mapping[str, int], ...]
    """The number of rows of each label, group by group."""

    def __str__(self) -> str:
        groups = [
            " and ".join(f"{label!r} ({rows:,})" for label, rows in group.items())
            for group in self.groups[:SHOWN]
        ]
        more = f"; and {len(self.groups) - SHOWN:,} more" if len(self.groups) > SHOWN else ""
        return (
            f"labels that differ only in blanks or case: {', '.join(groups)}{more}; "
            "write them alike"
        )


@dataclass(frozen=True)
class JoinedLabels(Finding):
    """Labels that look like several labels in one cell."""

    rows: int
    example: str
    separator: str

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows have labels such as {self.example!r}; "
            f"if these are several labels, set data.label_separator = {self.separator!r}"
        )


@dataclass(frozen=True)
class MissingTexts(Finding):
    """Texts that are what programs write for a missing value."""

    counts: Mapping[str, int]
    """The number of rows with each."""

    def __str__(self) -> str:
        shown = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
        words = ", ".join(f"{word!r} ({rows:,})" for word, rows in shown)
        rows = sum(self.counts.values())
        are = "texts are" if rows > 1 else "text is"
        return (
            f"{rows:,} {are} what programs write for a missing value: {words}; remove the rows, "
            "or fill in their texts"
        )


@dataclass(frozen=True)
class RepeatedTexts(Finding):
    """Rows with the text of another row and another label."""

    rows: int
    """The rows whose label is not the most frequent one of their text."""
    example: tuple[int, int]
    """Two such rows, counted from 1."""

    def __str__(self) -> str:
        first, second = self.example
        return (
            f"rows that repeat a text with another label: {self.rows:,} (such as {first:,} and "
            f"{second:,}); correct the labels, or set data.label_separator if there can be several"
        )


@dataclass(frozen=True)
class Copies(Finding):
    """Rows with the text of another row and the same label."""

    rows: int
    example: tuple[int, int]

    def __str__(self) -> str:
        first, second = self.example
        return f"copies of another row: {self.rows:,} (such as {first:,} and {second:,})"


@dataclass(frozen=True)
class SharedTexts(Finding):
    """Texts of one split that are in another one too, so that scores on it say too much."""

    rows: int
    of: int
    """All rows of the split."""
    split: str
    other: str
    example: tuple[int, int]
    """Such a row of the split and one of the other, counted from 1."""

    def __str__(self) -> str:
        first, second = self.example
        return (
            f"{self.rows:,} of {self.of:,} texts of {self.split} are in {self.other} too "
            f"(such as {first:,} and {second:,}); remove them from one of the two"
        )


def label_findings(
    rows_of: Mapping[str, int], *, joined: bool = True
) -> Iterator[SimilarLabels | JoinedLabels]:
    """Look for labels that are alike, and for several in one cell.

    Args:
        rows_of: the number of rows of each label.
        joined: whether a label may be several.
    """
    alike: dict[str, dict[str, int]] = {}
    for label, rows in rows_of.items():
        if rows:
            alike.setdefault(_without_blanks_and_case(label), {})[label] = rows
    groups = [group for group in alike.values() if len(group) > 1]
    similar = tuple(
        dict(sorted(group.items(), key=lambda item: (-item[1], item[0]))) for group in groups
    )
    if similar:
        yield SimilarLabels(similar)
    cells = joined_cells(rows_of) if joined else None
    if cells is not None:
        yield JoinedLabels(cells.rows, cells.example, cells.separator)


def _without_blanks_and_case(label: str) -> str:
    return "".join(unicodedata.normalize("NFKC", label).casefold().split())


def missing_texts(texts: pa.StringArray) -> Counter[str]:
    """Count the texts that are what programs write for a missing value.

    >>> dict(missing_texts(pa.array(["NaN", "a nan", " NaN "])))
    {'NaN': 2}
    """
    _, offsets = string_buffers(texts)
    longest = max(map(len, MISSING_WORDS)) + 2  # with a blank on both sides
    short = texts.filter(to_arrow(np.diff(offsets) <= longest))
    words = [text.strip() for text in short.to_pylist()]
    return Counter(word for word in words if word in MISSING_WORDS)


def text_hashes(texts: pa.StringArray) -> I64:
    """Return a number for each text, [B]: equal texts have equal numbers, and empty ones 0."""
    return np.fromiter((hash(text.strip()) for text in texts.to_pylist()), np.int64, len(texts))


def row_findings(texts: I64, labels: I64) -> Iterator[RepeatedTexts | Copies]:
    """Look for rows with the same text.

    Args:
        texts: the :func:`text_hashes` of the rows, [B].
        labels: a number for each label, [B].
    """
    wrong = conflicting_rows(texts, labels)
    wrong = wrong[texts[wrong] != 0]
    if len(wrong):
        yield RepeatedTexts(len(wrong), conflict_example(texts, labels, int(wrong[0])))
    rows = repeated_rows(texts)
    rows = rows[texts[rows] != 0]
    pairs = np.stack((texts[rows], labels[rows]), 1)
    _, first, pair_of_row = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    originals = rows[first[pair_of_row.ravel()]]
    copies = np.flatnonzero(originals != rows)
    if len(copies):
        yield Copies(len(copies), (int(originals[copies[0]]) + 1, int(rows[copies[0]]) + 1))


def repeated_rows(texts: I64) -> I64:
    """Return the rows whose text occurs more than once.

    >>> repeated_rows(np.array([7, 9, 7, 8])).tolist()
    [0, 2]
    """
    ordered = np.sort(texts)  # faster than any sort that also tells the rows
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(repeated):
        return np.empty(0, np.int64)
    places = np.minimum(np.searchsorted(repeated, texts), len(repeated) - 1)
    rows: I64 = np.flatnonzero(repeated[places] == texts)
    return rows


def conflicting_rows(texts: I64, labels: I64) -> I64:
    """Return the rows whose label is not the one that most rows with the same text have.

    >>> conflicting_rows(np.array([7, 7, 7, 8]), np.array([0, 1, 0, 1])).tolist()
    [1]
    """
    rows = repeated_rows(texts)
    pairs, pair_of_row, pair_rows = np.unique(
        np.stack((texts[rows], labels[rows]), 1), axis=0, return_inverse=True, return_counts=True
    )
    order = np.lexsort((-pair_rows, pairs[:, 0]))
    is_right = np.zeros(len(pairs), bool)
    _, first = np.unique(pairs[order, 0], return_index=True)
    is_right[order[first]] = True
    wrong: I64 = rows[~is_right[pair_of_row.ravel()]]
    return wrong


def conflict_example(texts: I64, labels: I64, row: int) -> tuple[int, int]:
    """Return a conflicting row and one that it conflicts with, counted from 1, in their order."""
    same_text = np.flatnonzero(texts == texts[row])
    other = int(same_text[labels[same_text] != labels[row]][0])
    return min(row, other) + 1, max(row, other) + 1


def shared_texts(texts: I64, others: I64) -> tuple[int, tuple[int, int]] | None:
    """Return how many texts are among others too, and an example of the rows, counted from 1."""
    shared = np.flatnonzero(np.isin(texts, others) & (texts != 0))
    if not len(shared):
        return None
    row = int(shared[0])
    return len(shared), (row + 1, int(np.flatnonzero(others == texts[row])[0]) + 1)

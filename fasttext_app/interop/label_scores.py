"""Scores as the original counts them: lines of any number of labels, precision and recall at k."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from fasttext_app.errors import DataError
from fasttext_app.interop.fasttext_model import column_of
from fasttext_app.text.fasttext_lines import END, SPACES

__all__ = ["Meter", "labelled_lines", "line_column", "text_lines"]

LINES = 4096  # that are scored at a time
BLOCK = 1 << 20  # bytes that are read at a time
ENDS = re.compile(rf"(?<![^ \n\r\t\v\f\0]){END}(?![^ \n\r\t\v\f\0])")


class Meter:
    """Counts labels that are right, that were predicted, and that were to be predicted.

    >>> meter = Meter(["a", "b"])
    >>> meter.add(["a", "b"], ["a"])
    >>> meter.add(["b"], ["a"])
    >>> meter.examples, meter.precision(), meter.recall(), meter.f1("a")
    (2, 0.5, 0.3333333333333333, 0.6666666666666666)
    """

    def __init__(self, labels: list[str]) -> None:
        self.labels = labels
        self.examples = 0
        self._right: Counter[str] = Counter()
        self._predicted: Counter[str] = Counter()
        self._gold: Counter[str] = Counter()

    def add(self, gold: list[str], predicted: list[str]) -> None:
        """Count one line."""
        self.examples += 1
        self._gold.update(gold)
        self._predicted.update(predicted)
        self._right.update(label for label in predicted if label in gold)

    def precision(self, label: str | None = None) -> float:
        """Return the share of what was predicted that is right; NaN if nothing was."""
        return _share(_of(self._right, label), _of(self._predicted, label))

    def recall(self, label: str | None = None) -> float:
        """Return the share of what was to be predicted that was; NaN if nothing was to be."""
        return _share(_of(self._right, label), _of(self._gold, label))

    def f1(self, label: str | None = None) -> float:
        """Return the harmonic mean of both."""
        return _share(
            2 * _of(self._right, label), _of(self._predicted, label) + _of(self._gold, label)
        )


def _of(counts: Counter[str], label: str | None) -> int:
    return counts.total() if label is None else counts[label]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def text_lines(path: str | Path) -> Iterator[list[str]]:
    """Read lines of any bytes, some at a time; ``-`` is standard input.

    As for the original, the word ``</s>`` ends a line too.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with open(0 if str(path) == "-" else path, "rb", closefd=str(path) != "-") as file:
            begun: list[bytes] = []  # of a line whose end has not come
            while block := file.read1(BLOCK):  # of a pipe, what there is
                first, *others = block.split(b"\n")
                begun.append(first)
                if others:
                    lines = [b"".join(begun), *others[:-1]]
                    begun = [others[-1]]
                    for start in range(0, len(lines), LINES):
                        yield _texts(lines[start : start + LINES])
            if any(begun):
                yield _texts([b"".join(begun)])
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _texts(lines: list[bytes]) -> list[str]:
    texts: list[str] = []
    for line in lines:
        text = line.decode("utf-8", "surrogateescape")
        texts += ENDS.split(text) if END in text else [text]
    return texts


def labelled_lines(
    path: str | Path, prefix: str, known: set[str]
) -> Iterator[list[tuple[str, list[str]]]]:
    """Read lines with the labels that are known, some at a time.

    Raises:
        DataError: the file cannot be read.
    """
    for lines in text_lines(path):
        yield [
            (
                line,
                [word for word in SPACES.split(line) if word.startswith(prefix) and word in known],
            )
            for line in lines
        ]


def line_column(lines: list[str]) -> pa.StringArray:
    """Make a column of lines, also of such as are not UTF-8."""
    return column_of([line.encode("utf-8", "surrogateescape") for line in lines])

"""The lines of a training file as the original reads them, whatever their bytes.

A word that begins with the label prefix is a label, and a line may have several, or none. The text
of a row is the whole line: the tokenizer ``fasttext`` knows labels, and leaves them out.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrow import string_array, strings_from_buffers
from fasttext_app.data.lines import line_blocks
from fasttext_app.data.source import Batches
from fasttext_app.errors import DataError
from fasttext_app.fasttext.convert import column_of
from fasttext_app.text.fasttext_tokenizer import END, WORD, split_words, whole_word

LABEL_SEPARATOR = " "
BLOCK = 1 << 22  # bytes that are read at a time
PIPE_BLOCK = 1 << 20  # the same, of a pipe
TEXT_ENDS = re.compile(whole_word(END))
ENDS = re.compile(whole_word(END).encode())


def scan_labeled(path: str | Path, prefix: str) -> Batches:
    """Read rows of ``text``, the line, and ``label``, its labels without their prefix.

    Labels have a space between them; a line without one has an empty cell. As for the original,
    the word ``</s>`` ends a line too.

    Raises:
        DataError: the file cannot be read, is empty, or has a label that is not UTF-8.
    """
    word = re.compile(whole_word(f"{re.escape(prefix)}({WORD.pattern})").encode())
    first = 1
    for block in _blocks(path):
        lines = ENDS.sub(b"\n", block) if END.encode() in block else block
        data = np.frombuffer(lines, np.uint8)
        ends = np.flatnonzero(data == ord("\n")) + 1
        inner = ends[ends < len(data)]
        bounds = np.concatenate(([0], inner, [len(data)])).astype(np.int32)
        cells = [""] * (len(bounds) - 1)
        found = list(word.finditer(lines))
        starts = np.array([match.start() for match in found], np.int64)
        for row, match in zip(
            (bounds.searchsorted(starts, "right") - 1).tolist(), found, strict=True
        ):
            try:
                name = match[1].decode()
            except UnicodeDecodeError:
                line = first + block.count(b"\n", 0, block.find(match[0]))
                raise DataError(f"{path}:{line}: its label {match[0]!r} is not UTF-8") from None
            cells[row] = f"{cells[row]}{LABEL_SEPARATOR}{name}" if cells[row] else name
        yield pa.record_batch(
            {"text": strings_from_buffers(data, bounds), "label": string_array(cells)}
        )
        first += block.count(b"\n")


def _blocks(path: str | Path) -> Iterator[bytes]:
    """Read whole lines, some at a time."""
    try:
        with Path(path).open("rb") as file:
            empty = True
            for block in line_blocks(lambda: file.read(BLOCK)):
                if empty:  # the first one
                    block = block.removeprefix(BOM_UTF8)
                if block:
                    yield block
                    empty = False
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    if empty:
        raise DataError(f"{path}: the file is empty")


LINES = 4096  # that are scored at a time


def text_lines(path: str | Path) -> Iterator[list[str]]:
    """Read lines of any bytes, some at a time; ``-`` is standard input.

    As for the original, the word ``</s>`` ends a line too.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with open(0 if str(path) == "-" else path, "rb", closefd=str(path) != "-") as file:
            for block in line_blocks(lambda: file.read1(PIPE_BLOCK)):  # of a pipe, what there is
                lines = block.removesuffix(b"\n").split(b"\n")
                for start in range(0, len(lines), LINES):
                    yield _texts(lines[start : start + LINES])
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _texts(lines: list[bytes]) -> list[str]:
    texts: list[str] = []
    for line in lines:
        text = line.decode("utf-8", "surrogateescape")
        texts += TEXT_ENDS.split(text) if END in text else [text]
    return texts


def labeled_lines(
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
                [word for word in split_words(line) if word.startswith(prefix) and word in known],
            )
            for line in lines
        ]


def line_column(lines: list[str]) -> pa.StringArray:
    """Make a column of lines, also of such as are not UTF-8."""
    return column_of([line.encode("utf-8", "surrogateescape") for line in lines])

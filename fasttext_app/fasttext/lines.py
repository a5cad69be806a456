"""The lines of a training file as the original reads them, whatever their bytes.

A word that begins with the label prefix is a label, and a line may have several, or none. The text
of a row is the whole line: the tokenizer ``fasttext`` knows labels, and leaves them out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrow import string_array, strings_from_buffers
from fasttext_app.data.source import Batches
from fasttext_app.errors import DataError
from fasttext_app.fasttext.convert import column_of
from fasttext_app.text.fasttext_tokenizer import END, SPACES

LABEL_SEPARATOR = " "
BLOCK = 1 << 22  # bytes that are read at a time
BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}".encode()
SPACE = rb"[ \n\r\t\v\f\0]"
PIPE_BLOCK = 1 << 20  # the same, of a pipe
TEXT_ENDS = re.compile(rf"(?<![^ \n\r\t\v\f\0]){END}(?![^ \n\r\t\v\f\0])")
ENDS = re.compile(rb"(?<![^ \n\r\t\v\f\0])" + END.encode() + rb"(?![^ \n\r\t\v\f\0])")


def scan_labeled(path: str | Path, prefix: str) -> Batches:
    """Read rows of ``text``, the line, and ``label``, its labels without their prefix.

    Labels have a space between them; a line without one has an empty cell. As for the original,
    the word ``</s>`` ends a line too.

    Raises:
        DataError: the file cannot be read, is empty, or has a label that is not UTF-8.
    """
    word = re.compile(
        rb"(?<![^ \n\r\t\v\f\0])" + re.escape(prefix.encode()) + rb"([^ \n\r\t\v\f\0]+)"
    )
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
            carried = [file.read(len(BYTE_ORDER_MARK)).removeprefix(BYTE_ORDER_MARK)]
            empty = not carried[0]
            while block := file.read(BLOCK):
                head, feed, tail = block.rpartition(b"\n")
                if feed:
                    yield b"".join([*carried, head, feed])
                    carried = []
                carried.append(tail)
                empty = False
            if any(carried):
                yield b"".join(carried)
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
            begun: list[bytes] = []  # of a line whose end has not come
            while block := file.read1(PIPE_BLOCK):  # of a pipe, what there is
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
                [word for word in SPACES.split(line) if word.startswith(prefix) and word in known],
            )
            for line in lines
        ]


def line_column(lines: list[str]) -> pa.StringArray:
    """Make a column of lines, also of such as are not UTF-8."""
    return column_of([line.encode("utf-8", "surrogateescape") for line in lines])

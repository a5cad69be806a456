"""Read text files as fastText does: lines of any bytes, with labels among their words.

A line ends at a line feed or after the word ``</s>``. It may have several labels, or none; bytes
that are not UTF-8 belong to words like any others.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrow import string_array, strings_from_buffers
from fasttext_app.data.byte_stream import ByteStream
from fasttext_app.data.lines import line_blocks
from fasttext_app.data.source import Batches
from fasttext_app.errors import DataError
from fasttext_app.fasttext.options import LABEL_SEPARATOR
from fasttext_app.text.fasttext_tokenizer import END, WORD, label_name, whole_word

BLOCK_BYTES = 1 << 22
MAX_LINES = 4096  # in a list that `text_lines` yields
END_WORD = re.compile(whole_word(END).encode())


def scan_labeled(path: str | Path, prefix: str) -> Batches:
    """Yield batches of ``text``, whole lines, and ``label``, their labels without the prefix.

    Labels are joined by a space; a line without any has an empty cell. A byte order mark is
    skipped.

    Raises:
        DataError: the file cannot be read, is empty, or has a label that is not UTF-8.
    """
    label_word = re.compile(whole_word(f"{re.escape(prefix)}(?:{WORD.pattern})?").encode())
    line = 0
    for block in _blocks(path):
        if not line:
            block = block.removeprefix(BOM_UTF8)
            if not block:
                break
            line = 1
        lines = _break_after_end(block)
        data = np.frombuffer(lines, np.uint8)
        ends = np.flatnonzero(data == ord("\n")) + 1
        offsets = np.concatenate(([0], ends[ends < len(data)], [len(data)])).astype(np.int32)
        cells = [""] * (len(offsets) - 1)
        matches = list(label_word.finditer(lines))
        starts = np.array([match.start() for match in matches], np.int64)
        rows = (offsets.searchsorted(starts, "right") - 1).tolist()
        for row, match in zip(rows, matches, strict=True):
            try:
                label = label_name(match[0].decode(), prefix)
            except UnicodeDecodeError:
                line += block.count(b"\n", 0, block.find(match[0]))
                raise DataError(f"{path}:{line}: its label {match[0]!r} is not UTF-8") from None
            cells[row] = f"{cells[row]}{LABEL_SEPARATOR}{label}" if cells[row] else label
        yield pa.record_batch(
            {"text": strings_from_buffers(data, offsets), "label": string_array(cells)}
        )
        line += block.count(b"\n")
    if not line:
        raise DataError(f"{path}: the file is empty")


def text_lines(path: str | Path) -> Iterator[list[str]]:
    """Yield lists of lines; bytes that are not UTF-8 become lone surrogates.

    Args:
        path: a file; ``-``: standard input, whose lines are yielded as they come.

    Raises:
        DataError: the file cannot be read.
    """
    for block in _blocks(path):
        lines = _break_after_end(block).removesuffix(b"\n").split(b"\n")
        for start in range(0, len(lines), MAX_LINES):
            batch = lines[start : start + MAX_LINES]
            yield [line.decode("utf-8", "surrogateescape") for line in batch]


def _blocks(path: str | Path) -> Iterator[bytes]:
    """Yield blocks of whole lines from a file or from standard input."""
    with ByteStream(path) as stream:
        # Unlike `read`, `read1` does not wait for a pipe to fill the block.
        yield from line_blocks(lambda: stream.read1(BLOCK_BYTES), path)


def _break_after_end(block: bytes) -> bytes:
    """Replace every word ``</s>``, which ends a line, with a line feed."""
    return END_WORD.sub(b"\n", block) if END.encode() in block else block

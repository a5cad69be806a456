"""Lines of files: blocks of whole lines of any bytes, and checked lines of text.

``line_blocks`` is the one place where a stream is cut at line feeds. ``scan_lines`` adds what a
text file needs: valid UTF-8 and line numbers. fastText's own reader (``fasttext/lines.py``)
takes any bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fasttext_app.core.arrow import string_array
from fasttext_app.data.checked_stream import CheckedStream
from fasttext_app.errors import DataError

BLOCK_BYTES = 1 << 22
MAX_ROW_BYTES = 1 << 26
"""The most bytes of a row in a text file: a line, a CSV record or a JSON value."""


def too_long(where: object) -> DataError:
    """Return the error for a row that is longer than :data:`MAX_ROW_BYTES`."""
    return DataError(f"{where}: a row is longer than {MAX_ROW_BYTES >> 20} MB; split its text")


def line_blocks(read: Callable[[], bytes], path: object) -> Iterator[bytes]:
    r"""Yield blocks of whole lines; only the last may lack its line feed.

    Args:
        read: returns the next bytes of the stream, ``b""`` at its end.
        path: the name of the stream, for messages.

    Raises:
        DataError: a line has more than :data:`MAX_ROW_BYTES`.

    >>> from io import BytesIO
    >>> stream = BytesIO(b"to\nbe\nor not")
    >>> list(line_blocks(lambda: stream.read(4), "a.txt"))
    [b'to\n', b'be\n', b'or not']
    """
    unfinished: list[bytes] = []  # pieces of a line whose end has not been read
    line = 1
    while block := read():
        lines, line_feed, rest = block.rpartition(b"\n")
        if line_feed:
            yield b"".join([*unfinished, lines, line_feed])
            line += block.count(b"\n")
            unfinished = []
        unfinished.append(rest)
        if sum(map(len, unfinished)) > MAX_ROW_BYTES:
            raise too_long(f"{path}:{line}")
    if any(unfinished):
        yield b"".join(unfinished)


def scan_lines(path: Path, errors: str = "strict") -> Iterator[tuple[int, pa.StringArray]]:
    """Yield the lines of a UTF-8 file; see :func:`lines_of`.

    Raises:
        DataError: the file is missing, or its bytes are not text.
    """
    with CheckedStream(path, errors) as stream:
        yield from lines_of(stream)


def lines_of(stream: CheckedStream) -> Iterator[tuple[int, pa.StringArray]]:
    r"""Yield (number of the first line, lines) block by block; ``\n`` or ``\r\n`` ends a line.

    Raises:
        DataError: the bytes of the stream are not text.
    """
    first = 1
    for block in line_blocks(lambda: stream.read(BLOCK_BYTES), stream.path):
        lines = _split(block.removesuffix(b"\n"))
        yield first, lines
        first += len(lines)


def _split(block: bytes) -> pa.StringArray:
    lines = pc.split_pattern(string_array([block.decode("utf-8")]), "\n").flatten()
    return pc.utf8_rtrim(lines, "\r") if b"\r" in block else lines

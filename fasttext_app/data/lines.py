"""Lines of files: blocks of whole lines of any bytes, and checked lines of text.

``line_blocks`` is the one place where a stream is cut at line feeds. ``scan_lines`` adds what a
text file needs: valid UTF-8 and line numbers. fastText's own reader (``fasttext/lines.py``)
takes any bytes.

A file can also be read in pieces, one by one (:func:`file_pieces`). A block yields the rows that
end in it, and a piece is some blocks, so the pieces yield the same batches as the whole file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fasttext_app.core.arrow import string_array
from fasttext_app.data.byte_stream import FilePiece
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


def line_pieces(stream: CheckedStream, size: int, count: int) -> list[FilePiece]:
    """Cut a file between lines; see :func:`file_pieces`.

    Args:
        stream: the file.
        size: the checked bytes that its reader asks for at a time.
        count: the most pieces.
    """
    if not (stream.can_be_cut and isinstance(stream.path, Path)):
        return []
    block_size = stream.block_size(size)
    with stream.path.open("rb") as file:

        def line_start(block: int) -> int:
            """Return where the line begins in which, or before which, a block begins."""
            stop = block * block_size
            while stop:
                start = max(stop - block_size, 0)
                file.seek(start)
                line_end = file.read(stop - start).rfind(b"\n")
                if line_end >= 0:
                    return start + line_end + 1
                stop = start
            return 0

        return file_pieces(stream.path, block_size, count, line_start)


def file_pieces(
    path: Path, block_size: int, count: int, row_start: Callable[[int], int]
) -> list[FilePiece]:
    """Cut a file into pieces of about the same size, at most ``count``, each with rows.

    Args:
        path: the file.
        block_size: the bytes that are read at a time.
        count: the most pieces.
        row_start: returns where the row begins in which, or before which, a block begins.
    """
    size = path.stat().st_size
    blocks = -(-size // block_size)
    count = min(count, blocks)
    bounds = [blocks * number // count for number in range(count)]
    starts = [row_start(block) for block in bounds]
    return [
        FilePiece(path, start, stop, lead=block * block_size - start)
        for block, (start, stop) in zip(bounds, pairwise([*starts, size]), strict=True)
        if start < stop
    ]

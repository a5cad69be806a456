"""Lines of files: blocks of whole lines of any bytes, and checked lines of text.

``line_blocks`` is the one place where a stream is cut at line feeds. ``scan_lines`` adds what a
text file needs: valid UTF-8 and line numbers. fastText's own reader (``fasttext/lines.py``)
takes any bytes.

A file can also be read in pieces (:func:`file_pieces`). A block yields the rows that end in it, and
a piece is some blocks, so the pieces yield the same batches as the whole file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrow import compute as pc
from fasttext_app.core.arrow import strings_from_buffers
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
    data = np.frombuffer(block, np.uint8)
    is_end = data == ord("\n")
    ends = np.flatnonzero(is_end)
    offsets = np.concatenate(([0], ends - np.arange(len(ends)), [len(data) - len(ends)]))
    lines = strings_from_buffers(data[~is_end], offsets.astype(np.int32))
    return pc.utf8_rtrim(lines, "\r") if b"\r" in block else lines


Survey: TypeAlias = list[Any] | None
"""The bounds of a share of a file: [begin, end if outside, end if inside].

A share is some blocks, and ``begin`` is the position of the first. An end is [the position after
the last row that ends in the share, whether a quoted field is open after the share]. It depends on
whether one is open before it, except where quotes are ordinary characters. It is None if the file
cannot be cut there.

A share without a block is []; a file that can only be read whole is None."""


def survey_lines(stream: CheckedStream, size: int, number: int, count: int) -> Survey:
    """Find out where the last line of a share of a file ends.

    Args:
        stream: the file.
        size: the checked bytes that its reader asks for at a time.
        number: the number of the share, from 0.
        count: the number of shares.
    """
    if not stream.can_be_cut:
        return None
    path = Path(str(stream.path))
    begin, end = share_of(path, stream.block_size(size), number, count)
    if begin == end:
        return []
    if number == count - 1:
        return [begin, (end, False)]
    with path.open("rb") as file:
        while end:
            start = max(end - size, 0)
            file.seek(start)
            line_end = file.read(end - start).rfind(b"\n")
            if line_end >= 0:
                return [begin, (start + line_end + 1, False)]
            end = start
    return [begin, (0, False)]


def share_of(path: Path, block_size: int, number: int, count: int) -> tuple[int, int]:
    """Return where a share of a file begins and ends, in whole blocks."""
    size = path.stat().st_size
    blocks = -(-size // block_size)
    begin, end = (blocks * share // count * block_size for share in (number, number + 1))
    return begin, min(end, size)


def file_pieces(path: Path, surveys: Sequence[Survey]) -> list[FilePiece]:
    """Cut a file into pieces with rows; none if it can only be read whole."""
    pieces, start, inside = list[FilePiece](), 0, False
    for survey in surveys:  # of which none is None
        if not survey:
            continue
        begin, *ends = survey
        if ends[inside] is None:
            return []  # a row is not as it should be
        stop, inside = ends[inside]
        if start < stop:
            pieces.append(FilePiece(path, start, stop, lead=begin - start))
            start = stop
    return pieces

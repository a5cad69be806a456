"""``CheckedStream``: the bytes of a text file, checked on their way to a parser.

Every text format is read through it, so invalid UTF-8, NUL bytes and damaged compressed data are
reported in one place, with the file and the line, whatever the parser does. It also notices quotes
that do not pair; ``csv.py`` finds out whether they are errors.
"""

from __future__ import annotations

import codecs
import io
from pathlib import Path
from typing import Any

import numpy as np

from fasttext_app.data.byte_stream import ByteStream
from fasttext_app.errors import DataError

QUOTE, REPLACEMENT = ord('"'), "\N{REPLACEMENT CHARACTER}".encode()


class CheckedStream(io.RawIOBase):
    """A readable stream of valid UTF-8 without a byte order mark and without NUL.

    Args:
        path: the file, plain or compressed; ``-`` is standard input.
        errors: ``strict`` raises on bad bytes, ``replace`` reads them as U+FFFD.
        delimiter: the delimiter of a format with quotes; ``""`` if quotes are ordinary characters.

    Attributes:
        problem: the error that ended the stream, kept because a parser may hide it.
    """

    def __init__(self, path: Path, errors: str = "strict", delimiter: str = "") -> None:
        super().__init__()
        self.path = path
        self.problem: DataError | None = None
        self._errors = errors
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors)
        self._at_start = True
        self._carriage_return = b""  # held back from the end of the last block
        self._lines_before = 0
        self._quotes = _QuoteCheck(delimiter) if delimiter else None
        self._file = ByteStream(path)
        # From a pipe, pass on what has arrived without waiting, so each typed line gets an answer.
        self._read = self._file.read1 if str(path) == "-" else self._file.read

    @property
    def odd_quotes(self) -> bool:
        """True if a quote so far neither opens nor closes a whole field."""
        return self._quotes is not None and self._quotes.odd

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer``; Python's own readers call it."""
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def read(self, size: int = -1) -> bytes:
        """Return at most ``size`` (> 8) checked bytes, and ``b""`` only at the end."""
        if size > 0:  # leave room for bytes held back, and for U+FFFD, three bytes for one
            size = max(size - 4 if self._errors == "strict" else size // 3 - 4, 1)
        while True:
            try:
                block = self._read(size)
            except DataError as error:
                self.problem = error
                raise
            checked = self._check(block)
            if checked or not block:
                return checked

    def parsed(self, size: int) -> None:
        """Say how many bytes the parser has gone through; see :meth:`ByteStream.parsed`."""
        self._file.parsed(size)

    def close(self) -> None:
        """Close the file, but not standard input."""
        if not self.closed:
            self._file.close()
        super().close()

    def _check(self, block: bytes) -> bytes:
        checked = self._whole_characters(block)
        if self._at_start and checked:
            checked, self._at_start = checked.removeprefix(codecs.BOM_UTF8), False
        if b"\0" in checked:
            if self._errors == "strict":
                raise self._bad_byte(checked[: checked.index(b"\0")], "NUL byte")
            checked = checked.replace(b"\0", REPLACEMENT)
        if self._carriage_return:
            checked, self._carriage_return = self._carriage_return + checked, b""
        if block and checked.endswith(b"\r"):
            # Arrow drops the line feed of "\r\n" if a block ends between the two, even inside
            # quotes (seen with pyarrow 26), so no block ends there.
            checked, self._carriage_return = checked[:-1], b"\r"
        self._lines_before += checked.count(b"\n")
        if self._quotes:
            self._quotes.feed(checked)
        return checked

    def _whole_characters(self, block: bytes) -> bytes:
        """Return the whole characters so far; the decoder keeps the bytes of a cut one."""
        pending, _ = self._decoder.getstate()
        if block.isascii() and not pending:
            return block
        try:
            text = self._decoder.decode(block, not block)
        except UnicodeDecodeError as error:
            good, bad = error.object[: error.start], error.object[error.start]
            raise self._bad_byte(good, f"byte 0x{bad:02x} is not UTF-8") from None
        if self._errors != "strict":
            return text.encode()
        data, (cut, _) = pending + block, self._decoder.getstate()
        return data[: len(data) - len(cut)]

    def _bad_byte(self, before: bytes, problem: str) -> DataError:
        line = self._lines_before + before.count(b"\n") + 1
        return self._fail(
            f"{self.path}:{line}: {problem}; save the file as UTF-8 text, "
            "or pass --errors replace to read bad bytes as U+FFFD"
        )

    def _fail(self, message: str) -> DataError:
        self.problem = DataError(message)
        return self.problem


class _QuoteCheck:
    """Checks that every quote opens a field, closes one, or is doubled inside one (RFC 4180)."""

    def __init__(self, delimiter: str) -> None:
        self.odd = False
        self._edges = np.zeros(256, dtype=np.bool_)  # bytes allowed on the outer side of a quote
        self._edges[list(f'{delimiter}\n\r"'.encode())] = True
        self._quotes = 0  # in the blocks so far
        self._last = ord("\n")  # the byte before the block

    def feed(self, block: bytes) -> None:
        if self.odd:
            return
        if not block:
            self.odd = self._quotes % 2 == 1  # the last field never closes
            return
        data = np.frombuffer(block, dtype=np.uint8)
        positions = np.flatnonzero(data == QUOTE)
        is_open = self._quotes % 2  # quotes open and close in turn
        opening, closing = positions[is_open::2], positions[1 - is_open :: 2]
        # A quote at the end of a block has its outer neighbor in the next, and one at the
        # beginning in the last.
        fits = self._last != QUOTE or is_open or self._edges[data[0]]
        if len(opening) and opening[0] == 0:
            fits, opening = fits and self._edges[self._last], opening[1:]
        if len(closing) and closing[-1] == len(data) - 1:
            closing = closing[:-1]
        neighbors = np.concatenate((data[opening - 1], data[closing + 1]))
        self.odd = not (fits and self._edges[neighbors].all())
        self._quotes += len(positions)
        self._last = block[-1]

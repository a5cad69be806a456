"""``CheckedStream``: the bytes of a text file, checked on their way to a parser.

Every text format is read through it, so invalid UTF-8, NUL bytes and damaged compressed data are
reported in one place, with the file and the line, whatever the parser does. It also notices quotes
that do not pair; ``csv.py`` finds out whether they are errors.
"""

from __future__ import annotations

import codecs
import io
import threading
from collections.abc import Callable, Generator
from typing import Any, Self

import numpy as np

from fasttext_app.config.schema import DataConfig
from fasttext_app.core.arrays import U8
from fasttext_app.data.byte_stream import (
    ByteStream,
    FilePiece,
    InputFile,
    has_byte_characters,
    starts_later,
)
from fasttext_app.errors import DataError

QUOTE = ord('"')
CACHED_BYTES = 1 << 18
"""As many as are checked for quotes at a time: their masks stay in the cache of a core."""
READ_AHEAD = 4
"""Blocks that a parser may read beyond the batches of :meth:`CheckedStream.paced`."""
PATIENCE, LONG_PATIENCE = 0.25, 10.0
"""Seconds after which a parser that is ahead may read on: while a batch is wanted, and always."""


MARK = "\ufdd0"
"""What stands for bad bytes in rows that are to be skipped; it is no character of any text."""


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return MARK, error.end


codecs.register_error("fasttext_app.mark", _mark)
REPLACEMENTS = {"replace": "\N{REPLACEMENT CHARACTER}", "fasttext_app.mark": MARK}


class CheckedStream(io.RawIOBase):
    """A readable stream of valid UTF-8 without a byte order mark and without NUL.

    Args:
        path: the file, plain or compressed; ``-`` is standard input.
        errors: ``strict`` raises on bad bytes, ``replace`` reads them as U+FFFD, and
            ``fasttext_app.mark`` as ``MARK``.
        delimiter: the delimiter of a format with quotes; ``""`` if quotes are ordinary characters.
        encoding: the encoding of the file, unless a byte order mark tells it.

    Attributes:
        problem: the error that ended the stream, kept because a parser may hide it.
    """

    def __init__(
        self,
        path: InputFile,
        errors: str = "strict",
        delimiter: str = "",
        encoding: str = "utf-8",
    ) -> None:
        super().__init__()
        self.path = path
        self.problem: DataError | None = None
        self._errors = errors
        self._at_start = not starts_later(path)
        self._lead = path.lead if isinstance(path, FilePiece) else 0  # to the next whole block
        self._carriage_return = b""  # held back from the end of the last block
        self._lines_before = 0
        self._is_paced, self._is_wanted, self._ahead = False, True, 0
        self._turn = threading.Condition()
        self._quotes = QuoteCheck(delimiter) if delimiter else None
        self._file = ByteStream(path, encoding)
        encoding = self._file.encoding or encoding
        self._is_utf8 = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii")
        self._encoding = "utf-8" if self._is_utf8 else encoding
        self._decoder: Any = codecs.getincrementaldecoder(self._encoding)(errors)
        self._keeps_bytes = self._is_utf8 and errors == "strict"
        # From a pipe, pass on what has arrived without waiting, so each typed line gets an answer.
        self._read = self._file.read1 if str(path) == "-" else self._file.read

    @classmethod
    def of(cls, path: InputFile, config: DataConfig, delimiter: str = "") -> Self:
        """Open a file as the settings say."""
        marks = config.skip_bad and config.errors == "strict"
        errors = "fasttext_app.mark" if marks else config.errors
        return cls(path, errors, delimiter, config.encoding)

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
        if self._is_paced:
            self._wait_for_turn()
        if size > 0:
            size = self.block_size(size)
        while True:
            block_size = min(size, self._lead) or size
            self._lead = max(self._lead - block_size, 0)
            try:
                block = self._read(block_size)
            except DataError as error:
                self.problem = error
                raise
            checked = self._check(block)
            if checked or not block:
                return checked

    def block_size(self, size: int) -> int:
        """Return how many bytes of the file are read if ``size`` checked bytes are asked for."""
        # Leave room for bytes held back, and for characters of three bytes for one.
        return max(size - 4 if self._keeps_bytes else size // 3 - 4, 1)

    @property
    def can_be_cut(self) -> bool:
        """Whether the bytes show where rows begin, and a reader can start at any of them."""
        return self._file.compression is None and (
            self._is_utf8 or has_byte_characters(self._encoding)
        )

    def paced(self, open_parser: Callable[[], Any]) -> Generator[Any, None, None]:
        """Yield the batches that a parser makes of this stream, one of each block that it reads.

        The parser reads on another thread, and would fill its queue, of 32 blocks in Arrow. Here it
        may not read on while it is ahead of the batches.

        Args:
            open_parser: opens the parser, a context manager over batches.
        """
        self._is_paced = True
        with open_parser() as parser:
            try:
                for batch in parser:
                    self._set_wanted(False)
                    yield batch
                    self._set_wanted(True)
            finally:
                self._is_paced = False
                self._set_wanted(True)

    def _set_wanted(self, is_wanted: bool) -> None:
        with self._turn:
            self._is_wanted = is_wanted
            if not is_wanted:
                self._ahead = max(self._ahead - 1, 0)
            self._turn.notify_all()

    def _wait_for_turn(self) -> None:
        with self._turn:

            def may_read() -> bool:
                return self._ahead < READ_AHEAD or not self._is_paced

            if not self._turn.wait_for(may_read, PATIENCE):
                # A batch is used for long, or no batch came of some blocks.
                self._turn.wait_for(lambda: self._is_wanted, LONG_PATIENCE)
            self._ahead += 1

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
            checked = checked.replace(b"\0", REPLACEMENTS[self._errors].encode())
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
        state = self._decoder.getstate()
        pending, _ = state
        if self._is_utf8 and block.isascii() and not pending:
            return block
        try:
            text: str = self._decoder.decode(block, not block)
        except UnicodeDecodeError as error:
            bad = f"byte 0x{error.object[error.start]:02x} is not {self._encoding.upper()}"
            self._decoder.setstate(state)
            good = self._decoder.decode(block[: max(error.start - len(pending), 0)])
            if "\0" in good:
                good, bad = good[: good.index("\0")], "NUL byte"
            raise self._bad_byte(good.encode(), bad) from None
        if not self._keeps_bytes:
            return text.encode(errors="replace")
        data: bytes = pending + block
        cut, _ = self._decoder.getstate()
        return data[: len(data) - len(cut)]

    def _bad_byte(self, before: bytes, problem: str) -> DataError:
        line = self._lines_before + before.count(b"\n") + 1
        return self._fail(
            f"{self.path}:{line}: {problem}; name the encoding of the file with --encoding "
            "(cp1252, shift_jis, ...), or pass --errors replace to read bad bytes as U+FFFD"
        )

    def _fail(self, message: str) -> DataError:
        self.problem = DataError(message)
        return self.problem


class QuoteCheck:
    """Checks that every quote opens a field, closes one, or is doubled inside one (RFC 4180).

    Args:
        delimiter: the character between fields.
        before: the byte before the first block.
        inside: whether the first block begins inside a quoted field.

    Attributes:
        odd: whether a quote so far does not.
    """

    def __init__(self, delimiter: str, before: bytes = b"\n", inside: bool = False) -> None:
        self.odd = False
        self._edges = np.zeros(256, dtype=np.bool_)  # bytes allowed on the outer side of a quote
        self._edges[list(f'{delimiter}\n\r"'.encode())] = True
        self._quotes = int(inside)  # before the next block
        self._last = before[0]  # the byte before it

    @property
    def is_open(self) -> bool:
        """Whether the next block begins inside a quoted field."""
        return self._quotes % 2 == 1

    def feed(self, block: bytes) -> None:
        """Check the next block; ``b""`` is the end of the file."""
        if self.odd:
            return
        if not block:
            self.odd = self.is_open  # the last field never closes
        data = np.frombuffer(block, dtype=np.uint8)
        for start in range(0, len(data), CACHED_BYTES):
            if not self.odd:
                self._feed(data[start : start + CACHED_BYTES])

    def _feed(self, data: U8) -> None:
        positions = np.flatnonzero(data == QUOTE)
        is_open = int(self.is_open)  # quotes open and close in turn
        opening, closing = positions[is_open::2], positions[1 - is_open :: 2]
        # A quote at the end of a block has its outer neighbor in the next, and one at the
        # beginning in the last.
        fits = self._last != QUOTE or is_open or self._edges[data[0]]
        if len(opening) and opening[0] == 0:
            fits, opening = fits and self._edges[self._last], opening[1:]
        if len(closing) and closing[-1] == len(data) - 1:
            closing = closing[:-1]
        neighbors = np.concatenate((data.take(opening - 1), data.take(closing + 1)))
        self.odd = not (fits and self._edges.take(neighbors).all())
        self._quotes += len(positions)
        self._last = data[-1]

"""``ByteStream``: the bytes of a text file or of standard input, decompressed.

The first bytes of a file tell what it is, whatever its name says. Compressed data is decompressed
on the way. Formats that are not plain text are refused with what to do, so no reader takes their
bytes for text.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from fasttext_app.core import meter
from fasttext_app.errors import DataError

HEAD_BYTES = 1 << 13  # what is looked at to tell a format
CONTROL_BYTES = bytes(
    [*range(9), *range(14, 27), *range(28, 32)]
)  # without 27, which begins colors
OTHER_BYTES = bytes(sorted(set(range(256)) - set(CONTROL_BYTES)))
MIN_CONTROL_BYTES, MIN_CONTROL_SHARE, MIN_CONTROL_KINDS = 8, 0.02, 5  # what text does not reach


def _open_arrow(name: str) -> Callable[[Any], Any]:
    def open_stream(file: Any) -> Any:
        import pyarrow as pa

        return pa.CompressedInputStream(file, name)

    return open_stream


@dataclass(frozen=True)
class _Compression:
    """How compressed data is recognized and read."""

    name: str
    suffix: str
    begins: re.Pattern[bytes]
    open: Callable[[Any], Any]


COMPRESSIONS = (
    _Compression("gzip", ".gz", re.compile(rb"\x1f\x8b"), lambda file: gzip.GzipFile(fileobj=file)),
    _Compression("bzip2", ".bz2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.BZ2File),
    _Compression("xz", ".xz", re.compile(rb"\xfd7zXZ\0"), lzma.LZMAFile),
    _Compression(  # the second form is a frame without data, which pzstd puts first
        "zstd",
        ".zst",
        re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
        _open_arrow("zstd"),
    ),
    _Compression("lz4", ".lz4", re.compile(rb"\x04\x22\x4d\x18"), _open_arrow("lz4")),
)

_AS_TEXT = "save it as CSV, JSON lines or Parquet"
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
KINDS = tuple(
    (re.compile(begins, re.DOTALL), message)
    for begins, message in (
        (
            rb"(PK\x03\x04.{0,4000})?PK\x03\x04.{26}xl/",
            "is an Excel workbook; save the sheet as CSV",
        ),
        (
            rb"(PK\x03\x04.{0,4000})?PK\x03\x04.{26}word/",
            "is a Word document; save it as plain text",
        ),
        (rb"PK\x03\x04.{26}mimetypeapplication/vnd", f"is an office document; {_AS_TEXT}"),
        (rb"PK(\x03\x04|\x05\x06|\x07\x08)", "is a zip archive; extract the files in it"),
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an old Excel or Word file; save it as CSV"),
        (rb".{257}ustar", "is a tar archive; extract the files in it"),
        (rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07", "is a 7z or rar archive; extract the files in it"),
        (rb"PAR1[\x15\x19]", "is a Parquet file; give it a name that ends in .parquet"),
        (rb"ARROW1\0|FEA1\0", f"is an Arrow or Feather file; {_AS_TEXT}"),
        (rb"\xff{4}.{4}\x10\0\0\0", f"is a stream of Arrow batches; {_AS_TEXT}"),
        (rb"Obj\x01", f"is an Avro file; {_AS_TEXT}"),
        (rb"\x89HDF\r\n\x1a\n", f"is an HDF5 file; {_AS_TEXT}"),
        (rb"SQLite format 3\0", "is an SQLite database; export the table as CSV"),
        (rb"%PDF-", "is a PDF; extract its text"),
        (rb"\x80[\x02-\x05][\x28-\x95]", f"is a Python pickle; {_AS_TEXT}"),
        (rb"\x93NUMPY", f"is a NumPy array; {_AS_TEXT}"),
        (rb"\xba\x16\x4f\x2f", "is a model of fastText, not data; pass it as MODEL"),
        (
            rb"version https://git-lfs\.github\.com/spec/",
            "is a pointer of Git LFS, not the file itself; run `git lfs pull`",
        ),
        (rb"\xff\xfe|\xfe\xff|\0\0\xfe\xff", "is UTF-16 or UTF-32 text; save it as UTF-8"),
    )
)
"""The first bytes of formats that are not text, and the message for each."""


class ByteStream:
    """The bytes of a file, decompressed.

    Args:
        path: the file; ``-`` is standard input, which stays open.
        encoding: the encoding of the text; None: any in which a line feed is one byte.

    Attributes:
        encoding: the encoding that a byte order mark tells, else the argument.

    Raises:
        DataError: the file cannot be opened, or is not text.
    """

    def __init__(self, path: str | InputFile, encoding: str | None = None) -> None:
        self.path = Path(path) if isinstance(path, str) else path
        try:
            self._file = _open(self.path)
        except OSError as error:
            raise open_error(path, error) from None
        self._streams = [self._file]  # each decompresses the one before
        size = None
        if isinstance(self.path, Path) and self.path.is_file():
            size = self.path.stat().st_size
        self._input = meter.opened(str(path), "bytes", size)
        self._size = 0  # of the blocks that have been read, decompressed
        self._reads_ahead = False
        self.compression: _Compression | None = None
        try:
            self.encoding = encoding
            if not starts_later(self.path):
                self._identify()
        except BaseException:
            self.close()
            raise

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes; fewer only at the end."""
        with self._errors_explained():
            block: bytes = self._file.read(size)
            return self._counted(block)

    def read1(self, size: int) -> bytes:
        """Return at most ``size`` bytes, those that a pipe already holds; none only at the end."""
        with self._errors_explained():
            block: bytes = self._file.read1(size)
            return self._counted(block)

    def close(self) -> None:
        """Close the file, but not standard input."""
        for stream in reversed(self._streams):
            stream.close()

    def __enter__(self) -> ByteStream:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def parsed(self, size: int) -> None:
        """Say how many bytes a parser that reads ahead has gone through; progress follows them."""
        self._reads_ahead = True
        if self._input.total is not None and self._size:
            share = min(size / self._size, 1)
            self._input.position = int(share * self._streams[0].tell())

    def _counted(self, block: bytes) -> bytes:
        self._size += len(block)
        if self._input.total is not None and not self._reads_ahead:
            self._input.position = self._streams[0].tell()
        return block

    def _identify(self) -> None:
        """Tell by the first bytes of the file how to read it, or that it is not text."""
        self._decompress(self.path.suffix.lower())
        head = self._head()
        self.encoding = self.encoding and (marked_encoding(head) or self.encoding)
        problem = what_it_is(head, wide=is_wide(self.encoding or "utf-8"))
        if problem:
            raise DataError(f"{self.path}: {problem}")

    def _decompress(self, suffix: str) -> None:
        head = self._head()
        named = next((entry for entry in COMPRESSIONS if entry.suffix == suffix), None)
        if named and head and compression_of(head) is None:
            raise DataError(
                f"{self.path}: is not {named.name} data, though its name ends in {suffix}; "
                "rename it if it is plain text"
            )
        while compression := compression_of(head):
            self.compression = compression
            self._file = io.BufferedReader(compression.open(self._file))
            self._streams.append(self._file)
            head = self._head()

    def _head(self) -> bytes:
        with self._errors_explained():
            head: bytes = self._file.peek(HEAD_BYTES)
            return head

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise DataError(f"{self.path}: cannot be read: {error.strerror}") from None
            assert self.compression is not None
            raise DataError(
                f"{self.path}: the {self.compression.name} data is damaged or cut short: {error}"
            ) from None


def compression_of(head: bytes) -> _Compression | None:
    """Return the compression of data that begins so, if it is compressed."""
    return next((entry for entry in COMPRESSIONS if entry.begins.match(head)), None)


def marked_encoding(head: bytes) -> str | None:
    """Return the encoding that a byte order mark tells."""
    return next((name for mark, name in BYTE_ORDER_MARKS if head.startswith(mark)), None)


def is_wide(encoding: str) -> bool:
    """Return whether every character of an encoding has at least two bytes.

    >>> is_wide("UTF-16LE"), is_wide("shift_jis")
    (True, False)
    """
    return "\n".encode(encoding) != b"\n"


def has_byte_characters(encoding: str) -> bool:
    """Return whether every byte of an encoding is a character, and one of ASCII as there.

    >>> [has_byte_characters(name) for name in ("cp1252", "latin-1", "shift_jis", "cp037")]
    [True, True, False, False]
    """
    codec = codecs.lookup(encoding)
    module = sys.modules[codec.incrementaldecoder.__module__]
    table: str = getattr(module, "decoding_table", "")
    return codec.name == "iso8859-1" or table[:128] == bytes(range(128)).decode()


def without_compression(name: str) -> str:
    """Return a file name without the suffix of a compression.

    >>> without_compression("reviews.csv.zst"), without_compression("reviews.csv")
    ('reviews.csv', 'reviews.csv')
    """
    for compression in COMPRESSIONS:
        if name.lower().endswith(compression.suffix):
            return name[: -len(compression.suffix)]
    return name


def what_it_is(head: bytes, *, wide: bool = False) -> str:
    r"""Return what data is that begins so, and what to do; ``""`` if it may be text.

    >>> what_it_is(b"%PDF-1.7")
    'is a PDF; extract its text'
    >>> what_it_is("a\r\nb".encode("utf-16-le"))
    'looks like UTF-16 text; save it as UTF-8, or pass --encoding utf-16-le'

    Args:
        head: the first bytes.
        wide: whether characters of two or four bytes are expected.
    """
    if wide:
        return ""
    for begins, message in KINDS:
        if begins.match(head):
            return message
    nul = [head[start::2].count(0) for start in (0, 1)]
    if len(head) >= 4 and sum(nul) > len(head) / 3 and min(nul) == 0:
        encoding = "utf-16-le" if nul[1] else "utf-16-be"
        return f"looks like UTF-16 text; save it as UTF-8, or pass --encoding {encoding}"
    control = head.translate(None, delete=OTHER_BYTES)
    enough = max(MIN_CONTROL_BYTES, MIN_CONTROL_SHARE * len(head))
    if len(control) >= enough and len(set(control)) >= MIN_CONTROL_KINDS:
        return f"is binary data, not text; {_AS_TEXT}"
    return ""


class PipeCopy:
    """A temporary copy of what a pipe carries, for formats that are read more than once.

    Args:
        path: the pipe; ``-`` is standard input.

    Raises:
        DataError: it cannot be read, or not copied.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.suffix = path, path.suffix
        self._file: Any = tempfile.TemporaryFile(prefix="fasttext_app-")  # noqa: SIM115
        try:
            with _open(path) as pipe:
                shutil.copyfileobj(pipe, self._file)
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"{path}: cannot be copied to {tempfile.gettempdir()} ({error.strerror}); "
                "set TMPDIR to another directory"
            ) from None

    def __str__(self) -> str:
        return str(self.path)

    def __enter__(self) -> PipeCopy:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def open(self, mode: str) -> io.BufferedReader:
        """Open the copy, to be read from its beginning."""
        assert mode == "rb"
        return io.BufferedReader(_CopyReader(self._file))


class _CopyReader(io.RawIOBase):
    """One reading of a copy; others have positions of their own."""

    def __init__(self, file: Any) -> None:
        self._file, self._position = file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = os.pread(self._file.fileno(), len(buffer), self._position)
        buffer[: len(block)] = block
        self._position += len(block)
        return len(block)


@dataclass(frozen=True)
class BytesFile:
    """A file in memory.

    Attributes:
        name: its name in messages; the suffix tells a compression.
        data: its contents.
    """

    name: str
    data: bytes

    @property
    def suffix(self) -> str:
        """The suffix of the name."""
        return Path(self.name).suffix

    def __str__(self) -> str:
        return self.name

    def open(self, mode: str) -> io.BufferedReader:
        """Open the file, to be read from its beginning."""
        assert mode == "rb"
        return io.BufferedReader(io.BytesIO(self.data))


@dataclass(frozen=True)
class FilePiece:
    """Some rows of a plain text file, read in the blocks in which the whole file is read.

    Attributes:
        path: the file.
        start: the position of the first byte of the first row.
        stop: the position after the last row.
        lead: the number of bytes from ``start`` to the next block of the file.
    """

    path: Path
    start: int
    stop: int
    lead: int

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.stop - self.start

    @property
    def suffix(self) -> str:
        """The suffix of the file's name."""
        return self.path.suffix

    def __str__(self) -> str:
        return str(self.path)

    def open(self, mode: str) -> io.BufferedReader:
        """Open the piece, to be read from its beginning."""
        assert mode == "rb"
        return io.BufferedReader(_PieceReader(self))


class _PieceReader(io.RawIOBase):
    """The bytes of a piece."""

    def __init__(self, piece: FilePiece) -> None:
        self._file = piece.path.open("rb", buffering=0)
        self._file.seek(piece.start)
        self._left = piece.size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(memoryview(buffer)[: self._left]) or 0
        self._left -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


InputFile: TypeAlias = Path | PipeCopy | BytesFile | FilePiece
"""A file that readers can open more than once, or the path of a pipe, which they can only once."""


def whole(path: InputFile) -> InputFile:
    """Return the file of a piece; any other is whole."""
    return path.path if isinstance(path, FilePiece) else path


def starts_later(path: InputFile) -> bool:
    """Return whether a file is a piece that does not begin at the first byte."""
    return isinstance(path, FilePiece) and path.start > 0


def _open(path: InputFile) -> Any:
    if path != Path("-"):
        return path.open("rb")
    if sys.stdin is None:
        raise DataError("standard input is closed; name a file")
    return io.BufferedReader(_StandardInput())


class _StandardInput(io.RawIOBase):
    """Standard input, which stays open when this is closed."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        stdin: Any = sys.stdin.buffer
        block: bytes = stdin.read1(len(buffer))  # what has arrived, without waiting for more
        buffer[: len(block)] = block
        return len(block)


def open_error(path: object, error: OSError) -> DataError:
    """Return the error for a file that cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such file")
    return DataError(f"{path}: cannot be opened: {error.strerror}")

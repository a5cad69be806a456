"""Sizes in a Parquet file, checked page by page before Arrow expands it.

Arrow believes what a page says of its size, and a few bytes can stand for millions of values: a
compressed page, a word in a dictionary that every row repeats, a value that shares its beginning
with the one before. So the header of each page that is going to be read is read first.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import pyarrow.parquet as pq

PAGE_BYTES = 64_000_000
EXPANSION = 64
"""A page takes at most ``PAGE_BYTES``, or this many times its size in the file."""
BATCH_BYTES = 128_000_000
"""The most that the values of a batch take, unless a single row takes more."""
LIST_BYTES = 256_000_000
"""The most that a column of lists takes in a row group, unless its size in the file allows more."""
HEADER_BYTES = 1 << 12  # read at once; a header with long statistics takes more
DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = 0, 2, 3
DATA_HEADERS = {DATA_PAGE: (5, 2), DATA_PAGE_V2: (8, 4)}
"""For each type of data page, the numbers of its own header and of the encoding in it."""
DICTIONARY_ENCODINGS = (2, 8)
SHARED_PREFIXES = 7  # DELTA_BYTE_ARRAY: a value repeats the beginning of the one before
I16, I32, I64, BINARY, STRUCT = 4, 5, 6, 8, 12  # types of the compact protocol
BOOLEANS, LISTS, SIZES = (1, 2), (9, 10), {1: 1, 2: 1, 3: 1, 7: 8}  # sizes in bytes
MAX_FIELD, MAX_DEPTH = 1 << 15, 10
MAGIC = b"PAR1"
FIXED_BYTES = 16
"""The most that a number or a time takes, and an entry of a list beside its value."""
FIXED_TYPES = range(6)  # BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE
DAMAGED = "a header in it is damaged"

Struct = dict[int, tuple[int, Any]]
"""The fields of a structure: by number, the type and the value."""


def open_parquet(path: Path, **options: Any) -> pq.ParquetFile:
    """Open a file; a list in its footer has no more entries than the file has bytes.

    Raises:
        pa.ArrowInvalid, OSError: it cannot be read.
    """
    import pyarrow.parquet as pq

    limit = min(max(path.stat().st_size, 1), 1_000_000)
    return pq.ParquetFile(path, thrift_container_size_limit=limit, **options)


class PageSizes:
    """What the rows of a file take in memory, told by its pages.

    Args:
        path: the file.
        file: the same, opened.
        columns: the columns that are read.

    Raises:
        pa.ArrowInvalid: the footer is damaged.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path, file: pq.ParquetFile, columns: Collection[str]) -> None:
        self._path, self._metadata = path, file.metadata
        self._schema = self._metadata.schema
        names = [self._schema.column(number).path for number in range(len(self._schema))]
        self._columns = [
            number
            for number, name in enumerate(names)
            if any(name == column or name.startswith(f"{column}.") for column in columns)
        ]
        self._groups = _row_groups(path)
        if len(self._groups) != file.num_row_groups:
            raise pa.ArrowInvalid(DAMAGED)

    def row_bytes(self, group: int) -> float:
        """Return what a row of a row group takes, as the average of the largest page.

        Raises:
            pa.ArrowInvalid: the file is damaged.
            ValueError: a page takes too much memory for its size.
            OSError: the file cannot be read.
        """
        row_bytes = 0.0
        for number, chunk, pages in self._chunks(group):
            value_bytes = self._value_bytes(group, number, chunk, pages)
            if not self._schema.column(number).max_repetition_level:
                row_bytes += value_bytes
                continue
            limit = max(LIST_BYTES, EXPANSION * (chunk.end - chunk.start))
            if chunk.values * (value_bytes + FIXED_BYTES) > limit:
                raise ValueError(
                    f"the lists of {self._schema.column(number).path} take far more memory than "
                    "the file; write it with smaller row groups"
                )
        return row_bytes

    def dictionary_bytes(self, group: int) -> int:
        """Return the most that the values of a row group take if each is in memory once.

        Raises:
            ValueError, OSError: as for :meth:`row_bytes`.
        """
        return sum(
            page.size * (page.values if page.encoding == SHARED_PREFIXES else 1)
            for _, _, pages in self._chunks(group)
            for page in pages
        )

    def _chunks(self, group: int) -> Iterator[tuple[int, _Chunk, list[_Page]]]:
        """Yield the number, the place and the pages of each column that is read."""
        rows, chunks = self._groups[group]
        with self._path.open("rb") as file:
            for number in self._columns:
                column = self._schema.column(number)
                if number >= len(chunks):
                    raise pa.ArrowInvalid(DAMAGED)
                chunk = _chunk(chunks[number])
                if not column.max_repetition_level and chunk.values != rows:
                    raise pa.ArrowInvalid(f"{column.path} has not one value for each row")
                yield number, chunk, list(_pages(file, chunk, column.path))

    def _value_bytes(self, group: int, number: int, chunk: _Chunk, pages: list[_Page]) -> float:
        if chunk.kind in FIXED_TYPES:
            return FIXED_BYTES
        dictionary = max((page.size for page in pages if page.kind == DICTIONARY_PAGE), default=0)
        data = [page for page in pages if page.kind != DICTIONARY_PAGE]
        first_in_dictionary = bool(data) and data[0].encoding in DICTIONARY_ENCODINGS
        if dictionary * chunk.values > BATCH_BYTES and first_in_dictionary:
            dictionary = self._longest(group, number) or dictionary
        most = 1.0
        for page in data:
            if page.encoding in DICTIONARY_ENCODINGS:
                most = max(most, dictionary)
            elif page.encoding == SHARED_PREFIXES:
                most = max(most, page.size)
            else:
                most = max(most, page.size / max(page.values, 1))
        return most

    def _longest(self, group: int, number: int) -> int:
        """Return the size of the longest value in the dictionary of a column; 0: unknown."""
        name = self._schema.column(number).path
        options = {"metadata": self._metadata, "read_dictionary": [name], "pre_buffer": False}
        with open_parquet(self._path, **options) as file:
            (row,) = next(file.iter_batches(1, row_groups=[group], columns=[name])).columns
        while pa.types.is_nested(row.type):
            row = row.field(0) if pa.types.is_struct(row.type) else row.values
        if not pa.types.is_dictionary(row.type) or len(row.dictionary.buffers()) != 3:
            return 0
        words = row.dictionary
        kind = np.int64 if pa.types.is_large_string(words.type) else np.int32
        ends = np.frombuffer(words.buffers()[1], kind)[words.offset :][: len(words) + 1]
        return int(np.diff(ends).max(initial=1))


class _Chunk(NamedTuple):
    """The values of a column in a row group: their type and number, and where they are."""

    kind: int
    values: int
    start: int
    end: int


class _Page(NamedTuple):
    kind: int
    size: int
    values: int
    encoding: int


def _row_groups(path: Path) -> list[tuple[int, list[Struct]]]:
    """Return the number of rows and the columns of each row group, from the footer.

    Arrow ends the process when it is asked for a column whose statistics or codec are damaged.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 8, 0))
        tail = file.read()
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != MAGIC or length > size - 8:
            raise pa.ArrowInvalid(DAMAGED)
        file.seek(size - 8 - length)
        footer = _Compact(file.read(length))
    try:
        groups = _structs(footer.struct(), 4)
    except IndexError:
        raise pa.ArrowInvalid(DAMAGED) from None
    return [(_integer(group, 3, I64), _structs(group, 1)) for group in groups]


def _chunk(column: Struct) -> _Chunk:
    metadata = _struct(column, 3)
    start, size = _integer(metadata, 9, I64), _integer(metadata, 7, I64)
    if 11 in metadata and 0 < (dictionary := _integer(metadata, 11, I64)) < start:
        start = dictionary
    return _Chunk(_integer(metadata, 1), _integer(metadata, 5, I64), start, start + size)


def _pages(file: BinaryIO, chunk: _Chunk, name: str) -> Iterator[_Page]:
    """Yield the pages of a column in a row group as Arrow will read them."""
    position, seen = chunk.start, 0
    if chunk.end > file.seek(0, os.SEEK_END):
        raise pa.ArrowInvalid("a column lies outside the file")
    while seen < chunk.values and position < chunk.end:
        header, length = _read_header(file, position, chunk.end)
        position += length
        kind, size, compressed = (_integer(header, number) for number in (1, 2, 3))
        if size > max(PAGE_BYTES, EXPANSION * compressed):
            raise ValueError(
                f"a page of {name} takes {size:,} bytes of memory and {compressed:,} in the file; "
                "write smaller pages"
            )
        if compressed > chunk.end - position:
            raise pa.ArrowInvalid("a page lies outside its column")
        position += compressed
        if kind == DICTIONARY_PAGE:
            yield _Page(kind, size, 0, 0)
        elif kind in DATA_HEADERS:
            number, encoding = DATA_HEADERS[kind]
            inner = _struct(header, number)
            page = _Page(kind, size, _integer(inner, 1), _integer(inner, encoding))
            seen += page.values
            yield page


def _integer(fields: Struct, number: int, kind: int = I32) -> int:
    found, value = fields.get(number, (0, 0))
    if found != kind or value < 0:
        raise pa.ArrowInvalid(DAMAGED)
    return int(value)


def _struct(fields: Struct, number: int) -> Struct:
    kind, value = fields.get(number, (0, {}))
    if kind != STRUCT:
        raise pa.ArrowInvalid(DAMAGED)
    return dict(value)


def _structs(fields: Struct, number: int) -> list[Struct]:
    kind, values = fields.get(number, (0, []))
    if kind not in LISTS or not all(isinstance(value, dict) for value in values):
        raise pa.ArrowInvalid(DAMAGED)
    return list(values)


def _read_header(file: BinaryIO, position: int, end: int) -> tuple[Struct, int]:
    """Return a page header and its length."""
    size = HEADER_BYTES
    while True:
        file.seek(position)
        content = file.read(min(size, end - position))
        reader = _Compact(content)
        try:
            return reader.struct(), reader.position
        except IndexError:
            if size >= end - position:
                raise pa.ArrowInvalid(DAMAGED) from None
            size *= 16


class _Compact:
    """Thrift's compact protocol, as far as Parquet uses it; ``IndexError`` at the end of the data.

    https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
    """

    def __init__(self, content: bytes) -> None:
        self._content, self.position = content, 0

    def struct(self, depth: int = 0) -> Struct:
        """Return the fields of a structure; strings as None.

        No field may come twice, so that every reader sees the same value.
        """
        fields: Struct = {}
        number = 0
        while byte := self._byte():
            delta, kind = byte >> 4, byte & 15
            number = number + delta if delta else self._zigzag()
            if number in fields or not 0 < number < MAX_FIELD or depth > MAX_DEPTH:
                raise pa.ArrowInvalid(DAMAGED)
            fields[number] = kind, None if kind in BOOLEANS else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind == STRUCT:
            return self.struct(depth + 1)
        if kind in (I16, I32, I64):
            value = self._zigzag()
            if kind == I32 and not -(2**31) <= value < 2**31:
                raise pa.ArrowInvalid(DAMAGED)
            return value
        if kind in LISTS:
            byte = self._byte()
            size = byte >> 4 if byte < 0xF0 else self._varint()
            if size > len(self._content):
                raise IndexError
            return [self._value(byte & 15, depth) for _ in range(size)]
        if kind != BINARY and kind not in SIZES:
            raise pa.ArrowInvalid(DAMAGED)
        self._skip(self._varint() if kind == BINARY else SIZES[kind])
        return None

    def _byte(self) -> int:
        value = self._content[self.position]
        self.position += 1
        return value

    def _skip(self, size: int) -> None:
        self.position += size
        if self.position > len(self._content):
            raise IndexError

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise pa.ArrowInvalid(DAMAGED)

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

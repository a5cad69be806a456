"""CSV and TSV files (RFC 4180), and the errors in them.

Arrow reads the rows. Where it fails, or where a quote does not pair, Python's strict reader goes
through the file once more and raises an error with the line (``_records``). If bad rows are to be
skipped, Python reads all.
"""

from __future__ import annotations

import codecs
import csv
import io
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv

from fasttext_app.config.schema import DataConfig
from fasttext_app.core.arrow import string_array
from fasttext_app.data import lines
from fasttext_app.data.bad_rows import FileErrors
from fasttext_app.data.byte_stream import FilePiece, InputFile, starts_later, whole
from fasttext_app.data.checked_stream import CheckedStream, QuoteCheck
from fasttext_app.data.columns import (
    needed_columns,
    required_columns,
    rows_on_lines,
    to_examples,
)
from fasttext_app.data.source import Batches
from fasttext_app.errors import DataError

DELIMITERS = ",;\t|"
"""The delimiters that are tried if the header lacks a column."""
NO_HEADER = "; if the file has no header, with --set data.header=false"
SKIPPING_ROWS = 16_384
MAX_RECORD_LINES = 10_000  # a quote that never ends must not take in the whole file
BLOCK_BYTES = 1 << 22  # at first; a row must fit into a block, so blocks grow for long rows


class _LongRowError(Exception):
    """A row is longer than a block."""


@dataclass(frozen=True)
class CsvFile:
    """A CSV or TSV file.

    Attributes:
        path: the file, plain or compressed, or a piece of it.
        config: the columns, whether there is a header, whether fields can be quoted.
        delimiter: the character between the fields of a row.
    """

    path: InputFile
    config: DataConfig
    delimiter: str

    @classmethod
    def open(
        cls, path: InputFile, config: DataConfig, default: str, *, with_labels: bool = True
    ) -> CsvFile:
        """Find out the delimiter: that of the settings, or else the one that suits the header.

        That is the default if the columns are in the header, then another one with which they are.
        Without any, it is the default if it splits the header, then the one that splits it most.

        Raises:
            DataError: the file is missing or empty, or no delimiter suits its header.
        """
        if config.delimiter is not None or not config.header:
            return cls(path, config, config.delimiter or default)
        needed = set(needed_columns(config, with_labels))
        others = [delimiter for delimiter in DELIMITERS if delimiter != default]
        headers: dict[str, list[str]] = {}
        problem: DataError | None = None
        for delimiter in (default, *others):
            try:
                headers[delimiter] = cls(path, config, delimiter)._first_record()[1]
            except DataError as error:  # its quotes suit another delimiter
                problem = problem or error
                continue
            if needed <= set(headers[delimiter]):
                return cls(path, config, delimiter)
        if default in headers and len(headers[default]) > 1:
            return cls(path, config, default)
        if problem is not None and max(map(len, headers.values()), default=1) == 1:
            raise problem
        return cls(path, config, max(headers, key=lambda delimiter: len(headers[delimiter])))

    def scan(self, with_labels: bool, errors: FileErrors) -> Batches:
        """Read the file batch by batch.

        Raises:
            DataError: the file is missing or empty, lacks a column, or has a malformed row.
        """
        line, first = self._first_record()
        header = self.config.header
        names = first if header else [str(number + 1) for number in range(len(first))]
        options = f"--text-column and --label-column{NO_HEADER * header}"
        columns = required_columns(self.path, self.config, with_labels, names, options)
        convert = partial(to_examples, config=self.config, with_labels=with_labels, errors=errors)
        if errors.skip:
            for batch, numbers in self._good_rows(names, columns, errors):
                yield convert(batch, locate=rows_on_lines(self.path, numbers))
            return
        has_header = header and not starts_later(self.path)
        reader = _ArrowReader(self, names, columns, line - 1 if has_header else None)
        rows = 0
        for batch in reader.batches():
            yield convert(batch, locate=partial(self.locate, rows))
            rows += len(batch)

    def survey(self, number: int, count: int) -> lines.Survey:
        """Find out where the last row of a share of the file ends.

        Whether the share begins in a quoted field is not known yet, so both states are tried. In
        the wrong one, the first quotes hardly ever fit.
        """
        assert isinstance(self.path, Path)
        with CheckedStream.of(self.path, self.config) as stream:
            block_size = stream.block_size(BLOCK_BYTES)
            if self.config.skip_bad or not stream.can_be_cut:
                return None
        begin, end = lines.share_of(self.path, block_size, number, count)
        if begin == end:
            return []
        is_last = number == count - 1
        states = (False, True) if self.config.quote and begin else (False,)
        return [begin, *(self._row_end(begin, end, block_size, is_last, state) for state in states)]

    def _row_end(
        self, begin: int, end: int, block_size: int, is_last: bool, inside: bool
    ) -> tuple[int, bool] | None:
        """Find the end of the last row in some blocks.

        Quotes open and close in turn. To check that takes a fraction of the time of parsing.

        Args:
            begin: where the blocks begin.
            end: where they end.
            block_size: their size.
            is_last: whether the file ends there.
            inside: whether they begin inside a quoted field.

        Returns:
            Where it ends, and whether the blocks end inside a quoted field. None if there is a
            quote inside an unquoted field, a carriage return alone that ends a row, or a row that
            is longer than a block.
        """
        position = row_end = begin
        with self.path.open("rb") as file:
            file.seek(max(begin - 1, 0))
            before = file.read(min(begin, 1)) or b"\n"
            quotes = QuoteCheck(self.delimiter, before, inside) if self.config.quote else None
            while block := file.read(min(block_size, end - position)):
                if quotes is not None:
                    quotes.feed(block if position else block.removeprefix(codecs.BOM_UTF8))
                    if quotes.odd:
                        return None
                rows_end = _last_row_end(block, quotes)
                row_end, position = position + rows_end, position + len(block)
                if not rows_end and not (is_last and position == end):
                    return None
        if not is_last:
            return row_end, quotes is not None and quotes.is_open
        if quotes is not None:
            quotes.feed(b"")
        return None if quotes is not None and quotes.odd else (end, False)

    def locate(self, rows_before: int, row: int) -> str:
        """Return ``file:line`` of a row; reads the file again, so only errors should ask."""
        remaining = rows_before + row + (1 if self.config.header else 0)
        start, first = self._first_record()
        for line, record in self._records():
            if not record and (len(first) > 1 or (self.config.header and line < start)):
                continue  # Arrow skips empty lines too
            if remaining == 0:
                return f"{self.path}:{line}"
            remaining -= 1
        return str(self.path)

    def raise_if_malformed(self, fields: int) -> None:
        """Raise for the first record with a quoting error or another number of fields."""
        for line, record in self._records():
            if record and len(record) != fields:
                raise DataError(self._wrong_number(line, record, fields))

    def _wrong_number(self, line: int, record: list[str], fields: int) -> str:
        return f"{self.path}:{line}: the row has {len(record)} fields where {fields} are expected"

    def _first_record(self) -> tuple[int, list[str]]:
        for line, record in self._records():
            if record:
                return line, record
        raise DataError(f"{self.path}: the file is empty")

    def _good_rows(
        self, names: list[str], columns: list[str], errors: FileErrors
    ) -> Iterator[tuple[pa.RecordBatch, list[int]]]:
        """Yield columns with the line of each row, read by Python; malformed rows are refused."""
        places = {name: names.index(name) for name in columns}

        def well_formed() -> Iterator[tuple[int, list[str]]]:
            is_header = self.config.header
            for line, record in self._records(errors):
                if not record and (len(names) > 1 or is_header):
                    continue
                if is_header:
                    is_header = False
                elif len(record or [""]) != len(names):
                    errors.refuse(self._wrong_number(line, record, len(names)))
                else:
                    yield line, record or [""]

        rows = well_formed()
        while chunk := list(islice(rows, SKIPPING_ROWS)):
            batch = {
                name: string_array([record[place] for _, record in chunk])
                for name, place in places.items()
            }
            yield pa.record_batch(batch), [line for line, _ in chunk]

    def _records(self, errors: FileErrors | None = None) -> Iterator[tuple[int, list[str]]]:
        """Yield (first line, fields) of each record, read by Python's strict reader.

        After a record that is refused, reading goes on with its second line.
        """
        csv.field_size_limit(sys.maxsize)
        with CheckedStream.of(whole(self.path), self.config) as stream:
            text = io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8", newline="")
            source = _Lines(text, self.path, MAX_RECORD_LINES if errors is not None else None)
            quoting: Any = csv.QUOTE_MINIMAL if self.config.quote else csv.QUOTE_NONE
            while True:
                reader = csv.reader(source, delimiter=self.delimiter, quoting=quoting, strict=True)
                try:
                    for record in reader:
                        yield source.first, record
                        source.begin_record()
                except csv.Error as error:
                    problem = (
                        f"{self.path}:{source.first}: a quoted field does not end as it should "
                        f"({error}); double the quotes inside it, or pass --set data.quote=false"
                    )
                    if errors is None:
                        raise DataError(problem) from None
                    errors.refuse(problem)
                    source.return_all_but_first()
                else:
                    return


def _last_row_end(block: bytes, quotes: QuoteCheck | None) -> int:
    r"""Return the position after the last row that ends in a block with ``\n``.

    Args:
        block: the bytes.
        quotes: the quotes up to the end of the block; None if they are ordinary characters.

    Returns:
        The position; 0 if no row ends there, or if ``\r`` alone ends the last one.
    """

    def quote_before(end: int) -> int:
        return -1 if quotes is None else block.rfind(b'"', 0, end)

    end = len(block) - block.endswith(b"\r")  # which the stream leaves to the next block
    if quotes is not None and quotes.is_open:
        end = quote_before(end)
    while end > 0:
        # From the last closing quote up to ``end``, all is outside of quotes.
        closing = quote_before(end)
        line_feed = block.rfind(b"\n", closing + 1, end)
        carriage_return = block.rfind(b"\r", closing + 1, end)
        if line_feed != carriage_return:
            return line_feed + 1 if line_feed > carriage_return else 0
        if closing < 0:
            break
        end = quote_before(closing)
    return 0


class _Lines:
    """Lines of text; if ``most`` is set, they can be read again from a record's second line on.

    Attributes:
        first: the number of the line with which the record begins.
    """

    def __init__(self, text: io.TextIOBase, path: object, most: int | None) -> None:
        self.first = 1
        self._text, self._path, self._most = text, path, most
        self._record: list[str] = []  # its lines so far, if they can be read again
        self._lines, self._size = 0, 0  # of the record, the size in characters
        self._returned: deque[str] = deque()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        limit = lines.MAX_ROW_BYTES
        line = self._returned.popleft() if self._returned else self._text.readline(limit + 1)
        if not line:
            raise StopIteration
        self._lines += 1
        self._size += len(line)
        if self._size > limit:
            raise lines.too_long(f"{self._path}:{self.first}")
        if self._most is not None:
            self._record.append(line)
            if self._lines > self._most:
                raise csv.Error(f"it has more than {self._most:,} lines")
        return line

    def begin_record(self) -> None:
        self.first += self._lines
        self._begin()

    def return_all_but_first(self) -> None:
        self._returned.extendleft(reversed(self._record[1:]))
        self.first += 1
        self._begin()

    def _begin(self) -> None:
        self._record.clear()
        self._lines, self._size = 0, 0


@dataclass(frozen=True)
class _ArrowReader:
    """Reads some columns of a file as strings."""

    file: CsvFile
    names: list[str]  # of all columns
    columns: list[str]  # to read
    lines_before_header: int | None  # None: there is no header

    def batches(self) -> Batches:
        """Yield the columns; every row up to there is well-formed."""
        rows, block_bytes = 0, BLOCK_BYTES
        while True:
            skipped = rows  # have been yielded from smaller blocks
            try:
                for batch in self._read(block_bytes):
                    if skipped < len(batch):
                        yield batch.slice(skipped)
                        rows += len(batch) - skipped
                    skipped = max(skipped - len(batch), 0)
                return
            except _LongRowError:
                block_bytes = min(4 * block_bytes, lines.MAX_ROW_BYTES)

    def _read(self, block_bytes: int) -> Batches:
        path, config = self.file.path, self.file.config
        quotes_checked = False
        # The quotes of a piece have been checked.
        check_quotes = config.quote and not isinstance(path, FilePiece)
        delimiter = self.file.delimiter if check_quotes else ""
        with CheckedStream.of(path, config, delimiter) as stream:
            stream.parsed(0)
            try:
                with closing(stream.paced(partial(self._open, stream, block_bytes))) as batches:
                    for number, batch in enumerate(batches):
                        stream.parsed(number * block_bytes)
                        if stream.odd_quotes and not quotes_checked:
                            # Arrow reads past a quote that does not pair. If Python's reader finds
                            # every row well-formed, the odd quotes are inside unquoted fields,
                            # where they are ordinary characters.
                            self.file.raise_if_malformed(len(self.names))
                            quotes_checked = True
                        yield batch
            except pa.ArrowInvalid as error:
                if stream.problem:
                    raise stream.problem from None
                too_long = "straddling" in str(error)
                if too_long and block_bytes < lines.MAX_ROW_BYTES:
                    raise _LongRowError from None
                self.file.raise_if_malformed(len(self.names))
                raise (
                    lines.too_long(path) if too_long else DataError(f"{path}: {error}")
                ) from None

    def _open(self, stream: CheckedStream, block_bytes: int) -> arrow_csv.CSVStreamingReader:
        config = self.file.config
        return arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(
                block_size=block_bytes,
                skip_rows=self.lines_before_header or 0,
                column_names=self.names if self.lines_before_header is None else None,
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self.file.delimiter,
                quote_char='"' if config.quote else False,
                newlines_in_values=config.quote,
                ignore_empty_lines=len(self.names) > 1,
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=list(dict.fromkeys(self.columns)),
                column_types=dict.fromkeys(self.columns, pa.string()),
                strings_can_be_null=False,
            ),
        )

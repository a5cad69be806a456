"""CSV and TSV files (RFC 4180), and the errors in them.

Arrow reads the rows. Where it fails, or where a quote does not pair, Python's strict reader goes
through the file once more and raises an error with the line (``_records``).
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv

from fasttext_app.config.schema import DataConfig
from fasttext_app.data.checked_stream import CheckedStream
from fasttext_app.data.columns import required_columns, to_examples
from fasttext_app.data.source import Batches
from fasttext_app.errors import DataError

BLOCK_BYTES = 1 << 22  # Arrow parses block by block, and small blocks stay in the cache
LARGEST_BLOCK_BYTES = 1 << 26  # a row must fit into a block, so blocks grow to this for long rows


class _LongRowError(Exception):
    """A row is longer than a block."""


@dataclass(frozen=True)
class CsvFile:
    """A CSV or TSV file.

    Attributes:
        path: the file, plain or compressed.
        config: the columns, whether there is a header, whether fields can be quoted.
        delimiter: a comma or a tab.
    """

    path: Path
    config: DataConfig
    delimiter: str

    def scan(self, with_labels: bool) -> Batches:
        """Read the file batch by batch.

        Raises:
            DataError: the file is missing or empty, lacks a column, or has a malformed row.
        """
        line, first = self._first_record()
        header = self.config.header
        names = first if header else [str(number + 1) for number in range(len(first))]
        columns = required_columns(self.path, self.config, with_labels, names)
        reader = _ArrowReader(self, names, columns, skipped_lines=line - 1 if header else 0)
        rows = 0
        for batch in reader.batches():
            locate = partial(self.locate, rows)
            yield to_examples(batch, self.config, locate, with_labels=with_labels)
            rows += len(batch)

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
                raise DataError(
                    f"{self.path}:{line}: the row has {len(record)} fields "
                    f"where {fields} are expected"
                )

    def _first_record(self) -> tuple[int, list[str]]:
        for line, record in self._records():
            if record:
                return line, record
        raise DataError(f"{self.path}: the file is empty")

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (first line, fields) of each record, read by Python's strict reader."""
        csv.field_size_limit(sys.maxsize)
        with CheckedStream(self.path, self.config.errors) as stream:
            text = io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8", newline="")
            quoting: Any = csv.QUOTE_MINIMAL if self.config.quote else csv.QUOTE_NONE
            reader = csv.reader(text, delimiter=self.delimiter, quoting=quoting, strict=True)
            line = 1
            try:
                for record in reader:
                    yield line, record
                    line = reader.line_num + 1
            except csv.Error as error:
                raise DataError(
                    f"{self.path}:{line}: a quoted field does not end as it should ({error}); "
                    "double the quotes inside it, or pass --set data.quote=false"
                ) from None


@dataclass(frozen=True)
class _ArrowReader:
    """Reads some columns of a file as strings."""

    file: CsvFile
    names: list[str]  # of all columns
    columns: list[str]  # to read
    skipped_lines: int  # empty ones before the header

    def batches(self) -> Batches:
        """Yield the columns; every row up to there is well-formed."""
        rows = 0
        try:
            for batch in self._read(BLOCK_BYTES):
                yield batch
                rows += len(batch)
            return
        except _LongRowError:
            pass
        # Start again with larger blocks, and skip the rows that have been yielded.
        for batch in self._read(LARGEST_BLOCK_BYTES):
            if rows < len(batch):
                yield batch.slice(rows)
            rows = max(rows - len(batch), 0)

    def _read(self, block_bytes: int) -> Batches:
        path, config = self.file.path, self.file.config
        quotes_checked = False
        delimiter = self.file.delimiter if config.quote else ""
        with CheckedStream(path, config.errors, delimiter) as stream:
            stream.parsed(0)
            try:
                with self._open(stream, block_bytes) as reader:
                    for number, batch in enumerate(reader):
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
                if too_long and block_bytes < LARGEST_BLOCK_BYTES:
                    raise _LongRowError from None
                self.file.raise_if_malformed(len(self.names))
                problem = f"a row is longer than {block_bytes >> 20} MB" if too_long else error
                raise DataError(f"{path}: {problem}") from None

    def _open(self, stream: CheckedStream, block_bytes: int) -> arrow_csv.CSVStreamingReader:
        config = self.file.config
        return arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(
                block_size=block_bytes,
                skip_rows=self.skipped_lines,
                column_names=None if config.header else self.names,
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

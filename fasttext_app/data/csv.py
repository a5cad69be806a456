"""CSV and TSV files (RFC 4180), read by Arrow; Python's strict reader locates their errors."""

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
from fasttext_app.data.source import Batches, to_examples, wanted_columns
from fasttext_app.errors import DataError

BLOCK_BYTES = 1 << 22  # Arrow parses block by block; small ones stay in the cache
LONGEST_ROW_BYTES = 1 << 26  # no row may be longer than a block: then the blocks become this large


class _LongRowError(Exception):
    """A row is longer than a block."""


def scan_delimited(path: Path, config: DataConfig, *, labels: bool, delimiter: str) -> Batches:
    """Read a CSV or TSV file batch by batch.

    Raises:
        DataError: the file is missing or empty, has not the columns, or a row is malformed.
    """
    line, first = _first_record(path, config, delimiter)
    names = first if config.header else [str(number + 1) for number in range(len(first))]
    wanted = wanted_columns(path, config, labels, names)
    skipped = line - 1 if config.header else 0  # empty lines before the names of the columns
    rows = 0
    for batch in _Reader(path, config, delimiter, names, wanted, skipped).batches():
        named = partial(row_name, path, config, delimiter, rows)
        yield to_examples(batch, config, labels=labels, row_name=named)
        rows += len(batch)


@dataclass(frozen=True)
class _Reader:
    """Reads the wanted columns of a file by Arrow."""

    path: Path
    config: DataConfig
    delimiter: str
    names: list[str]  # of all columns
    wanted: list[str]
    skipped: int  # lines before the header

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the wanted columns as strings; every row has been found well-formed."""
        rows = 0
        try:
            for batch in self._blocks(BLOCK_BYTES):
                yield batch
                rows += len(batch)
            return
        except _LongRowError:
            pass
        for batch in self._blocks(LONGEST_ROW_BYTES):  # from the start; pass over what is out
            if rows < len(batch):
                yield batch.slice(rows)
            rows = max(rows - len(batch), 0)

    def _blocks(self, size: int) -> Iterator[pa.RecordBatch]:
        checked_whole, config = False, self.config
        quotes_of = self.delimiter if config.quote else ""
        with CheckedStream(self.path, config.errors, quotes_of) as stream:
            try:
                with self._open(stream, size) as reader:
                    for batch in reader:
                        if stream.odd_quotes and not checked_whole:
                            # Arrow reads on over a quote that does not pair. Where every row
                            # proves whole, the quotes stand inside unquoted fields, and mean
                            # themselves.
                            self._raise_if_malformed()
                            checked_whole = True
                        yield batch
            except pa.ArrowInvalid as error:
                if stream.problem:
                    raise stream.problem from None
                long = "straddling" in str(error)
                if long and size < LONGEST_ROW_BYTES:
                    raise _LongRowError from None
                self._raise_if_malformed()
                what = f"a row is longer than {size >> 20} MB" if long else error
                raise DataError(f"{self.path}: {what}") from None

    def _open(self, stream: CheckedStream, size: int) -> arrow_csv.CSVStreamingReader:
        return arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(
                block_size=size,
                skip_rows=self.skipped,
                column_names=None if self.config.header else self.names,
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self.delimiter,
                quote_char='"' if self.config.quote else False,
                newlines_in_values=self.config.quote,
                ignore_empty_lines=len(self.names) > 1,
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=list(dict.fromkeys(self.wanted)),
                column_types=dict.fromkeys(self.wanted, pa.string()),
                strings_can_be_null=False,
            ),
        )

    def _raise_if_malformed(self) -> None:
        """Raise for the first malformed record, with its line."""
        for line, record in _records(self.path, self.config, self.delimiter):
            if record and len(record) != len(self.names):
                raise DataError(
                    f"{self.path}:{line}: the row has {len(record)} fields "
                    f"where {len(self.names)} are expected"
                )


def _records(path: Path, config: DataConfig, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (first line, fields) of each record, by Python's strict reader."""
    csv.field_size_limit(sys.maxsize)
    with CheckedStream(path, config.errors) as stream:
        text = io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8", newline="")
        quoting: Any = csv.QUOTE_MINIMAL if config.quote else csv.QUOTE_NONE
        reader = csv.reader(text, delimiter=delimiter, quoting=quoting, strict=True)
        line = 1
        try:
            for record in reader:
                yield line, record
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{path}:{line}: a quoted field does not end as it should ({error}); "
                "double the quotes inside it, or pass --set data.quote=false"
            ) from None


def _first_record(path: Path, config: DataConfig, delimiter: str) -> tuple[int, list[str]]:
    for line, record in _records(path, config, delimiter):
        if record:
            return line, record
    raise DataError(f"{path}: the file is empty")


def row_name(path: Path, config: DataConfig, delimiter: str, rows_before: int, row: int) -> str:
    """Name a row as ``file:line``; the file is read again for it, so only errors ask."""
    remaining = rows_before + row + (1 if config.header else 0)
    start, first = _first_record(path, config, delimiter)
    for line, record in _records(path, config, delimiter):
        if not record and (len(first) > 1 or (config.header and line < start)):
            continue  # Arrow passes over empty lines too
        if remaining == 0:
            return f"{path}:{line}"
        remaining -= 1
    return str(path)

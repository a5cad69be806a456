"""Parquet files, read row group by row group."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import DataConfig
from fasttext_app.core import meter
from fasttext_app.data.bad_rows import FileErrors
from fasttext_app.data.byte_stream import (
    HEAD_BYTES,
    InputFile,
    compression_of,
    open_error,
    what_it_is,
)
from fasttext_app.data.columns import (
    feature_at,
    inner_paths,
    numbered_rows,
    required_columns,
    to_examples,
)
from fasttext_app.data.parquet_pages import BATCH_BYTES, PageSizes, open_parquet
from fasttext_app.data.source import Batches
from fasttext_app.errors import DataError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

BATCH_ROWS = 65_536
DAMAGED_FILE = (
    *(pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError, pa.ArrowTypeError),
    UnicodeDecodeError,
)
"""Exceptions of Arrow for a file that is damaged, or a name in it that is not UTF-8."""


@dataclass(frozen=True)
class RowGroups:
    """Some row groups of a Parquet file, and their size in bytes."""

    path: Path
    numbers: range
    size: int


def scan_parquet(
    path: InputFile | RowGroups, config: DataConfig, with_labels: bool, errors: FileErrors
) -> Batches:
    """Read a Parquet file batch by batch.

    Args:
        path: the file, or a piece of :func:`parquet_pieces`.
        config: the columns to read.
        with_labels: whether to read labels.
        errors: counts the rows that are skipped.

    Raises:
        DataError: the file is missing or damaged, or lacks a column.
    """
    row_groups: range | None = None
    if isinstance(path, RowGroups):
        row_groups, path = path.numbers, path.path
    if not isinstance(path, Path):
        raise DataError(f"{path}: Parquet cannot be read from a pipe; save it to a file")
    with _opened(path) as file:
        columns = _columns(path, file, config, with_labels=with_labels)
        label_names = _class_names(file.schema_arrow, config.label_column)
        groups = range(file.num_row_groups) if row_groups is None else row_groups
        rows = sum(file.metadata.row_group(group).num_rows for group in range(groups.start))
        size = path.stat().st_size
        reading = meter.opened(str(path), "bytes", size)
        for batch in _batches(path, file, columns, groups):
            locate = numbered_rows(path, rows)
            yield to_examples(
                batch,
                config,
                locate,
                with_labels=with_labels,
                label_names=label_names,
                errors=errors,
            )
            rows += len(batch)
            reading.position = size * rows // max(file.metadata.num_rows, 1)


def survey_parquet(path: Path, config: DataConfig, _: int, count: int) -> list[list[int]]:
    """Cut a file into pieces of about the same size, at most ``count``.

    Returns:
        The first row group of each, the one after its last, and the number of bytes.

    Raises:
        DataError: the file is missing or damaged, or lacks a column.
    """
    with _opened(path) as file:
        columns = _columns(path, file, config, with_labels=True)
        runs = [groups for groups, _ in _runs(path, file, columns, range(file.num_row_groups))]
        rows_of = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    bounds, total = np.concatenate(([0], np.cumsum(rows_of))), max(sum(rows_of), 1)
    size, pieces = path.stat().st_size, []
    for _, piece in groupby(runs, key=lambda run: int(bounds[run[0]]) * count // total):
        run, *more = piece
        groups = range(run[0], (more or [run])[-1][-1] + 1)
        rows = int(bounds[groups.stop] - bounds[groups.start])
        pieces.append([groups.start, groups.stop, size * rows // total])
    return pieces


def parquet_pieces(path: Path, surveys: Sequence[list[list[int]]]) -> list[RowGroups]:
    """Return the pieces of a file; every survey has all."""
    return [RowGroups(path, range(start, stop), size) for start, stop, size in surveys[0]]


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file, and turn an error of Arrow in it into one that says what is wrong.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        with open_parquet(path) as file:
            yield file
    except DAMAGED_FILE as error:
        raise _not_parquet(path, error) from None
    except OSError as error:
        if error.errno is None:  # raised by Arrow: the file opens, but its content is damaged
            raise _not_parquet(path, error) from None
        raise open_error(path, error) from None


def _columns(
    path: Path, file: pq.ParquetFile, config: DataConfig, *, with_labels: bool
) -> list[str]:
    schema = file.schema_arrow
    inner = inner_paths(schema)
    columns = required_columns(path, config, with_labels, schema.names, inner=inner)
    return list(dict.fromkeys(columns))


def _batches(
    path: Path, file: pq.ParquetFile, columns: list[str], row_groups: range
) -> Iterator[pa.RecordBatch]:
    """Yield the rows in batches; keep no row group after the next few.

    Arrow keeps what it has read until its reader ends, so each run of row groups has its own. No
    batch has rows of two runs, so a file can be read in pieces.

    Raises:
        DataError: the rows take far more memory than the file.
    """
    for groups, row_bytes in _runs(path, file, columns, row_groups):
        pieces, rows, size = list[pa.RecordBatch](), 0, 0.0
        batch_rows = int(min(BATCH_ROWS, max(BATCH_BYTES / row_bytes, 1)))
        for piece in file.iter_batches(batch_rows, row_groups=groups, columns=columns):
            _check_text(path, piece)
            expands = any("dictionary<" in str(kind) for kind in piece.schema.types)
            pieces.append(piece)
            rows += len(piece)
            size += len(piece) * row_bytes if expands else piece.nbytes
            if rows > BATCH_ROWS // 2 or size > BATCH_BYTES // 2:
                yield from _joined(pieces)
                pieces, rows, size = [], 0, 0.0
        yield from _joined(pieces)


def _check_text(path: Path, batch: pa.RecordBatch) -> None:
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: has values that are damaged or not UTF-8 ({error})") from None


def _joined(pieces: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    if len(pieces) < 2:
        return pieces
    batches: list[pa.RecordBatch] = pa.Table.from_batches(pieces).combine_chunks().to_batches()
    return batches


def _runs(
    path: Path, file: pq.ParquetFile, columns: list[str], row_groups: range
) -> Iterator[tuple[Sequence[int], float]]:
    """Yield the row groups to read at once, with the most bytes that one of their rows takes."""
    sizes = PageSizes(path, file, columns)
    groups, rows, most = list[int](), 0, 1.0
    for group in row_groups:
        try:
            row_bytes = sizes.row_bytes(group)
        except pa.ArrowInvalid:
            raise
        except ValueError as error:
            raise DataError(f"{path}: row group {group + 1}: {error}") from None
        group_rows = file.metadata.row_group(group).num_rows
        if groups and (rows + group_rows) * max(most, row_bytes) > BATCH_BYTES:
            yield groups, most
            groups, rows, most = [], 0, 1.0
        groups.append(group)
        rows, most = rows + group_rows, max(most, row_bytes)
        if rows >= BATCH_ROWS:
            yield groups, most
            groups, rows, most = [], 0, 1.0
    if groups:
        yield groups, most


def _not_parquet(path: Path, error: Exception) -> DataError:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if compression := compression_of(head):
        return DataError(f"{path}: is {compression.name} data; decompress it to read Parquet")
    problem = "" if head.startswith(b"PAR1") else what_it_is(head)
    return DataError(f"{path}: {problem or f'not a complete Parquet file: {error}'}")


def parquet_label_names(path: Path, label_column: str) -> Sequence[str] | None:
    """Return the class names that Hugging Face `datasets` stores in a file's schema.

    Returns:
        The names; [] if the labels are numbers without names, None if they are not numbers.
    """
    try:
        with open_parquet(path) as file:
            schema = file.schema_arrow
    except (*DAMAGED_FILE, OSError):
        return None  # reading the rows will tell what is wrong
    names = _class_names(schema, label_column)
    if names is None and schema.get_field_index(label_column) >= 0:
        return [] if pa.types.is_integer(schema.field(label_column).type) else None
    return names


def _class_names(schema: pa.Schema, label_column: str) -> Sequence[str] | None:
    metadata = (schema.metadata or {}).get(b"huggingface")
    if not metadata:
        return None
    try:
        feature = feature_at(label_column, json.loads(metadata)["info"]["features"])
        names = feature.get("feature", feature)["names"]  # of a class, or of a list of classes
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # another kind of feature, or metadata of another form
    return names if isinstance(names, list) else None

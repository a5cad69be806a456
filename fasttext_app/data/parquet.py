"""Parquet files, read row group by row group."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa

from fasttext_app.config.schema import DataConfig
from fasttext_app.data.checked_stream import open_error
from fasttext_app.data.source import Batches, to_examples, wanted_columns
from fasttext_app.errors import DataError

BATCH_ROWS = 65_536


def scan_parquet(path: Path, config: DataConfig, *, labels: bool) -> Batches:
    """Read a Parquet file batch by batch.

    Raises:
        DataError: the file is missing or damaged, or has not the columns.
    """
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            wanted = wanted_columns(path, config, labels, file.schema_arrow.names)
            names = _class_names(file.schema_arrow, config.label_column)
            rows = 0
            columns = list(dict.fromkeys(wanted))
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                yield to_examples(
                    batch,
                    config,
                    labels=labels,
                    row_name=partial(_row_name, path, rows),
                    label_names=names,
                )
                rows += len(batch)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not a whole Parquet file: {error}") from None
    except OSError as error:
        if error.errno is None:  # Arrow's own: the file opens, its content is damaged
            raise DataError(f"{path}: not a whole Parquet file: {error}") from None
        raise open_error(path, error) from None


def parquet_label_names(path: Path, label_column: str) -> Sequence[str] | None:
    """Return the class names that Hugging Face `datasets` stores in a file's schema, if any."""
    import pyarrow.parquet as pq

    try:
        return _class_names(pq.read_schema(path), label_column)
    except (pa.ArrowInvalid, OSError):
        return None  # reading the rows will say what is wrong


def _class_names(schema: pa.Schema, label_column: str) -> Sequence[str] | None:
    stored = (schema.metadata or {}).get(b"huggingface")
    if not stored:
        return None
    try:
        names = json.loads(stored)["info"]["features"][label_column]["names"]
    except (ValueError, KeyError, TypeError):
        return None  # another kind of feature, or metadata in another form
    return names if isinstance(names, list) else None


def _row_name(path: Path, rows_before: int, row: int) -> str:
    return f"{path}, row {rows_before + row + 1}"

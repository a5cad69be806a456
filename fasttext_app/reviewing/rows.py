"""The rows of a review: texts, their labels if they have any, and the columns to copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import DataConfig
from fasttext_app.core.arrays import Bool
from fasttext_app.core.arrow import is_string, to_arrow
from fasttext_app.data.bad_rows import BadRows
from fasttext_app.data.columns import to_examples
from fasttext_app.data.in_memory import ObjectRows
from fasttext_app.data.soft_labels import keep_most_likely
from fasttext_app.data.source import NoColumnsError, kept_name
from fasttext_app.data.spec import open_source, open_texts
from fasttext_app.errors import DataError


@dataclass(frozen=True)
class ReviewRows:
    """N rows in the order of the data."""

    spec: str
    """Where they are from."""
    texts: pa.ChunkedArray
    cells: pa.ChunkedArray
    """The label cell of each row; null for a row without."""
    kept: pa.Table
    """The columns to copy; [N, 0] without any."""

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def is_labeled(self) -> Bool:
        """Whether each row has a label, [N]."""
        return np.asarray(self.cells.is_valid().to_numpy(), bool)

    def with_unlabeled(self, texts: pa.ChunkedArray) -> ReviewRows:
        """Return the rows with unlabeled ones after them, whose columns to copy are empty."""
        more = pa.nulls(len(texts), pa.string())
        columns = [
            pa.chunked_array([*column.chunks, pa.nulls(len(texts), column.type)], column.type)
            for column in self.kept.columns
        ]
        return ReviewRows(
            self.spec,
            pa.chunked_array([*self.texts.chunks, *texts.chunks], pa.string()),
            pa.chunked_array([*self.cells.chunks, more], pa.string()),
            pa.table(columns, names=self.kept.column_names),
        )


def read_rows(
    config: DataConfig, split: str, keep: Sequence[str] = (), bad_rows: BadRows | None = None
) -> ReviewRows:
    """Read the rows of a SPEC; a row whose label is empty is unlabeled.

    Args:
        config: the SPEC, and how to read it.
        split: the split to read.
        keep: the columns to copy.
        bad_rows: counts the rows that are skipped.

    Raises:
        DataError: the rows cannot be read, or there are none.
    """
    keep = tuple(dict.fromkeys(keep))
    own = list(config.label_columns) or [config.label_column]
    wanted = config.model_copy(update={"keep": tuple(dict.fromkeys([*own, *keep]))})
    source = open_source(wanted, bad_rows=bad_rows)
    try:
        table = source.read(split, with_labels=False)
        has_columns = table.num_columns > 1
    except NoColumnsError:
        has_columns = False
    if has_columns:
        return _from_table(table, source.spec, config, keep, source.label_names)
    if keep:
        raise DataError(f"{source.spec}: has no columns to copy; leave out --keep")
    table = open_source(config, bad_rows=bad_rows).read(split)
    cells = table.column("label")
    if config.soft_labels:
        cells = _most_likely(table, config)
    return ReviewRows(source.spec, table.column("text"), cells, table.select([]))


def unlabeled_texts(
    config: DataConfig, paths: Sequence[str], bad_rows: BadRows | None = None
) -> pa.ChunkedArray:
    """Read texts without labels.

    Raises:
        DataError: a file is missing, or its texts cannot be read.
    """
    config = config.model_copy(update={"source": list(paths), "keep": (), "nulls": "error"})
    batches = open_texts(config, bad_rows)
    return pa.chunked_array([batch.column("text") for batch in batches], pa.string())


def rows_of_objects(objects: ObjectRows, config: DataConfig, keep: Sequence[str]) -> ReviewRows:
    """Return rows that were passed as Python objects; see :func:`read_rows`."""
    keep = tuple(dict.fromkeys(keep))
    table, config, names = objects.columns_of(config, keep)
    return _from_table(table, objects.job, config, keep, names)


def _from_table(
    table: pa.Table,
    where: str,
    config: DataConfig,
    keep: Sequence[str],
    label_names: Sequence[str] | None,
) -> ReviewRows:
    """Return the rows of a table with ``text``, the label columns, and the columns to copy."""
    own = list(config.label_columns) or [config.label_column]
    columns = [table.column(kept_name(name)).combine_chunks() for name in own]
    is_missing = np.all([_is_missing(column) for column in columns], axis=0)
    rows = np.flatnonzero(~is_missing)
    mask = to_arrow(~is_missing)
    inner = [column.filter(mask) for column in columns]
    several = bool(config.label_columns)
    names = own if several else ["label"]
    settings: dict[str, Any] = {"text_columns": ("text",), "keep": (), "weight_column": None}
    settings |= {"label_columns": tuple(own)} if several else {"label_column": "label"}
    texts = table.column("text").combine_chunks()
    batch = pa.record_batch([texts.filter(mask), *inner], ["text", *names])
    config = config.model_copy(update=settings)
    examples = to_examples(
        batch,
        config,
        lambda row: f"{where}, row {rows[row] + 1}",
        with_labels=True,
        label_names=label_names,
    )
    labels = _most_likely(examples, config) if config.soft_labels else examples.column("label")
    places = np.cumsum(~is_missing) - 1
    cells = (
        labels.take(pa.array(places, mask=is_missing))
        if len(rows)
        else (pa.nulls(len(texts), pa.string()))
    )
    kept = pa.table([table.column(kept_name(name)) for name in keep], names=list(keep))
    return ReviewRows(where, pa.chunked_array([texts]), pa.chunked_array([cells]), kept)


def _is_missing(column: pa.Array) -> Bool:
    """Return which cells hold nothing: a null, or a string without letters."""
    missing = np.asarray(column.is_null().to_numpy(zero_copy_only=False), bool)
    if is_string(column.type):
        blank = [cell is None or not cell.strip() for cell in column.to_pylist()]
        missing |= np.array(blank, bool)
    return missing


def _most_likely(examples: pa.Table | pa.RecordBatch, config: DataConfig) -> pa.ChunkedArray:
    assert config.label_separator is not None
    table = examples if isinstance(examples, pa.Table) else pa.Table.from_batches([examples])
    batches = keep_most_likely(iter(table.to_batches()), config.label_separator)
    return pa.Table.from_batches(list(batches)).column("label")

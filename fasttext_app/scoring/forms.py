"""The kinds of tables that engines pass to a function: recognized, and returned with new columns.

A pandas or Polars frame is recognized without importing its library.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fasttext_app.core.arguments import describe
from fasttext_app.core.objects import ObjectTable, as_column, as_table
from fasttext_app.errors import DataError


def as_rows(batch: Any) -> ObjectTable:
    """Return a batch of any kind as a table.

    Raises:
        DataError: it is none.
    """
    table = _dict_table(batch) if isinstance(batch, Mapping) else as_table(batch)
    if table is None:
        raise DataError(
            f"batch: got {describe(batch)}; pass a dict of columns, an Arrow table or record "
            "batch, or a pandas or Polars frame"
        )
    return table


def _dict_table(batch: Mapping[Any, Any]) -> ObjectTable:
    for name, values in batch.items():
        if isinstance(values, str | bytes):
            raise DataError(
                f"batch, {name!r}: got {describe(values)} where a column is expected; pass a dict "
                "of lists (batched=True in `datasets`)"
            )

    def read(names: Sequence[str]) -> pa.Table:
        return pa.table([as_column(batch[name], name) for name in names], list(names))

    return ObjectTable(list(batch), read, {})


def add_columns(batch: Any, kept: Sequence[str], new: pa.Table) -> Any:
    """Return the kept columns of a batch and the new ones, in the kind of the batch."""
    names = list(kept)
    if isinstance(batch, Mapping):
        as_arrays = any(isinstance(values, np.ndarray) for values in batch.values())
        convert = _to_array if as_arrays else pa.ChunkedArray.to_pylist
        added = {name: convert(new.column(name)) for name in new.column_names}
        return {name: batch[name] for name in names} | added
    if isinstance(batch, pa.Table):
        table = batch if names == batch.column_names else batch.select(names)
        for field, column in zip(new.schema, new.columns, strict=True):
            table = table.append_column(field, column)
        return table
    if isinstance(batch, pa.RecordBatch):
        others = batch if names == batch.schema.names else batch.select(names)
        arrays = [*others.columns, *(column.combine_chunks() for column in new.columns)]
        schema = pa.schema([*others.schema, *new.schema], batch.schema.metadata)
        return pa.RecordBatch.from_arrays(arrays, schema=schema)
    if type(batch).__module__.partition(".")[0] == "polars":
        return batch.select(names).with_columns(sys.modules["polars"].from_arrow(new))
    if type(batch).__module__.partition(".")[0] == "pandas":
        frame = batch[[key for key in batch.columns if str(key) in kept]].copy(deep=False)
        for name in new.column_names:
            frame[name] = new.column(name).to_pandas().array
        return frame
    return add_columns(as_rows(batch).read(names), names, new)


def _to_array(column: pa.ChunkedArray) -> Any:
    if pa.types.is_floating(column.type):
        return column.to_numpy()  # null is NaN
    return np.fromiter(column.to_pylist(), dtype=object, count=len(column))

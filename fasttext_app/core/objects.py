"""Tables and columns that a caller has in memory: frames, Datasets, Arrow tables, sequences.

They are recognized by what they can do, so that no library is imported that the caller has not
imported: a pandas or Polars frame, a ``datasets.Dataset``, an Arrow table, or anything else that
speaks Arrow's C stream protocol (``__arrow_c_stream__``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fasttext_app.core.arguments import describe
from fasttext_app.errors import DataError

STREAM_ROWS = 16_384  # of a `datasets.IterableDataset` that are read at a time


@dataclass(frozen=True)
class ObjectTable:
    """A table in memory: its columns by name.

    Attributes:
        names: the names of the columns, in order.
        read: returns some of the columns as an Arrow table, in this order.
        class_names: the names of the classes of an integer column, by the name of the column.
        streamed: whether every call of ``read`` reads the rows again, in Python.
    """

    names: Sequence[str]
    read: Callable[[Sequence[str]], pa.Table]
    class_names: Mapping[str, Sequence[str]]
    streamed: bool = False


def as_table(value: object) -> ObjectTable | None:
    """Return the columns of a table, or None for anything else.

    >>> table = as_table(pa.table({"id": [1, 2], "body": ["to", "be"]}))
    >>> table.names, table.read(["body"]).to_pydict()
    (['id', 'body'], {'body': ['to', 'be']})
    >>> as_table(["to", "be"]) is None
    True

    Raises:
        DataError: it is a table whose rows are not in memory.
    """
    if isinstance(value, ObjectTable):
        return value
    if isinstance(value, str | list | tuple | Mapping | pa.Array | pa.ChunkedArray):
        return None
    if isinstance(value, pa.RecordBatchReader):
        value = value.read_all()
    if isinstance(value, pa.Table | pa.RecordBatch):
        return _arrow_table(value)
    dataset: Any = value
    if hasattr(value, "column_names") and hasattr(value, "with_format"):
        return _dataset_table(dataset)
    is_lazy = hasattr(value, "collect") or hasattr(value, "compute")
    if is_lazy and hasattr(type(value), "columns"):
        raise DataError(
            f"got {describe(value)}, whose rows are not in memory; collect them into a frame first"
        )
    if hasattr(value, "columns") and hasattr(value, "__getitem__"):
        return _frame_table(dataset)
    if hasattr(value, "__arrow_c_stream__"):
        try:
            return _arrow_table(pa.table(value))
        except (pa.ArrowException, TypeError):
            return None  # a column, whose stream is not one of rows
    return None


def _arrow_table(table: pa.Table | pa.RecordBatch) -> ObjectTable:
    def read(names: Sequence[str]) -> pa.Table:
        return pa.table([table.column(name) for name in names], names=list(names))

    return ObjectTable(table.schema.names, read, {})


def _dataset_table(dataset: Any) -> ObjectTable:
    """Return a `datasets.Dataset`, or an `IterableDataset`, as a table."""
    if dataset.column_names is None:  # a stream that has not been looked into
        dataset = dataset._resolve_features()

    streamed = not hasattr(dataset, "__len__")

    def read(names: Sequence[str]) -> pa.Table:
        selected = dataset.select_columns(list(dict.fromkeys(names))).with_format("arrow")
        batches = selected.iter(batch_size=STREAM_ROWS) if streamed else [selected[:]]
        return pa.concat_tables(batches).select(list(names))

    features = dataset.features or {}
    class_names = {
        name: feature.names for name, feature in features.items() if getattr(feature, "names", None)
    }
    return ObjectTable(list(dataset.column_names), read, class_names, streamed)


def _frame_table(frame: Any) -> ObjectTable:
    """Return a frame of pandas, Polars, or of another library with their indexing as a table."""
    keys = list(frame.columns)
    by_name = {str(key): key for key in keys}

    def read(names: Sequence[str]) -> pa.Table:
        return pa.table([as_column(frame[by_name[name]], name) for name in names], list(names))

    return ObjectTable([str(key) for key in keys], read, {})


def tables(values: Any) -> Iterator[ObjectTable]:
    """Yield the tables of a stream; a table is a stream of one.

    Raises:
        DataError: it has something else.
    """
    if (table := as_table(values)) is not None:
        yield table
        return
    problem = "; pass tables or record batches"
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise DataError(f"batches: got {describe(values)}{problem}")
    for number, batch in enumerate(values, start=1):
        table = as_table(batch)
        if table is None:
            raise DataError(f"batches, batch {number}: got {describe(batch)}{problem}")
        yield table


def arrow_column(values: Any) -> pa.Array | pa.ChunkedArray | None:
    """Return a column that Arrow can read as it is; None for anything else.

    Arrays of NumPy strings are not among them: they are read one by one, like a list.
    """
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return _without_view_categories(values)
    try:
        if hasattr(values, "__arrow_c_stream__"):
            return _without_view_categories(pa.chunked_array(values))
        module = type(values).__module__.partition(".")[0]
        dtype = getattr(values, "dtype", None)
        is_numeric = getattr(dtype, "kind", None) in tuple("biuf")
        if (module == "pandas" and dtype is not None) or (
            module == "numpy" and is_numeric and values.ndim == 1
        ):
            return pa.array(values, from_pandas=True)
        if hasattr(values, "__arrow_c_array__") or hasattr(values, "__arrow_array__"):
            return pa.array(values)
    except (pa.ArrowException, TypeError):
        return None  # a column of mixed Python objects
    return None


def _without_view_categories(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return a categorical of Polars with categories that Arrow can decode."""
    kind = column.type
    if not (pa.types.is_dictionary(kind) and pa.types.is_string_view(kind.value_type)):
        return column
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return pa.chunked_array(
        [
            pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(pa.string()))
            for chunk in chunks
        ],
        pa.dictionary(kind.index_type, pa.string()),
    )


def as_column(values: Any, where: str) -> pa.Array | pa.ChunkedArray:
    """Return any column as an Arrow column, of the type that its values have.

    >>> as_column(iter([3, None]), "labels").to_pylist()
    [3, None]

    Raises:
        DataError: it is not a column, or its values have several types.
    """
    column = arrow_column(values)
    if column is not None:
        return column
    items = [_plain(item) for item in as_list(values, where)]
    try:
        return pa.array(items, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}, {_first_odd(items) or error}") from None


def _plain(item: object) -> object:
    """Return a value in a form that Arrow reads: text for bytes, a list for a set or an array."""
    if isinstance(item, bytes):
        return item.decode(errors="surrogateescape")
    if isinstance(item, AbstractSet):
        return sorted(item, key=str)
    if type(item) not in (str, int, float, bool, list) and hasattr(item, "tolist"):
        return item.tolist()
    return item


def _first_odd(items: list[Any]) -> str:
    """Return which value has another type than the first one, or cannot be read."""
    first = None
    for row, item in enumerate(items, start=1):
        if isinstance(item, str) and _has_surrogates(item):
            return f"row {row}: {item!r} is not valid Unicode; correct its encoding"
        if is_missing(item):
            continue
        try:
            pa.array([item])
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            return f"row {row}: got {describe(item)}, which is neither text, a number nor a list"
        first = item if first is None else first
        if type(item) is not type(first):
            return (
                f"row {row}: got {describe(item)} where other rows have {describe(first)}; "
                "give all rows values of one type"
            )
    return ""


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def is_missing(item: object) -> bool:
    """Return whether a value stands for no value: None, NaN, or NA of pandas.

    >>> [is_missing(item) for item in (None, float("nan"), "", 0)]
    [True, True, False, False]
    """
    if item is None or type(item).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(item, float) and item != item


def as_list(values: Any, where: str) -> list[Any]:
    """Return the values of a sequence or any other iterable of values as a list.

    Raises:
        DataError: ``values`` is something else; the message says what it is and what to pass.
    """
    problem = f"{where}: got {describe(values)}"
    if isinstance(values, list):
        return values
    if isinstance(values, str | bytes | bytearray):
        raise DataError(f"{problem} where a list or a column is expected")
    if isinstance(values, Mapping):
        column = next((key for key in ("text", *values) if key in values), "text")
        hint = f"a list, such as its value of {column!r}"
        if any(as_table(value) is not None for value in values.values()):  # a DatasetDict
            hint = f"one of its tables: {', '.join(map(repr, values))}"
        raise DataError(f"{problem}; pass {hint}")
    if isinstance(values, AbstractSet) and not hasattr(values, "mapping"):
        raise DataError(f"{problem}, which has no order; pass a list")
    if isinstance(values, type) or (not isinstance(values, Iterable) and not _has_items(values)):
        raise DataError(f"{problem}; pass a text, a list of texts, or a column of a table")
    if as_table(values) is not None:
        raise DataError(f"{problem}; pass one of its columns")
    ndim = getattr(values, "ndim", 1)
    if ndim == 0:
        raise DataError(f"{problem} without a dimension; pass a list")
    if hasattr(values, "tolist"):
        return list(values.tolist())
    return list(values)


def _has_items(values: object) -> bool:
    return hasattr(values, "__getitem__") and hasattr(values, "__len__")

"""From the columns of a file to checked columns ``text``, ``label`` and ``weight``.

Every reader passes its batches through ``to_examples``: text columns are joined, labels become
strings, weights become 32-bit floats, and an error names the row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import DataConfig
from fasttext_app.core.arrays import Bool
from fasttext_app.core.arrow import compute as pc
from fasttext_app.core.arrow import is_string, string_array, to_arrow, to_numpy
from fasttext_app.data.bad_rows import ColumnError, FileErrors, Locate, convert_rows
from fasttext_app.data.checked_stream import MARK
from fasttext_app.data.soft_labels import format_soft_labels, parse_soft_labels
from fasttext_app.data.source import kept_name
from fasttext_app.errors import DataError, did_you_mean

FLAGS = ["0", "1", "false", "true", "0.0", "1.0"]  # no and yes in turn
WHOLE_FLOATS = 2.0**53  # floats up to here are whole numbers one by one
SEVERAL_LABELS_HINT = '; for several, set data.label_separator (and model.loss = "ova")'
# Python strings would make Arrow import pandas.
EMPTY, SPACE, NO_TEXT = string_array(["", " ", None])


def numbered_rows(where: object, rows_before: int) -> Locate:
    """Return a function that locates rows by number.

    >>> numbered_rows("a.parquet", 100)(0)
    'a.parquet, row 101'
    """
    return lambda row: f"{where}, row {rows_before + row + 1}"


def rows_on_lines(where: object, lines: Sequence[int]) -> Locate:
    """Return a function that locates rows by their lines.

    >>> rows_on_lines("a.csv", [2, 3, 5])(2)
    'a.csv:5'
    """
    return lambda row: f"{where}:{lines[row]}"


def needed_columns(config: DataConfig, with_labels: bool) -> list[str]:
    """Return the columns that the settings name."""
    columns = list(config.text_columns)
    if with_labels:
        columns += config.label_columns or [config.label_column]
        if config.weight_column is not None:
            columns.append(config.weight_column)
    return columns


def required_columns(
    where: object,
    config: DataConfig,
    with_labels: bool,
    existing: Sequence[str],
    options: str = "--text-column and --label-column",
    inner: Sequence[str] = (),
) -> list[str]:
    """Return the columns to read: the texts and, with labels, the label and the weight.

    Args:
        where: the file, for messages.
        config: the settings that name the columns.
        with_labels: whether labels and weights are read.
        existing: the columns there are.
        options: what chooses columns, for messages.
        inner: the paths there are: ``doc.text`` is the field ``text`` of the objects in ``doc``.

    >>> config = DataConfig(text_columns=("title", "body"), weight_column="votes")
    >>> required_columns("a.csv", config, True, ["body", "label", "title", "votes"])
    ['title', 'body', 'label', 'votes']

    Raises:
        DataError: a column is missing, or there are several of that name.
    """
    required = needed_columns(config, with_labels)
    if not with_labels:
        required += kept_columns(config, existing)
    for name in required:
        if name not in existing and name not in inner:
            hint = did_you_mean(name, [*existing, *inner])
            if name in config.keep and name not in needed_columns(config, True):
                options = "--keep"
            option = "data.weight_column" if name == config.weight_column else options
            raise ColumnError(
                f"{where}: there is no column {name!r}{hint or ';'} the columns are "
                f"{', '.join(map(repr, [*existing, *inner]))} (choose with {option})"
            )
        if list(existing).count(name) > 1:
            raise DataError(f"{where}: there are several columns {name!r}; rename all but one")
    return required


def kept_columns(config: DataConfig, existing: Sequence[str]) -> list[str]:
    """Return the columns that ``data.keep`` names; a text column alone is not kept twice."""
    if config.keep != "all":
        return list(config.keep)
    return [name for name in existing if (name,) != config.text_columns]


def inner_paths(schema: pa.Schema | pa.StructType) -> list[str]:
    """Return the paths of the fields of objects in columns.

    >>> inner_paths(pa.schema({"id": pa.int64(), "doc": pa.struct({"text": pa.string()})}))
    ['doc.text']
    """
    return [
        f"{field.name}.{name}"
        for field in schema
        if pa.types.is_struct(field.type)
        for name in [*(inner.name for inner in field.type), *inner_paths(field.type)]
    ]


def column_with(name: str, columns: Sequence[str]) -> str:
    """Return the column that holds a name or a path.

    >>> column_with("doc.text", ["id", "doc"]), column_with("doc.text", ["doc.text", "doc"])
    ('doc', 'doc.text')
    """
    if name in columns:
        return name
    return next(column for column in columns if name.startswith(f"{column}."))


def feature_at(name: str, features: Mapping[str, Any]) -> Any:
    """Return the feature of Hugging Face `datasets` at a name or a path; None if there is none.

    >>> feature_at("meta.label", {"meta": {"label": {"names": ["bad", "good"]}}})
    {'names': ['bad', 'good']}
    """
    if name in features:
        return features[name]
    top, _, rest = name.partition(".")
    inner = features.get(top)
    return feature_at(rest, inner) if rest and isinstance(inner, Mapping) else None


def _column(batch: pa.RecordBatch, name: str) -> pa.Array | pa.ChunkedArray:
    """Return a column, or a field of its objects."""
    top = column_with(name, batch.schema.names)
    column = batch.column(top)
    while name != top:
        name = name.removeprefix(f"{top}.")
        top = column_with(name, [field.name for field in column.type])
        column = pc.struct_field(column, [top])
    return column


def to_examples(
    batch: pa.RecordBatch | pa.Table,
    config: DataConfig,
    locate: Locate,
    *,
    with_labels: bool,
    label_names: Sequence[str] | None = None,
    errors: FileErrors | None = None,
) -> pa.RecordBatch:
    """Return ``text``, ``label`` and ``weight``; without labels, ``text`` and the columns to keep.

    Args:
        batch: the columns as they are in the file.
        config: the names of the columns, and what to do with missing texts.
        locate: tells where a row of the batch is, for errors.
        with_labels: whether to read labels and weights.
        label_names: the names of integer labels.
        errors: counts the bad rows, if they are to be left out.

    Raises:
        DataError: a value is missing, or a column does not hold texts, labels or weights.
    """

    def convert(rows: pa.RecordBatch | pa.Table, locate: Locate) -> pa.RecordBatch:
        return _to_examples(rows, config, locate, label_names, with_labels=with_labels)

    return convert_rows(batch, convert, locate, errors or FileErrors(skip=False))


def _to_examples(
    batch: pa.RecordBatch | pa.Table,
    config: DataConfig,
    locate: Locate,
    label_names: Sequence[str] | None,
    *,
    with_labels: bool,
) -> pa.RecordBatch:
    nullable = config.nulls == "null" and not with_labels
    texts = [
        _text_column(batch, name, config, locate, nullable=nullable) for name in config.text_columns
    ]
    text = texts[0]
    if len(texts) > 1:
        filled = [column.fill_null(EMPTY) for column in texts]
        text = pc.utf8_trim_whitespace(pc.binary_join_element_wise(*filled, SPACE))
        if any(column.null_count for column in texts):
            is_missing = reduce(pc.and_, (column.is_null() for column in texts))
            text = pc.if_else(is_missing, NO_TEXT, text)
    if not with_labels:
        kept = kept_columns(config, batch.schema.names)
        others = [pa.chunked_array(_column(batch, name)).combine_chunks() for name in kept]
        return pa.record_batch([text, *others], ["text", *map(kept_name, kept)])
    if config.label_columns:
        label = _cells_of_columns(batch, config, locate)
    else:
        label = _label_column(batch, config, locate, label_names)
    columns = {"text": text, "label": label}
    if config.weight_column is not None:
        columns["weight"] = _weight_column(batch, config.weight_column, locate)
    return pa.record_batch(columns)


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(column, pa.ChunkedArray):  # more than one chunk can hold
        raise ColumnError("a batch of texts is larger than 2 GB; use smaller row groups")
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _first(mask: pa.BooleanArray) -> int:
    """Return the first row for which the mask is true."""
    row: int = pc.index(mask, True).as_py()
    return row


def _text_column(
    batch: pa.RecordBatch | pa.Table,
    name: str,
    config: DataConfig,
    locate: Locate,
    *,
    nullable: bool = False,
) -> pa.StringArray:
    column = _flat(_column(batch, name))
    if not (is_string(column.type) or pa.types.is_null(column.type)):
        raise ColumnError(f"{locate(0)}: column {name!r} holds {column.type}, not text")
    if column.type != pa.string():
        column = column.cast(pa.string())
    refuse_marks(column, f"column {name!r}", config, locate)
    if column.null_count and not nullable:
        if config.errors == "strict" and config.nulls != "empty":
            raise DataError(
                f"{locate(_first(column.is_null()))}: column {name!r} has no value; "
                "fill it in, or pass --errors replace to read an empty text"
            )
        column = column.fill_null(EMPTY)
    return column


def _label_column(
    batch: pa.RecordBatch | pa.Table,
    config: DataConfig,
    locate: Locate,
    label_names: Sequence[str] | None,
) -> pa.StringArray:
    name = config.label_column
    column = _flat(_column(batch, name))
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    if pa.types.is_floating(column.type):
        column = _whole_numbers(column, name, locate)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        if config.label_separator is None:
            raise ColumnError(
                f"{locate(0)}: column {name!r} holds lists; a row must have exactly one label"
                f"{SEVERAL_LABELS_HINT}"
            )
        column = _cells_of_lists(column, config.label_separator, name, locate, label_names)
    elif config.soft_labels and (pa.types.is_struct(column.type) or pa.types.is_map(column.type)):
        column = _cells_of_dicts(column, config, locate)
    is_integer = pa.types.is_integer(column.type)
    if not (is_integer or is_string(column.type) or pa.types.is_boolean(column.type)):
        raise ColumnError(f"{locate(0)}: column {name!r} holds {column.type}, not labels")
    missing = pc.equal(column.cast(pa.string()).fill_null(EMPTY), EMPTY)
    if pc.any(missing).as_py():
        raise DataError(f"{locate(_first(missing))}: column {name!r} has no label")
    if is_integer and label_names:
        return _named(column, label_names, locate)
    column = column.cast(pa.string())
    refuse_marks(column, f"column {name!r}", config, locate)
    check_label_cells(column, config, locate)
    return column


def refuse_marks(column: pa.StringArray, what: str, config: DataConfig, locate: Locate) -> None:
    """Raise for the first value with bad bytes, if such rows are to be skipped.

    Raises:
        DataError: a value has bad bytes.
    """
    if config.skip_bad and config.errors == "strict":
        marked = pc.match_substring(column, MARK)
        if pc.any(marked).as_py():
            raise DataError(
                f"{locate(_first(marked))}: {what} has bytes that are not {config.encoding.upper()}"
            )


def _whole_numbers(column: pa.Array, name: str, locate: Locate) -> pa.Array:
    """Return labels that are whole numbers in a column of floats, as pandas writes it for gaps."""
    column = column.cast(pa.float64())
    column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
    other = pc.fill_null(
        pc.or_(pc.not_equal(column, pc.trunc(column)), pc.greater(pc.abs(column), WHOLE_FLOATS)),
        False,
    )
    if pc.any(other).as_py():
        row = _first(other)
        raise DataError(
            f"{locate(row)}: column {name!r} holds the number {column[row].as_py():g}; a label is "
            "a string or a whole number"
        )
    return column.cast(pa.int64())


def _named(numbers: pa.IntegerArray, names: Sequence[str], locate: Locate) -> pa.StringArray:
    """Return the names of numbered labels."""
    outside = pc.or_(pc.less(numbers, 0), pc.greater_equal(numbers, len(names)))
    if pc.any(outside).as_py():
        row = _first(outside)
        raise DataError(
            f"{locate(row)}: label {numbers[row]} has no name; "
            f"the names go from 0 to {len(names) - 1}"
        )
    return pc.take(string_array(names), numbers)


def _cells_of_lists(
    column: pa.ListArray,
    separator: str,
    name: str,
    locate: Locate,
    label_names: Sequence[str] | None,
) -> pa.StringArray:
    """Join the labels of each list with the separator, which alone stands for an empty list.

    A list may also hold 0 or 1 for each label, if the labels have names.
    """
    values, parents = column.flatten(), pc.list_parent_indices(column)

    def locate_value(index: int) -> str:
        return locate(parents[index].as_py())

    if not is_string(values.type):
        flags = _multi_hot(column)
        if flags is not None and label_names and len(label_names) == flags.shape[1]:
            return _cells_of_flags(flags, label_names, separator)
        if flags is not None and not label_names:
            raise ColumnError(
                f"{locate(0)}: column {name!r} holds lists of 0 and 1 without the names of their "
                "labels; write a column for each label (and name them with --label-column), or "
                "lists of names"
            )
        if pa.types.is_floating(values.type):
            values = _whole_numbers(values, name, locate_value)
        if not pa.types.is_integer(values.type):
            raise ColumnError(f"{locate(0)}: column {name!r} holds {column.type}, not labels")
        if label_names:
            values = _named(values, label_names, locate_value)
    values = values.cast(pa.string())
    ambiguous = pc.match_substring(values, separator)
    if pc.any(ambiguous).as_py():
        raise DataError(
            f"{locate_value(_first(ambiguous))}: a label in column {name!r} contains "
            f"{separator!r}; set data.label_separator to a string that no label contains"
        )
    lengths = to_numpy(column.value_lengths().fill_null(0))
    offsets = to_arrow(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))
    cells = pc.binary_join(pa.ListArray.from_arrays(offsets, values), separator)
    cells = pc.if_else(pc.equal(cells, EMPTY), string_array([separator])[0], cells)
    return pc.if_else(column.is_null(), NO_TEXT, cells)


def _multi_hot(lists: pa.ListArray) -> Bool | None:
    """Return lists of one length that hold 0 and 1 as a matrix; None for other lists."""
    lengths, values = lists.value_lengths(), lists.flatten()
    if not len(lists) or lists.null_count or values.null_count:
        return None
    length = lengths[0].as_py()
    if length < 2 or pc.any(pc.not_equal(lengths, lengths[0])).as_py():
        return None
    kind = values.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        return None
    numbers = to_numpy(values.cast(pa.float64()))
    return (numbers == 1).reshape(-1, length) if np.isin(numbers, (0, 1)).all() else None


def _cells_of_columns(
    batch: pa.RecordBatch | pa.Table, config: DataConfig, locate: Locate
) -> pa.StringArray:
    """Return the labels in whose columns a row has a 1."""
    assert config.label_separator is not None
    columns = [_flags(_column(batch, name), name, locate) for name in config.label_columns]
    return _cells_of_flags(np.stack(columns, axis=1), config.label_columns, config.label_separator)


def _flags(column: pa.Array | pa.ChunkedArray, name: str, locate: Locate) -> Bool:
    """Return a column of 0 and 1 as a mask."""
    column = _flat(column)
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_temporal(kind):
        raise ColumnError(f"{locate(0)}: column {name!r} holds {kind}; it must hold 0 or 1")
    text = pc.utf8_lower(pc.utf8_trim_whitespace(column.cast(pa.string())))
    codes = pc.index_in(text, value_set=string_array(FLAGS))
    if codes.null_count:
        row = _first(codes.is_null())
        raise DataError(
            f"{locate(row)}: column {name!r} holds {column[row].as_py()!r}; it must hold 0 or 1"
        )
    flags: Bool = to_numpy(codes) % 2 == 1
    return flags


def _cells_of_flags(flags: Bool, names: Sequence[str], separator: str) -> pa.StringArray:
    """Return the cell of the labels of each row, [B]; the separator alone if it has none.

    >>> flags = np.array([[True, False, True], [False, False, False]])
    >>> _cells_of_flags(flags, ["a", "b", "c"], "|").to_pylist()
    ['a|c', '|']
    """
    packed = np.packbits(flags, axis=1)
    _, first, cell_of_row = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    cells = [
        separator.join(name for name, flag in zip(names, flags[row], strict=True) if flag)
        for row in first.tolist()
    ]
    filled = string_array([cell or separator for cell in cells])
    return filled.take(to_arrow(cell_of_row.ravel().astype(np.int64)))


def _cells_of_dicts(column: pa.Array, config: DataConfig, locate: Locate) -> pa.StringArray:
    """Format the label probabilities of each dict as a cell."""
    assert config.label_separator is not None
    cells = []
    for row, probabilities in enumerate(column.to_pylist()):
        try:
            cells.append(format_soft_labels(dict(probabilities or {}), config.label_separator))
        except DataError as error:
            raise DataError(f"{locate(row)}: column {config.label_column!r}: {error}") from None
    return string_array(cells)


def check_label_cells(cells: pa.StringArray, config: DataConfig, locate: Locate) -> None:
    """Check the cells of rows that can have several labels.

    Raises:
        DataError: a cell has a label twice, or with ``data.soft_labels`` malformed probabilities.
    """
    separator = config.label_separator
    if separator is None:
        return
    for cell in cells.dictionary_encode().dictionary.to_pylist():
        try:
            if config.soft_labels:
                parse_soft_labels(cell, separator)
            else:
                _refuse_repeated(cell, separator)
        except DataError as error:
            raise DataError(f"{locate(cells.to_pylist().index(cell))}: {error}") from None


def _refuse_repeated(cell: str, separator: str) -> None:
    labels = [label.strip() for label in cell.split(separator)]
    for label, count in Counter(labels).items():
        if label and count > 1:
            raise DataError(f"the row has the label {label!r} {count} times; give it once")


def _weight_column(batch: pa.RecordBatch | pa.Table, name: str, locate: Locate) -> pa.Array:
    column = _flat(_column(batch, name))
    if is_string(column.type):
        column = pc.utf8_trim_whitespace(column.cast(pa.string()))
        column = pc.if_else(pc.equal(column, EMPTY), pa.scalar(None, pa.string()), column)
        try:
            column = column.cast(pa.float64())
        except pa.ArrowInvalid:  # float() reads more forms of a number
            column = _parse_numbers(column.to_pylist(), name, locate)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise ColumnError(f"{locate(0)}: column {name!r} holds {column.type}, not weights")
    return checked_weights(column, f"column {name!r}", locate)


def _parse_numbers(cells: list[str | None], name: str, locate: Locate) -> pa.Array:
    numbers = []
    for row, cell in enumerate(cells):
        try:
            numbers.append(None if cell is None else float(cell))
        except ValueError:
            raise DataError(
                f"{locate(row)}: column {name!r} holds {cell!r}, which is not a number"
            ) from None
    return pa.array(numbers, pa.float64())


def checked_weights(column: pa.Array, what: str, locate: Locate) -> pa.Array:
    """Return weights as 32-bit floats.

    Raises:
        DataError: a weight is missing, negative or not finite.
    """
    if column.null_count:
        raise DataError(f"{locate(_first(column.is_null()))}: {what} has no weight")
    numbers = to_numpy(column)
    with np.errstate(over="ignore"):
        weights = numbers.astype(np.float32)
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{locate(row)}: {what} has the weight {numbers[row]:g}; "
            "a weight is a finite number of 0 or more"
        )
    return to_arrow(weights)

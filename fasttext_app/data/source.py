"""The one form that every source delivers: record batches of ``text`` and, if asked, ``label``.

Where ``data.weight_column`` names one, labels come with a column ``weight``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fasttext_app.config.schema import DataConfig
from fasttext_app.core.arrow import string_array, to_arrow, to_numpy
from fasttext_app.data.soft_labels import format_soft_labels, parse_soft_labels
from fasttext_app.errors import DataError, did_you_mean

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""What a split may be called, and the name that it has here."""

SEVERAL = '; for several, set data.label_separator (and model.loss = "ova")'
EMPTY, SPACE = string_array(["", " "])  # Python strings would make Arrow import pandas

Batches = Iterator[pa.RecordBatch]
"""Batches with a string column ``text`` and, where labels were asked for, a string ``label``."""

Scan = Callable[[bool], Batches]
"""Start reading one split from the beginning; the argument says whether labels are wanted."""


@dataclass(frozen=True)
class Source:
    """Texts and labels under one SPEC, in one or several splits.

    Attributes:
        spec: what the user named.
        scans: how to read each split, by its name.
        label_names: class names in their given order, where the source has them.
        single: whether the source is one file, which is then any split that is asked for.
    """

    spec: str
    scans: Mapping[str, Scan]
    label_names: Sequence[str] | None = None
    single: bool = field(default=False, kw_only=True)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return tuple(self.scans)

    def has(self, split: str) -> bool:
        """Whether there is a split of that name (``valid`` and ``dev`` are ``validation``)."""
        return not self.single and self._own_name(split) in self.scans

    def _own_name(self, split: str) -> str:
        return split if split in self.scans else SPLIT_NAMES.get(split, split)

    def scan(self, split: str, *, labels: bool = True) -> Batches:
        """Read one split batch by batch, in constant memory.

        Raises:
            DataError: there is no such split, or its rows cannot be read.
        """
        if self.single:
            return next(iter(self.scans.values()))(labels)
        split = self._own_name(split)
        if split not in self.scans:
            hint = did_you_mean(split, self.scans) or f"; it has: {', '.join(self.scans)}"
            raise DataError(f"{self.spec}: no split {split!r}{hint}")
        return self.scans[split](labels)

    def read(self, split: str, *, labels: bool = True) -> pa.Table:
        """Read one split whole.

        Raises:
            DataError: there is no such split, it has no rows, or they cannot be read.
        """
        batches = [batch for batch in self.scan(split, labels=labels) if len(batch)]
        if not batches:
            where = self.spec if self.single else f"{self.spec}, split {split!r}"
            raise DataError(f"{where}: there are no rows")
        return pa.Table.from_batches(batches)


def wanted_columns(
    where: object, config: DataConfig, labels: bool, existing: Sequence[str]
) -> list[str]:
    """Return the columns to read: those of the text and, if labels are wanted, what goes with it.

    >>> named = DataConfig(text_columns=("title", "body"), weight_column="votes")
    >>> wanted_columns("a.csv", named, True, ["body", "label", "title", "votes"])
    ['title', 'body', 'label', 'votes']

    Raises:
        DataError: the rows have no column of that name, or several; the message lists them.
    """
    with_label = [config.label_column]
    if config.weight_column is not None:
        with_label.append(config.weight_column)
    wanted = [*config.text_columns, *(with_label if labels else [])]
    for name in wanted:
        if name not in existing:
            hint = did_you_mean(name, existing)
            by = "--text-column and --label-column"
            by = "data.weight_column" if name == config.weight_column else by
            raise DataError(
                f"{where}: there is no column {name!r}{hint or ';'} the columns are "
                f"{', '.join(map(repr, existing))} (choose with {by})"
            )
        if list(existing).count(name) > 1:
            raise DataError(f"{where}: there are several columns {name!r}; rename all but one")
    return wanted


def to_examples(
    batch: pa.RecordBatch | pa.Table,
    config: DataConfig,
    *,
    labels: bool,
    row_name: Callable[[int], str],
    label_names: Sequence[str] | None = None,
) -> pa.RecordBatch:
    """Make ``text`` and ``label`` of a batch of raw columns.

    Args:
        batch: has the text columns and, if wanted, the label column.
        config: which columns they are, and what to do with missing texts.
        labels: whether the label is wanted, and with it the weight if there is a column for it.
        row_name: says where row ``i`` of the batch is, for errors (``file:line``).
        label_names: names of integer labels.

    Raises:
        DataError: a missing value, or a column that is not text, not a label or not a weight.
    """
    texts = [_text_column(batch, name, config, row_name) for name in config.text_columns]
    joined = texts[0]
    if len(texts) > 1:
        joined = pc.utf8_trim_whitespace(pc.binary_join_element_wise(*texts, SPACE))
    if not labels:
        return pa.record_batch({"text": joined})
    columns = {"text": joined, "label": _label_column(batch, config, row_name, label_names)}
    if config.weight_column is not None:
        columns["weight"] = _weight_column(batch, config.weight_column, row_name)
    return pa.record_batch(columns)


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(column, pa.ChunkedArray):  # more than one chunk can hold
        raise DataError("a batch of texts is larger than 2 GB; use smaller row groups")
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _is_string(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _text_column(
    batch: pa.RecordBatch | pa.Table,
    name: str,
    config: DataConfig,
    row_name: Callable[[int], str],
) -> pa.StringArray:
    column = _flat(batch.column(name))
    if not (_is_string(column.type) or pa.types.is_null(column.type)):
        raise DataError(f"{row_name(0)}: column {name!r} holds {column.type}, not text")
    column = column.cast(pa.string())
    if column.null_count:
        if config.errors == "strict":
            missing = pc.index(column.is_null(), True).as_py()
            raise DataError(
                f"{row_name(missing)}: column {name!r} has no value; "
                "fill it in, or pass --errors replace to read an empty text"
            )
        column = column.fill_null(EMPTY)
    return column


def _joined_lists(
    column: pa.ListArray, separator: str, name: str, row_name: Callable[[int], str]
) -> pa.StringArray:
    """Put the labels of each list into one cell."""
    kind = column.type.value_type
    if not (_is_string(kind) or pa.types.is_integer(kind)):
        raise DataError(f"{row_name(0)}: column {name!r} holds {column.type}, not labels")
    lists = column.cast(pa.list_(pa.string()))
    inside = pc.match_substring(lists.flatten(), separator)
    if pc.any(inside).as_py():
        first = int(pc.list_parent_indices(lists)[pc.index(inside, True).as_py()].as_py())
        raise DataError(
            f"{row_name(first)}: a label in column {name!r} has {separator!r} in it; set "
            "data.label_separator to what no label has"
        )
    return pc.binary_join(lists, separator)


def _label_column(
    batch: pa.RecordBatch | pa.Table,
    config: DataConfig,
    row_name: Callable[[int], str],
    label_names: Sequence[str] | None,
) -> pa.StringArray:
    name = config.label_column
    column = _flat(batch.column(name))
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        if config.label_separator is None:
            raise DataError(
                f"{row_name(0)}: column {name!r} holds lists; a row must have exactly one label"
                f"{SEVERAL}"
            )
        column = _joined_lists(column, config.label_separator, name, row_name)
    elif config.soft_labels and (pa.types.is_struct(column.type) or pa.types.is_map(column.type)):
        column = _joined_shares(column, config, row_name)
    number = pa.types.is_integer(column.type)
    if not (number or _is_string(column.type) or pa.types.is_boolean(column.type)):
        raise DataError(f"{row_name(0)}: column {name!r} holds {column.type}, not labels")
    missing = pc.equal(column.cast(pa.string()).fill_null(EMPTY), EMPTY)
    if pc.any(missing).as_py():
        first = pc.index(missing, True).as_py()
        raise DataError(f"{row_name(first)}: column {name!r} has no label")
    if number and label_names:
        outside = pc.or_(pc.less(column, 0), pc.greater_equal(column, len(label_names)))
        if pc.any(outside).as_py():
            first = pc.index(outside, True).as_py()
            raise DataError(
                f"{row_name(first)}: label {column[first]} has no name; "
                f"the names go from 0 to {len(label_names) - 1}"
            )
        return pc.take(string_array(label_names), column)
    return checked_shares(column.cast(pa.string()), config, row_name)


def _joined_shares(
    column: pa.Array, config: DataConfig, row_name: Callable[[int], str]
) -> pa.StringArray:
    """Put the shares of each dict into one cell."""
    separator, cells = config.label_separator, []
    assert separator is not None
    for row, shares in enumerate(column.to_pylist()):
        try:
            cells.append(format_soft_labels(dict(shares or {}), separator))
        except DataError as error:
            raise DataError(f"{row_name(row)}: column {config.label_column!r}: {error}") from None
    return string_array(cells)


def checked_shares(
    labels: pa.StringArray, config: DataConfig, row_name: Callable[[int], str]
) -> pa.StringArray:
    """Return label cells as they are, where ``data.soft_labels`` is set after a look at each.

    Raises:
        DataError: a cell's shares are no distribution.
    """
    if not config.soft_labels:
        return labels
    assert config.label_separator is not None
    for cell in labels.dictionary_encode().dictionary.to_pylist():
        try:
            parse_soft_labels(cell, config.label_separator)
        except DataError as error:
            first = labels.to_pylist().index(cell)
            raise DataError(f"{row_name(first)}: {error}") from None
    return labels


def _weight_column(
    batch: pa.RecordBatch | pa.Table, name: str, row_name: Callable[[int], str]
) -> pa.Array:
    column = _flat(batch.column(name))
    if _is_string(column.type):
        column = pc.utf8_trim_whitespace(column.cast(pa.string()))
        column = pc.if_else(pc.equal(column, EMPTY), pa.scalar(None, pa.string()), column)
        try:
            column = column.cast(pa.float64())
        except pa.ArrowInvalid:
            column = pa.array(
                [_figure(cell, name, row_name(row)) for row, cell in enumerate(column.to_pylist())],
                pa.float64(),
            )
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise DataError(f"{row_name(0)}: column {name!r} holds {column.type}, not weights")
    return checked_weights(column, f"column {name!r}", row_name)


def _figure(cell: str | None, name: str, where: str) -> float | None:
    try:
        return None if cell is None else float(cell)
    except ValueError:
        raise DataError(f"{where}: column {name!r} has {cell!r}, which is no number") from None


def checked_weights(column: pa.Array, what: str, row_name: Callable[[int], str]) -> pa.Array:
    """Return weights as 32-bit floats.

    Raises:
        DataError: one is missing, negative or not finite.
    """
    if column.null_count:
        missing = pc.index(column.is_null(), True).as_py()
        raise DataError(f"{row_name(missing)}: {what} has no weight")
    given = to_numpy(column)
    with np.errstate(over="ignore"):
        weights = given.astype(np.float32)
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"{row_name(first)}: {what} has the weight {given[first]:g}; "
            "a weight is a finite number of 0 or more"
        )
    return to_arrow(weights)

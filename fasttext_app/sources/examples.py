"""The one form that every source delivers: record batches of ``text`` and, if asked, ``label``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from fasttext_app.config import DataConfig
from fasttext_app.errors import DataError, did_you_mean
from fasttext_app.text.strings import string_array

__all__ = ["SEVERAL", "SPLIT_NAMES", "Batches", "Scan", "Source", "check_columns", "to_examples"]

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


def check_columns(where: object, wanted: Sequence[str], existing: Sequence[str]) -> None:
    """Refuse columns that do not exist, naming those that do."""
    for name in wanted:
        if name not in existing:
            hint = did_you_mean(name, existing)
            raise DataError(
                f"{where}: there is no column {name!r}{hint or ';'} the columns are "
                f"{', '.join(map(repr, existing))} (choose with --text-column and --label-column)"
            )
        if list(existing).count(name) > 1:
            raise DataError(f"{where}: there are several columns {name!r}; rename all but one")


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
        labels: whether the label is wanted.
        row_name: says where row ``i`` of the batch is, for errors (``file:line``).
        label_names: names of integer labels.

    Raises:
        DataError: a missing value, or a column that is not text or not a label.
    """
    texts = [_text_column(batch, name, config, row_name) for name in config.text_columns]
    joined = texts[0]
    if len(texts) > 1:
        joined = pc.utf8_trim_whitespace(pc.binary_join_element_wise(*texts, SPACE))
    if not labels:
        return pa.record_batch({"text": joined})
    label = _label_column(batch, config, row_name, label_names)
    return pa.record_batch({"text": joined, "label": label})


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
        return pc.take(pa.array(label_names, pa.string()), column)
    return column.cast(pa.string())


def labelled_table(job: str, texts: Sequence[str], labels: Sequence[str] | None) -> pa.Table:
    """Make a table of ``text`` and ``label`` out of what was given in Python.

    Raises:
        DataError: there is not one label for each text, or they are not strings.
    """
    if labels is None or len(labels) != len(texts):
        raise DataError(f"{job}: there must be one label for each text")
    try:
        columns = {"text": pa.array(texts, pa.string()), "label": pa.array(labels, pa.string())}
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:
        raise DataError(f"{job}: texts and labels must be strings: {error}") from None
    if any(column.null_count for column in columns.values()):
        raise DataError(f"{job}: a text or a label is None")
    return pa.table(columns)


def refuse_labels(job: str, spec: object, labels: Sequence[str] | None) -> None:
    """Refuse labels beside a data SPEC, which has its own."""
    if labels is not None:
        raise DataError(f"{job}: labels go with texts; {spec} has its own")

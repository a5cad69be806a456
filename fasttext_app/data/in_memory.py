"""Rows that are passed as Python objects: texts with their labels, or a table with both.

Once they are Arrow columns, they are read like the columns of a file (``columns.py``), so a caller
may pass whatever texts, labels and weights a file may have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from fasttext_app.config.auto import SEPARATORS
from fasttext_app.config.loading import Layer, resolve
from fasttext_app.config.schema import Config, DataConfig
from fasttext_app.core import arguments
from fasttext_app.core.arrow import to_numpy
from fasttext_app.core.objects import (
    ObjectTable,
    arrow_column,
    as_column,
    as_list,
    as_table,
    is_missing,
)
from fasttext_app.data.columns import numbered_rows, required_columns, to_examples
from fasttext_app.data.source import Batches, Source
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.text.chunks import text_column

IN_MEMORY = "texts given in Python"
"""The SPEC of rows that were passed as Python objects."""

BATCH_ROWS = 65_536
OPTIONS = "text= and label="  # that choose columns

OneLabel: TypeAlias = str | bytes | int | float
LabelColumn: TypeAlias = Iterable[OneLabel | Sequence[OneLabel] | Mapping[Any, float]]
"""The label of each text, or a list of labels, or a dict of the probabilities of labels."""


@dataclass(frozen=True)
class ObjectRows:
    """Rows that are passed as Python objects.

    Attributes:
        job: the name of the caller, for messages.
        table: the table that was passed, or one of the columns that were.
        columns: the settings that name the columns of texts, labels and weights, if these were
            passed one by one.
    """

    job: str
    table: ObjectTable
    columns: Mapping[str, Any] | None = None

    @classmethod
    def open(
        cls,
        job: str,
        data: Any,
        labels: LabelColumn | None = None,
        weights: Iterable[float] | None = None,
        *,
        config: DataConfig,
    ) -> ObjectRows:
        """Read texts, labels and weights, or recognize a table.

        Args:
            job: the name of the caller, for messages.
            data: texts, or a table.
            labels: the label of each text; None: a column of the table.
            weights: the weight of each text.
            config: the text columns of a table, and what to do with bad bytes.

        Raises:
            DataError: they are not columns of texts, labels and weights of one length.
        """
        table = as_table(data)
        if table is not None and labels is None and weights is None:
            return cls(job, table)
        if table is not None:
            texts = table_texts(table, config, job)
        else:
            texts = text_column(data, job, config.errors)
        if labels is None:
            raise DataError(
                f"{job}: the texts have no labels; pass one label for each text, or several files "
                "as source=[...]"
            )
        given = {"text": texts, "label": _label_column(labels, f"{job}, labels")}
        columns: dict[str, Any] = {
            "text_columns": ("text",),
            "label_column": "label",
            "label_columns": (),
        }
        if weights is not None:
            given["weight"] = as_column(weights, f"{job}, weights")
            columns["weight_column"] = "weight"
        for name, column in given.items():
            if len(column) != len(texts):
                raise DataError(
                    f"{job}: got {len(column):,} {name}s for {len(texts):,} texts; "
                    f"pass one {name} for each text"
                )
        table = as_table(pa.table(given))
        assert table is not None
        return cls(job, table, columns)

    def settings(self, config: DataConfig) -> Layer:
        """Return the settings that follow from labels that are lists or dicts."""
        column = "label" if self.columns else config.label_column
        if self.table.streamed or column not in self.table.names or config.label_columns:
            return {}
        labels = self.table.read([column]).column(0)
        names = _labels_in_cells(labels)
        if names is None:
            return {}
        default, other = SEPARATORS
        contains_default = any(default in name for name in names if isinstance(name, str))
        settings: dict[str, Any] = {"label_separator": other if contains_default else default}
        if pa.types.is_map(labels.type) or pa.types.is_struct(labels.type):
            settings["soft_labels"] = True
        elif any((to_numpy(chunk.value_lengths()) != 1).any() for chunk in labels.chunks):
            return {"data": settings, "model": {"loss": "ova"}}
        return {"data": settings}

    def source(self, config: DataConfig, *, weights: bool = False) -> Source:
        """Return the rows as a source of one split.

        Args:
            config: the columns, and how to read them.
            weights: whether to read the column of weights, which only training rows need to have.

        Raises:
            ConfigError: a column of weights is named, and there is no table.
            DataError: there are no rows, or a column is missing.
        """
        if not weights:
            config = config.model_copy(update={"weight_column": None})
        elif self.columns is not None and config.weight_column is not None:
            raise ConfigError("data.weight_column: texts have no columns; pass weights=[...]")
        if self.columns is not None:
            config = config.model_copy(update=dict(self.columns))
        table = _read(self.table, config, self.job, with_labels=True)
        if not len(table):
            raise DataError(f"{self.job}: there are no texts")
        label_names = config.label_columns or self.table.class_names.get(config.label_column)

        def scan(with_labels: bool) -> Batches:
            rows = 0
            for batch in table.to_batches(BATCH_ROWS):
                locate = numbered_rows(self.job, rows)
                yield to_examples(
                    batch, config, locate, with_labels=with_labels, label_names=label_names
                )
                rows += len(batch)

        return Source(IN_MEMORY, {"all": scan}, label_names, single=True)

    def columns_of(
        self, config: DataConfig, keep: Sequence[str]
    ) -> tuple[pa.Table, DataConfig, Sequence[str] | None]:
        """Return the texts, with the label columns and others as they are, which may hold nulls.

        Args:
            config: the columns, and how to read them.
            keep: names of other columns.

        Returns:
            The table, the settings that name its columns, and the names of integer labels.

        Raises:
            DataError: there are no rows, or a column is missing.
        """
        if self.columns is not None:
            config = config.model_copy(update=dict(self.columns))
        own = list(config.label_columns) or [config.label_column]
        others = tuple(dict.fromkeys([*own, *keep]))
        config = config.model_copy(update={"keep": others, "weight_column": None})
        table = _read(self.table, config, self.job, with_labels=False)
        if not len(table):
            raise DataError(f"{self.job}: there are no texts")
        locate = numbered_rows(self.job, 0)
        batch = to_examples(table, config, locate, with_labels=False)
        names = config.label_columns or self.table.class_names.get(config.label_column)
        return pa.Table.from_batches([batch]), config, names


def table_texts(table: ObjectTable, config: DataConfig, job: str) -> pa.ChunkedArray:
    """Return the texts of a table, its text columns joined.

    Raises:
        DataError: a column is missing, or does not hold texts.
    """
    columns = _read(table, config, job, with_labels=False)
    parts, rows = [], 0
    for batch in columns.to_batches(BATCH_ROWS):
        examples = to_examples(batch, config, numbered_rows(job, rows), with_labels=False)
        parts.append(examples.column("text"))
        rows += len(batch)
    return pa.chunked_array(parts, pa.string())


def _read(table: ObjectTable, config: DataConfig, job: str, *, with_labels: bool) -> pa.Table:
    """Read the columns that are needed; texts and bytes become strings."""
    names = required_columns(job, config, with_labels, table.names, OPTIONS)
    columns = table.read(list(dict.fromkeys(names)))
    for index, name in enumerate(columns.column_names):
        column = arrow_column(columns.column(index))
        assert column is not None
        if name in config.text_columns or _is_binary(column.type):
            column = text_column(column, f"{job}, column {name!r}", config.errors)
        columns = columns.set_column(index, name, column)
    return columns


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _label_column(labels: LabelColumn, where: str) -> pa.Array | pa.ChunkedArray:
    """Return labels as a column: of lists if one is a list, of maps if one is a dict."""
    table = as_table(labels)
    if table is not None:
        if len(table.names) != 1:
            raise DataError(f"{where}: got {arguments.describe(labels)}; pass one of its columns")
        labels = table.read(table.names).column(0)
    column = arrow_column(labels)
    if column is not None:
        return text_column(column, where) if _is_binary(column.type) else column
    items = as_list(labels, where)
    if any(isinstance(item, Mapping) for item in items):
        pairs = [_pairs(item, f"{where}, row {row}") for row, item in enumerate(items, start=1)]
        return pa.array(pairs, pa.map_(pa.string(), pa.string()))
    if any(isinstance(item, list | tuple | AbstractSet) for item in items):
        items = [
            [item] if isinstance(item, str | bytes | int) and not is_missing(item) else item
            for item in items
        ]
    column = as_column(items, where)
    return column.cast(pa.string()) if pa.types.is_null(column.type) else column


def _labels_in_cells(column: pa.ChunkedArray) -> list[Any] | None:
    """Return the labels in a column of lists, maps or structs; None for any other column."""
    kind = column.type
    if pa.types.is_struct(kind):
        return [field.name for field in kind]
    if pa.types.is_map(kind):
        return [name for chunk in column.chunks for name in chunk.keys.unique().to_pylist()]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [name for chunk in column.chunks for name in chunk.flatten().unique().to_pylist()]
    return None


def _pairs(item: Any, where: str) -> list[tuple[str, str | None]] | None:
    """Return the (label, probability) pairs of a dict; a label alone is certain."""
    if isinstance(item, Mapping):
        return [
            (str(label), None if probability is None else str(probability))
            for label, probability in item.items()
        ]
    if is_missing(item):
        return None
    if isinstance(item, str | int):
        return [(str(item), "1")]
    raise DataError(
        f"{where}: got {arguments.describe(item)} where other rows have a dict; pass a dict"
    )


def column_settings(
    text: str | Sequence[str] | None = None, label: str | Sequence[str] | None = None
) -> dict[str, Any]:
    """Return the settings of the section ``data`` that name these columns.

    >>> column_settings("body", "topic")
    {'text_columns': ['body'], 'label_column': 'topic', 'label_columns': ()}
    >>> column_settings(label=["toxic", "insult"])
    {'label_columns': ['toxic', 'insult']}
    """
    settings: dict[str, Any] = {}
    if text is not None:
        settings["text_columns"] = arguments.columns("text", text)
    if label is not None:
        columns = arguments.columns("label", label)
        if len(columns) == 1:
            settings |= {"label_column": columns[0], "label_columns": ()}
        else:
            settings["label_columns"] = columns
    return settings


def with_data_settings(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return the configuration with other settings of the section ``data``.

    Raises:
        ConfigError: one of them is invalid.
    """
    return resolve(config.model_dump(), {"data": settings}) if settings else config


def refuse_labels(job: str, spec: object, labels: object) -> None:
    """Raise if labels are passed along with a data SPEC, which has its own.

    Raises:
        DataError: they are.
    """
    if labels is not None:
        raise DataError(f"{job}: labels can only be passed with texts; {spec} has its own")

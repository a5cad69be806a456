"""Texts, labels and weights passed as Python objects, as a table like that of any source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import pyarrow as pa

from fasttext_app.config.schema import DataConfig
from fasttext_app.data.columns import checked_weights
from fasttext_app.data.soft_labels import format_soft_labels
from fasttext_app.errors import DataError

IN_MEMORY = "texts given in Python"
"""The SPEC of rows that were passed as Python objects."""

LabelColumn: TypeAlias = Sequence[str | Mapping[str, float]]
"""A label cell for each text, or a dict of label probabilities."""


def labeled_table(
    job: str,
    texts: Sequence[str],
    labels: LabelColumn | None,
    config: DataConfig,
    weights: Sequence[float] | None = None,
) -> pa.Table:
    """Build a table of ``text`` and ``label``, and of ``weight`` if there are weights.

    Args:
        job: the name of the caller, for messages.
        texts: [B].
        labels: [B]; dicts only with ``data.soft_labels``.
        config: the settings for label cells.
        weights: [B], 0 or more.

    Raises:
        DataError: the lengths differ, a text or label has the wrong type or is missing, or a weight
            is negative or not finite.
    """
    if labels is None or len(labels) != len(texts):
        raise DataError(f"{job}: there must be one label for each text")
    separator = config.label_separator
    try:
        if config.soft_labels and separator is not None:
            labels = [
                format_soft_labels(label, separator) if isinstance(label, Mapping) else label
                for label in labels
            ]
        columns = {"text": pa.array(texts, pa.string()), "label": pa.array(labels, pa.string())}
    except DataError as error:
        raise DataError(f"{job}: {error}") from None
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:
        raise DataError(f"{job}: texts and labels must be strings: {error}") from None
    if any(column.null_count for column in columns.values()):
        raise DataError(f"{job}: a text or a label is None")
    if weights is not None:
        columns["weight"] = _weights(job, weights, len(texts))
    return pa.table(columns)


def _weights(job: str, weights: Sequence[float], rows: int) -> pa.Array:
    if len(weights) != rows:
        raise DataError(f"{job}: there are {len(weights)} weights for {rows} texts")
    try:
        column = pa.array(weights, pa.float64())
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"{job}: weights must be numbers: {error}") from None
    return checked_weights(column, "weights", lambda row: f"{job}, text {row + 1}")


def refuse_labels(job: str, spec: object, labels: object) -> None:
    """Raise if labels are passed along with a data SPEC, which has its own.

    Raises:
        DataError: they are.
    """
    if labels is not None:
        raise DataError(f"{job}: labels can only be passed with texts; {spec} has its own")

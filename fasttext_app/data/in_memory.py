"""Texts, labels and weights that are given in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from fasttext_app.config.schema import DataConfig
from fasttext_app.data.soft_labels import soft_cell
from fasttext_app.data.source import checked_weights
from fasttext_app.errors import DataError

GIVEN = "texts given in Python"
"""The SPEC of rows that come from no source."""

Labels = Sequence[str | Mapping[str, float]] | None
"""One cell for each text; a dict of shares where labels have them."""


def labeled_table(
    job: str,
    texts: Sequence[str],
    labels: Labels,
    config: DataConfig,
    weights: Sequence[float] | None = None,
) -> pa.Table:
    """Make a table of ``text`` and ``label`` out of what was given, and of ``weight`` if it was.

    Raises:
        DataError: there is not one label for each text, or they are not strings, nor dicts where
            labels have shares; or there is not one weight for each, of 0 or more.
    """
    if labels is None or len(labels) != len(texts):
        raise DataError(f"{job}: there must be one label for each text")
    try:
        if config.soft_labels and config.label_separator is not None:
            parts = config.label_separator
            labels = [soft_cell(x, parts) if isinstance(x, Mapping) else x for x in labels]
    except ValueError as error:
        raise DataError(f"{job}: {error}") from None
    try:
        columns = {"text": pa.array(texts, pa.string()), "label": pa.array(labels, pa.string())}
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
    """Refuse labels beside a data SPEC, which has its own."""
    if labels is not None:
        raise DataError(f"{job}: labels go with texts; {spec} has its own")

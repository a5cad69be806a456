"""The rows of a run: where they come from, which are held out, and how much each counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import I64, Bool
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.in_memory import GIVEN
from fasttext_app.data.source import Source
from fasttext_app.data.spec import open_source
from fasttext_app.errors import DataError

AUTO_FRACTION = 0.1

Rows: TypeAlias = pa.Table | Iterable[pa.RecordBatch]
"""Columns ``text`` and ``label``, and ``weight`` where rows have one; a stream is read once."""


@dataclass(frozen=True)
class Examples:
    """The rows of a run."""

    train: Rows
    validation: Rows | None = None
    label_order: Sequence[str] | None = None
    source: str = GIVEN
    held_out: float = 0.0
    """The fraction of the training rows that becomes validation rows."""
    min_label_count: int = 1
    """Where rows may have several labels, those seen less often are left out."""
    skip_unlabeled: bool = False
    """Whether rows without a label are passed over, once their words are counted, as in fastText;
    else they are an error."""


def load_examples(config: Config) -> Examples:
    """Open the training rows that a configuration names, and its validation rows.

    Raises:
        DataError: there is no such source or split.
    """
    source = training = open_source(config.data)
    if config.data.weight_column is not None:
        training = open_source(config.data, weights=True)
    return split_examples(training.scan(config.data.train_split), source, config)


def split_examples(rows: Rows, source: Source, config: Config) -> Examples:
    """Say where validation rows come from, as ``data.validation`` has it."""
    wanted = config.data.validation
    if wanted == "auto":
        wanted = "validation" if source.has("validation") else AUTO_FRACTION
    if not isinstance(wanted, str):
        return Examples(rows, None, source.label_names, source.spec, wanted)
    if source.single:
        raise DataError(
            f"data.validation: {source.spec}: there are no splits, and so no {wanted!r}; "
            "give a fraction"
        )
    return Examples(rows, source.scan(wanted), source.label_names, source.spec)


def held_out_rows(classes: I64, fraction: float, seed: int, sets: Ragged | None = None) -> Bool:
    """Choose rows at random for validation, [rows].

    A label whose rows would all be held out keeps one of them in training.

    Args:
        classes: the class of each row; where there are ``sets``, the number of one.
        fraction: of the rows.
        seed: decides which.
        sets: the classes of each set.
    """
    chosen = np.zeros(len(classes), dtype=bool)
    held = round(len(classes) * fraction)
    if held:
        chosen[np.random.default_rng(seed).permutation(len(classes))[:held]] = True
        rows = np.arange(len(classes))
        if sets is not None:
            rows = np.repeat(rows, sets.lengths[classes])
            classes = sets.take(classes).indices
        found, first = np.unique(classes, return_index=True)
        chosen[rows[first[~np.isin(found, classes[~chosen[rows]])]]] = False
    return chosen

"""The rows of a run: training rows, and the validation rows beside or among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from glob import has_magic
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import I64, Bool
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.bad_rows import BadRows
from fasttext_app.data.in_memory import IN_MEMORY
from fasttext_app.data.source import Part, Source
from fasttext_app.data.spec import open_source
from fasttext_app.errors import DataError

AUTO_FRACTION = 0.1

Rows: TypeAlias = pa.Table | Iterable[pa.RecordBatch]
"""Columns ``text`` and ``label``, and ``weight`` if rows have one; a stream is read only once."""


@dataclass(frozen=True)
class Examples:
    """The rows of a run.

    Attributes:
        train: the training rows.
        validation: validation rows from a split of their own.
        label_order: the class names of the data, if it has any.
        source: the SPEC, for messages and for the record of the run.
        validation_fraction: the fraction of the training rows to hold out for validation.
        min_label_count: rarer labels are dropped where rows can have several.
        skip_unlabeled: whether rows without a label only count towards the vocabulary, as in
            fastText; otherwise they are an error.
        bad_rows: counts the rows that are skipped, as they are read.
        one_label: whether rows that all have the same label can be trained on, as in fastText.
        parts: the files of the training rows, for processes that read some of them each.
        validation_parts: the files of the validation rows from a split of their own.
    """

    train: Rows
    validation: Rows | None = None
    label_order: Sequence[str] | None = None
    source: str = IN_MEMORY
    validation_fraction: float = 0.0
    min_label_count: int = 1
    skip_unlabeled: bool = False
    one_label: bool = False
    bad_rows: BadRows = field(default_factory=BadRows)
    parts: Sequence[Part] = ()
    validation_parts: Sequence[Part] = ()


def load_examples(config: Config) -> Examples:
    """Open the training and validation rows that a configuration names.

    Raises:
        DataError: there is no such source or split.
    """
    bad_rows = BadRows()
    source = training = open_source(config.data, bad_rows=bad_rows)
    if config.data.weight_column is not None:
        training = open_source(config.data, weights=True, bad_rows=bad_rows)
    rows = training.scan(config.data.train_split)
    examples = split_examples(rows, source, config, bad_rows)
    if config.trainer.shard == "none":
        return examples
    return replace(examples, parts=training.parts(config.data.train_split))


def split_examples(
    rows: Rows, source: Source, config: Config, bad_rows: BadRows | None = None
) -> Examples:
    """Add the validation rows that ``data.validation`` asks for to these training rows.

    Args:
        rows: the training rows.
        source: where they are from, with the other splits.
        config: the settings.
        bad_rows: counts the rows of the source that are skipped.

    Raises:
        DataError: there is no such split or file.
    """
    bad_rows = bad_rows or BadRows()
    validation = config.data.validation
    if validation == "auto":
        validation = "validation" if source.has("validation") else AUTO_FRACTION
    if not isinstance(validation, str):
        return Examples(rows, None, source.label_names, source.spec, validation, bad_rows=bad_rows)
    held_out, split = source, validation
    if not source.has(validation):
        held_out, split = _validation_source(validation, source, config, bad_rows), "validation"
    return Examples(
        rows,
        held_out.scan(split),
        source.label_names,
        source.spec,
        bad_rows=bad_rows,
        validation_parts=held_out.parts(split) if config.trainer.shard != "none" else (),
    )


def _validation_source(spec: str, source: Source, config: Config, bad_rows: BadRows) -> Source:
    """Open a SPEC that is no split of the source."""
    if not (Path(spec).exists() or has_magic(spec)):
        if not source.single:
            source.scan(spec)  # raises, and suggests a split
        raise DataError(
            f"data.validation: {spec}: no such file, and {source.spec} has no splits; "
            "name a file, or give a fraction"
        )
    return open_source(config.data.model_copy(update={"source": spec}), bad_rows=bad_rows)


def choose_validation_rows(
    targets: I64, fraction: float, seed: int, label_sets: Ragged | None = None
) -> Bool:
    """Return a mask of rows chosen at random for validation, [rows].

    The choice is stratified: of each class, the same fraction is held out. Every class with two
    rows or more has a row on both sides, and every label keeps at least one row in training. A row
    with several labels belongs to the rarest of them.

    Args:
        targets: the class id of each row, or with ``label_sets`` the id of its set.
        fraction: the fraction of the rows to choose.
        seed: the seed of the choice.
        label_sets: the class ids of each set.

    >>> classes = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])
    >>> np.flatnonzero(choose_validation_rows(classes, 0.2, seed=0)).tolist()
    [4, 6]
    """
    validation_mask = np.zeros(len(targets), dtype=bool)
    count = round(len(targets) * fraction)
    if not count:
        return validation_mask
    strata = targets if label_sets is None else _rarest_class(targets, label_sets)
    _, strata, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    # Largest remainder: round down, then give the rest to the classes that lost the most.
    quotas = sizes * (count / len(targets))
    held_out = quotas.astype(np.int64)
    losers = np.argsort(held_out - quotas, kind="stable")
    held_out[losers[: count - held_out.sum()]] += 1
    held_out = np.minimum(np.maximum(held_out, 1), sizes - 1)

    order = np.random.default_rng(seed).permutation(len(targets))
    order = order[np.argsort(strata[order], kind="stable")]  # class by class, in random order
    starts = np.cumsum(sizes) - sizes
    rank_in_class = np.arange(len(targets)) - np.repeat(starts, sizes)
    validation_mask[order] = rank_in_class < np.repeat(held_out, sizes)
    if label_sets is not None:
        _keep_every_label(validation_mask, targets, label_sets)
    return validation_mask


def _rarest_class(targets: I64, label_sets: Ragged) -> I64:
    """Return the rarest class of each row, [rows]; -1 if it has none."""
    sets = label_sets.take(targets)
    counts = np.bincount(sets.indices, minlength=1)
    rarest = np.full(len(targets), -1)
    rows = np.repeat(np.arange(len(targets)), sets.lengths)
    order = np.argsort(-counts[sets.indices], kind="stable")
    rarest[rows[order]] = sets.indices[order]  # the last one written is the rarest
    return rarest


def _keep_every_label(validation_mask: Bool, targets: I64, label_sets: Ragged) -> None:
    """Move a row back to training for each label that has none there."""
    sets = label_sets.take(targets)
    rows, class_ids = np.repeat(np.arange(len(targets)), sets.lengths), sets.indices
    classes, first = np.unique(class_ids, return_index=True)
    trained = np.isin(classes, class_ids[~validation_mask[rows]])
    validation_mask[rows[first[~trained]]] = False

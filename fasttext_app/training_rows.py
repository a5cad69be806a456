"""The rows of a run: where they come from, which are held out, and how much each counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttext_app.config import Config
from fasttext_app.errors import ConfigError, DataError, TrainingError, did_you_mean
from fasttext_app.sources import Source, open_source
from fasttext_app.sources.given import GIVEN
from fasttext_app.text.ragged import Ragged
from fasttext_app.text.row_labels import RowLabels
from fasttext_app.text.soft_labels import LabelShares

__all__ = ["Examples", "Rows", "held_out_rows", "load_examples", "split_examples", "text_weights"]

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

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
    skip_unlabelled: bool = False
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


def held_out_rows(
    classes: npt.NDArray[np.int64], fraction: float, seed: int, sets: Ragged | None = None
) -> Flags:
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


def text_weights(
    numbers: npt.NDArray[np.int64],
    train: Flags,
    labels: RowLabels,
    class_weights: str | Mapping[str, float],
    given: Sequence[F32] = (),
) -> F32 | None:
    """Return how much each row counts in the loss, [rows]; None: all the same.

    It is the row's own weight times that of its class. A row of several labels has the mean of
    their weights, by their shares where it has shares. All is scaled so that the training rows
    weigh 1 on average, so that the learning rate keeps its meaning. Then the mean loss over the
    rows is what it would be if each row were there as many times as it weighs.

    Args:
        numbers: the class of each row, or the number of its set of classes.
        train: which of them are training rows.
        labels: what the numbers mean.
        class_weights: as ``trainer.class_weights`` has it.
        given: the rows' own weights, part by part; none: they have none.

    Raises:
        ConfigError: ``class_weights`` names a label that there is not.
        TrainingError: no training row weighs anything.
    """
    if not given and class_weights == "none":
        return None
    weights = np.concatenate(given) if given else np.ones(len(numbers), np.float32)
    if class_weights != "none":
        names, sets = labels.names.names, labels.sets
        if isinstance(class_weights, Mapping):
            by_class = _named(class_weights, names)
        else:
            by_class = _balanced(numbers[train], weights[train], len(names), sets)
        by_number = (by_class if sets is None else _means(by_class, sets)).astype(np.float32)
        weights = weights * by_number[numbers]
    mean = float(weights[train].mean(dtype=np.float64))
    if mean == 0:
        raise TrainingError(
            "every training row has the weight 0; see data.weight_column and trainer.class_weights"
        )
    return weights / np.float32(mean)


def _named(class_weights: Mapping[str, float], names: tuple[str, ...]) -> F64:
    for label in class_weights:
        if label not in names:
            hint = did_you_mean(label, names) or f"; they are {', '.join(map(repr, names[:10]))}"
            raise ConfigError(f"trainer.class_weights: no row has the label {label!r}{hint}")
    return np.array([class_weights.get(name, 1.0) for name in names])


def _balanced(
    numbers: npt.NDArray[np.int64], weights: F32, classes: int, sets: Ragged | None
) -> F64:
    """Return n / (classes x rows of the class), as scikit-learn has it; weights count as rows."""
    totals = np.bincount(numbers, weights, classes if sets is None else len(sets))
    if sets is not None:
        rows = np.repeat(np.arange(len(sets)), sets.lengths)
        totals = np.bincount(sets.indices, totals[rows] * _shares(sets), classes)
    there = totals > 0
    by_class = np.ones(classes)
    by_class[there] = totals.sum() / (there.sum() * totals[there])
    return by_class


def _means(by_class: F64, sets: Ragged) -> F64:
    """Return the weight of each set, [S]; one without a class weighs 1."""
    rows, shares = np.repeat(np.arange(len(sets)), sets.lengths), _shares(sets)
    summed = np.bincount(rows, by_class[sets.indices] * shares, len(sets))
    totals = np.bincount(rows, shares, len(sets))
    return np.where(totals > 0, summed / np.maximum(totals, 1e-30), 1.0)


def _shares(sets: Ragged) -> F64:
    shares = sets.shares if isinstance(sets, LabelShares) else np.ones(len(sets.indices))
    return shares.astype(np.float64)

"""How much each training text counts in the loss: weights of classes and of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fasttext_app.core.arrays import F32, F64, I64, Bool
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.labels import RowLabels
from fasttext_app.data.soft_labels import LabelShares
from fasttext_app.errors import ConfigError, TrainingError, did_you_mean


def text_weights(
    numbers: I64,
    train: Bool,
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


def _balanced(numbers: I64, weights: F32, classes: int, sets: Ragged | None) -> F64:
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

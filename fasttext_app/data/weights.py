"""The weight of each training text in the loss, from class weights and row weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fasttext_app.core.arrays import F32, F64, I64, Bool
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.labels import LabelEncoder, find_label
from fasttext_app.data.soft_labels import SoftLabels
from fasttext_app.errors import TrainingError


def text_weights(
    targets: I64,
    train_mask: Bool,
    encoder: LabelEncoder,
    class_weights: str | Mapping[str, float],
    row_weights: Sequence[F32] = (),
) -> F32 | None:
    """Return the weight of each row in the loss, [rows]; None if all weigh the same.

    The weight of a row is its own weight times that of its class. A row with several labels takes
    the mean of their weights, or with soft labels the mean by probability. Weights are scaled to a
    mean of 1 over the training rows, so that the learning rate keeps its meaning: the mean loss is
    then the same as on a dataset in which each row is repeated by its weight.

    Args:
        targets: the class id of each row, or the id of its label set.
        train_mask: the training rows among them.
        encoder: the encoder that made the targets.
        class_weights: the setting ``trainer.class_weights``.
        row_weights: the weights of the rows themselves, in any number of parts; empty: all 1.

    Raises:
        ConfigError: ``class_weights`` names an unknown label.
        TrainingError: every training row has the weight 0.
    """
    if not row_weights and class_weights == "none":
        return None
    weights = np.concatenate(row_weights) if row_weights else np.ones(len(targets), np.float32)
    if class_weights != "none":
        names, label_sets = encoder.labels.names, encoder.label_sets
        if isinstance(class_weights, Mapping):
            by_class = _by_name(class_weights, names)
        else:
            by_class = _balanced(targets[train_mask], weights[train_mask], len(names), label_sets)
        by_target = by_class if label_sets is None else _set_means(by_class, label_sets)
        weights = weights * by_target.astype(np.float32)[targets]
    mean = float(weights[train_mask].mean(dtype=np.float64))
    if mean == 0:
        raise TrainingError(
            "every training row has the weight 0; check data.weight_column and "
            "trainer.class_weights"
        )
    return weights / np.float32(mean)


def _by_name(class_weights: Mapping[str, float], names: tuple[str, ...]) -> F64:
    for label in class_weights:
        find_label(label, names, "trainer.class_weights")
    return np.array([class_weights.get(name, 1.0) for name in names])


def _balanced(targets: I64, weights: F32, classes: int, label_sets: Ragged | None) -> F64:
    """Return n / (classes * rows of the class), as scikit-learn does, with weights for rows."""
    totals = np.bincount(targets, weights, classes if label_sets is None else len(label_sets))
    if label_sets is not None:
        set_of = np.repeat(np.arange(len(label_sets)), label_sets.lengths)
        totals = np.bincount(
            label_sets.indices, totals[set_of] * _probabilities(label_sets), classes
        )
    present = totals > 0
    by_class = np.ones(classes)
    by_class[present] = totals.sum() / (present.sum() * totals[present])
    return by_class


def _set_means(by_class: F64, label_sets: Ragged) -> F64:
    """Return the mean class weight of each label set, [sets]; 1 for the empty set."""
    set_of = np.repeat(np.arange(len(label_sets)), label_sets.lengths)
    probabilities = _probabilities(label_sets)
    sums = np.bincount(set_of, by_class[label_sets.indices] * probabilities, len(label_sets))
    totals = np.bincount(set_of, probabilities, len(label_sets))
    return np.where(totals > 0, sums / np.maximum(totals, 1e-30), 1.0)


def _probabilities(label_sets: Ragged) -> F64:
    """Return the probability of each class of each set; 1 where labels are hard."""
    if isinstance(label_sets, SoftLabels):
        return label_sets.probabilities.astype(np.float64)
    return np.ones(len(label_sets.indices))

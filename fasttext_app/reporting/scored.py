"""What a report needs of the rows that a model was scored on.

Shapes: **B** rows, **C** classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import DataConfig
from fasttext_app.core.arrays import F64, I64, Bool
from fasttext_app.core.ragged import Ragged
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.evaluate import ScoredRows, evaluate_batches
from fasttext_app.model.metrics import multi_hot

STEPS = np.linspace(-9.0, 9.0, 181)
"""Thresholds of precision and recall, as the logarithms of odds."""
MAX_CURVES = 5000
"""With more labels, there are no curves of precision and recall."""


@dataclass(frozen=True)
class Scored:
    """A model's answers on B rows."""

    model: TextClassifier
    scores: dict[str, Any]
    """What ``evaluate`` says."""
    names: tuple[str, ...]
    """The labels of the model, then those that only the rows have."""
    true: Ragged
    """The classes of each row, [B]."""
    predicted: Ragged
    """The predicted classes of each row, [B]."""
    best: I64
    """The class with the highest probability, [B]."""
    confidence: F64
    """Its probability, [B]."""
    own: F64
    """The lowest probability of a true class; 0 for a class that the model does not know, [B]."""
    surprise: F64
    """How far the answer is from the labels, 0 to 1, [B]."""
    above: tuple[I64, I64] | None
    """For each class and step, the rows at or above it that have the class, and all, [C, steps]."""

    @cached_property
    def right(self) -> Bool:
        """Whether the answer is exactly the labels, [B]."""
        pairs = zip(self.true.to_lists(), self.predicted.to_lists(), strict=True)
        return np.array([set(true) == set(predicted) for true, predicted in pairs], bool)

    @cached_property
    def index_of(self) -> dict[str, int]:
        """The place of each label in :attr:`names`."""
        return {name: index for index, name in enumerate(self.names)}

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several labels."""
        return "exact_match" in self.scores

    def labels_of(self, classes: Sequence[int]) -> str:
        """Return labels as people read them."""
        return ", ".join(self.names[index] for index in classes) or "no label"


def classes_of(bags: Ragged, row: int) -> list[int]:
    """Return the classes of one row."""
    classes: list[int] = bags.indices[bags.offsets[row] : bags.offsets[row + 1]].tolist()
    return classes


def score(model: TextClassifier, batches: Sequence[pa.RecordBatch], data: DataConfig) -> Scored:
    """Score a model on rows, and keep its answers.

    Raises:
        DataError: there are no rows, or their labels cannot be read.
    """
    classes = len(model.labels)
    parts: list[tuple[Ragged, Ragged, I64, F64, F64, F64]] = []
    shape = (classes, len(STEPS))
    hits, totals = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    with_curves = classes <= MAX_CURVES

    def watch(rows: ScoredRows) -> None:
        flags, proba = multi_hot(rows.true, classes), rows.proba
        best = proba.argmax(axis=1)
        own = np.where(flags, proba, np.inf).min(axis=1)
        unknown = np.zeros(len(proba), bool)
        beyond = rows.true.indices >= classes
        unknown[np.repeat(np.arange(len(proba)), rows.true.lengths)[beyond]] = True
        own = np.where(unknown, 0.0, np.where(np.isinf(own), 1.0, own))
        surprise = np.abs(proba - flags).max(axis=1)
        surprise[unknown] = 1.0
        confidence = proba[np.arange(len(proba)), best]
        parts.append((rows.true, rows.predicted, best, confidence, own, surprise))
        if with_curves:
            _count_steps(proba, flags, hits, totals)

    scores = evaluate_batches(model, batches, None, data, watch)
    true, predicted, *columns = zip(*parts, strict=True)
    best, confidence, own, surprise = map(np.concatenate, columns)
    return Scored(
        model,
        dict(scores),
        tuple(scores["labels"]),
        Ragged.concat(list(true)),
        Ragged.concat(list(predicted)),
        best,
        confidence,
        own,
        surprise,
        (hits, totals) if with_curves else None,
    )


def _count_steps(proba: F64, flags: Bool, hits: I64, totals: I64) -> None:
    """Count the rows at or above each step, for each class."""
    classes, steps = totals.shape
    odds = np.log(np.maximum(proba, 1e-300)) - np.log(np.maximum(1 - proba, 1e-300))
    reached = np.searchsorted(STEPS, odds, side="right") - 1  # the last step at or below
    cells = np.arange(classes) * (steps + 1) + reached + 1
    size = classes * (steps + 1)
    for counts, chosen in ((totals, cells.ravel()), (hits, cells[flags])):
        found = np.bincount(chosen, minlength=size).reshape(classes, steps + 1)
        counts += found[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]

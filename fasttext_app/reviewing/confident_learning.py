"""Confident learning: which labels are likely wrong, by probabilities out of sample.

The rule is that of Northcutt, Jiang and Chuang 2021 ("Confident Learning: Estimating Uncertainty in
Dataset Labels", arXiv:1911.00068): the threshold of a class is the mean probability of that class
over the rows that are labeled with it. A row is counted for the class with the highest probability
among those that reach their threshold; if that is not its label, and more probable than it, its
label is likely wrong. (The paper compares thresholds only; its authors' library cleanlab asks for
both.)

Where a row may have several labels, each label is a question of its own, answered by yes or no.

Shapes: **N** rows, **C** classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fasttext_app.core.arrays import F32, F64, I64, Bool

BLOCK = 1 << 22  # probabilities that are compared at a time


@dataclass(frozen=True)
class Doubts:
    """What probabilities say of the labels of N rows."""

    is_wrong: Bool
    """Whether the label of a row is likely wrong, [N]."""
    margin: F64
    """By how much the probability of the likely class is above that of the label, [N]."""
    likely: I64
    """The class that a row likely has; with several labels, the one to add or to remove, [N]."""


def doubts(proba: F32, given: I64, known: Bool) -> Doubts:
    """Judge rows that have one label each.

    Args:
        proba: the probability of each class, by a model that has not seen the row, [N, C].
        given: the class that each row is labeled with, [N].
        known: whether the model of a row knows its class, [N]; other rows say nothing of how sure
            models are of it.

    >>> proba = np.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1], [0.2, 0.8]], np.float32)
    >>> doubts(proba, np.array([0, 0, 1, 1]), np.full(4, True)).is_wrong.tolist()
    [False, False, True, False]
    """
    rows, classes = proba.shape
    own = proba[np.arange(rows), given].astype(np.float64)
    counts = np.bincount(given[known], minlength=classes)
    thresholds = np.bincount(given[known], own[known], classes) / np.maximum(counts, 1)
    thresholds[counts == 0] = np.inf  # no row says how sure the model is of this class
    likely, margin = given.copy(), np.zeros(rows)
    step = max(BLOCK // classes, 1)
    for start in range(0, rows, step):
        block = slice(start, start + step)
        confident = np.where(proba[block] >= thresholds, proba[block], -1.0)
        best = confident.argmax(axis=1)
        value = confident[np.arange(len(best)), best]
        best = np.where(value > own[block], best, given[block])
        likely[block] = best
        others = proba[block].astype(np.float64)
        others[np.arange(len(best)), given[block]] = -1.0
        top = np.where(best != given[block], value, others.max(axis=1))
        margin[block] = top - own[block]
    return Doubts(likely != given, margin, likely)


def doubts_of_several(proba: F32, given: Bool, known: Bool) -> Doubts:
    """Judge rows that may have several labels; a row is as doubtful as its most doubtful label.

    Args:
        proba: the probability of each label, by a model that has not seen the row, [N, C].
        given: whether each row has each label, [N, C].
        known: whether the model of a row knows each label, [N, C].

    >>> proba = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.95], [0.2, 0.9]], np.float32)
    >>> given = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], bool)
    >>> found = doubts_of_several(proba, given, np.full((4, 2), True))
    >>> found.is_wrong.tolist(), found.likely[2].item()
    ([False, False, True, False], 1)
    """
    rows, classes = proba.shape
    margin, likely = np.full(rows, -1.0), np.zeros(rows, np.int64)
    is_wrong = np.zeros(rows, bool)
    for label in range(classes):
        yes, answer = proba[:, label].astype(np.float64), given[:, label].astype(np.int64)
        answers = np.stack([1 - yes, yes], axis=1).astype(np.float32)
        found = doubts(answers, answer, known[:, label])
        # A doubt that passes the thresholds counts before any that does not.
        more = np.where(found.is_wrong == is_wrong, found.margin > margin, found.is_wrong)
        likely[more], margin[more] = label, found.margin[more]
        is_wrong |= found.is_wrong
    return Doubts(is_wrong, margin, likely)

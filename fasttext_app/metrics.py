"""Classification metrics in NumPy.

Shapes: **B** examples, **C** classes. True classes may lie outside the model's labels (a label that
training never saw): such an example counts as an error wherever it is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

__all__ = [
    "LabelScores",
    "Scores",
    "classification_scores",
    "confusion_matrix",
    "precision_at_k",
    "top_k_classes",
]

Ids = npt.NDArray[np.int64]


class LabelScores(TypedDict):
    """The scores of one label."""

    precision: float
    recall: float
    f1: float
    support: int


class Scores(TypedDict):
    """The scores of a set of predictions; the keys are those of ``evaluate --json``."""

    examples: int
    accuracy: float
    macro_f1: float
    micro_f1: float
    labels: list[str]
    per_label: dict[str, LabelScores]
    confusion_matrix: list[list[int]]
    precision_at_k: dict[str, float]
    recall_at_k: dict[str, float]
    unknown_labels: dict[str, int]


def confusion_matrix(true: Ids, predicted: Ids, classes: int) -> npt.NDArray[np.int64]:
    """Count examples by (true class, predicted class), [C, C].

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    cells = np.bincount(true * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes)


def top_k_classes(scores: npt.NDArray[np.floating], k: int) -> Ids:
    """Return the ``k`` best classes of every row, best first; equal scores go by class. [B, k]."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def precision_at_k(true: Ids, ranked: Ids) -> dict[int, float]:
    """Return the share of correct labels among the first k, for k = 1, 3, 5 up to the classes.

    Without any example it is 0, as every ratio of 0/0 here.

    Args:
        true: the class of each example, [B].
        ranked: classes by descending score, [B, >= k].
    """
    hits = ranked == true[:, None]
    cutoffs = [k for k in (1, 3, 5) if k <= ranked.shape[1]]
    return {k: float(hits[:, :k].sum() / (k * max(len(true), 1))) for k in cutoffs}


def classification_scores(
    true: Ids, ranked: Ids, labels: Sequence[str], unknown: Sequence[str] = ()
) -> Scores:
    """Score ranked predictions against single true labels.

    Macro F1 is the mean over the labels that occur among the true or the predicted ones; a ratio
    of 0/0 is 0. With one label an example, micro F1 equals accuracy, and recall at k is k times
    precision at k.

    Args:
        true: the class of each example, [B]; ``len(labels) + u`` for ``unknown[u]``.
        ranked: classes by descending score, [B, K], K >= 1.
        labels: the names of the model's classes.
        unknown: names of true labels that the model does not know.
    """
    names = [*labels, *unknown]
    matrix = confusion_matrix(true, ranked[:, 0], len(names))
    right, support, chosen = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    precision, recall = _ratio(right, chosen), _ratio(right, support)
    f1 = _ratio(2 * right, support + chosen)
    occurring = (support + chosen) > 0
    accuracy = float(right.sum() / max(len(true), 1))
    at_k = precision_at_k(true, ranked)
    return {
        "examples": len(true),
        "accuracy": accuracy,
        "macro_f1": float(f1[occurring].mean()) if occurring.any() else 0.0,
        "micro_f1": accuracy,
        "labels": names,
        "per_label": {
            name: {
                "precision": float(precision[row]),
                "recall": float(recall[row]),
                "f1": float(f1[row]),
                "support": int(support[row]),
            }
            for row, name in enumerate(names)
        },
        "confusion_matrix": matrix.tolist(),
        "precision_at_k": {str(k): value for k, value in at_k.items()},
        "recall_at_k": {str(k): value * k for k, value in at_k.items()},
        "unknown_labels": {
            name: int(support[len(labels) + row]) for row, name in enumerate(unknown)
        },
    }


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return part / np.maximum(whole, 1)

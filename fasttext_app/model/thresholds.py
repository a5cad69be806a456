"""Thresholds on probabilities: the precision and recall of each, and the best one for a goal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fasttext_app.core.arrays import F64, I64, Array, Bool
from fasttext_app.errors import ConfigError


def threshold_curve(scores: npt.NDArray[np.floating], right: Bool) -> tuple[Array, I64, I64]:
    """Return every distinct threshold, highest first, and what reaches it.

    Args:
        scores: the score of each prediction, [N].
        right: whether each prediction is right, [N].

    Returns:
        The distinct scores in descending order, the number of right predictions at or above each,
        and the number of predictions at or above each, [T] each.

    >>> threshold_curve(np.array([0.9, 0.2, 0.9]), np.array([True, True, False]))
    (array([0.9, 0.2]), array([1, 2]), array([2, 3]))
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.diff(ranked, append=np.nan))  # of a run of equal scores
    return ranked[last], np.cumsum(right[order], dtype=np.int64)[last], last + 1


def precision_at_recall(scores: npt.NDArray[np.floating], right: Bool, recall: float) -> float:
    """Return the best precision of a threshold that reaches a recall; 0 if none does.

    >>> scores, right = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, True])
    >>> precision_at_recall(scores, right, 0.9), recall_at_precision(scores, right, 0.9)
    (0.75, 0.3333333333333333)
    """
    precisions, recalls = _precision_recall(scores, right)
    return float(precisions[recalls >= recall].max(initial=0.0))


def recall_at_precision(scores: npt.NDArray[np.floating], right: Bool, precision: float) -> float:
    """Return the best recall of a threshold that reaches a precision; 0 if none does."""
    precisions, recalls = _precision_recall(scores, right)
    return float(recalls[precisions >= precision].max(initial=0.0))


def _precision_recall(scores: npt.NDArray[np.floating], right: Bool) -> tuple[F64, F64]:
    _, hits, selected = threshold_curve(scores, right)
    return hits / selected, hits / max(right.sum(), 1)


@dataclass(frozen=True)
class Goal:
    """The goal of a threshold: the best F1, or a target precision or recall."""

    kind: Literal["f1", "precision", "recall"]
    target: float = 0.0

    def __str__(self) -> str:
        return self.kind if self.kind == "f1" else f"{self.kind}:{self.target:g}"


def parse_goal(text: str) -> Goal:
    """Parse ``f1``, ``precision:P`` or ``recall:R``.

    Raises:
        ConfigError: the text is none of them.

    >>> parse_goal("precision:0.9")
    Goal(kind='precision', target=0.9)
    """
    if text == "f1":
        return Goal("f1")
    match = re.fullmatch(r"(precision|recall):(\d*\.?\d+)", text)
    if match is None or not 0 < float(match[2]) <= 1:
        raise ConfigError(
            f"thresholds = {text!r}: must be f1, precision:P or recall:R, with a number above 0 "
            "and up to 1 (precision:0.9)"
        )
    return Goal("precision" if match[1] == "precision" else "recall", float(match[2]))


def choose_threshold(proba: F64, positive: Bool, goal: Goal) -> tuple[float, bool]:
    """Return the threshold of a label that best meets a goal, and whether it meets it.

    For F1, that is the threshold with the best F1; for a recall, the largest one that reaches it;
    for a precision, the smallest one that reaches it, which finds the most, or else the one with
    the best precision. A threshold lies midway between two probabilities that occur. The threshold
    of a label without a positive row is 0.5.

    Args:
        proba: the probability of the label for each row, [B].
        positive: whether each row has the label, [B].
        goal: what to choose it for.

    >>> choose_threshold(np.array([0.9, 0.6, 0.2]), np.array([True, False, False]), Goal("f1"))
    (0.75, True)
    """
    total = int(positive.sum())
    if not total:
        return 0.5, False
    thresholds, hits, selected = threshold_curve(proba, positive)
    precision, reached = hits / selected, True
    if goal.kind == "f1":
        best = int(np.argmax(2 * hits / (selected + total)))
    elif goal.kind == "recall":
        best = int(np.argmax(hits / total >= goal.target))
    else:
        enough = np.flatnonzero(precision >= goal.target)
        reached = bool(len(enough))
        best = int(enough[-1]) if reached else int(np.argmax(precision))
    below = float(thresholds[best + 1]) if best + 1 < len(thresholds) else 0.0
    midway = (float(thresholds[best]) + below) / 2
    # Between two adjacent floats there is nothing.
    return (midway if midway > below else float(thresholds[best])), reached

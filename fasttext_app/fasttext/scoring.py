"""``Meter``: precision and recall as fastText counts them, over lines with any number of labels."""

from __future__ import annotations

import math
from array import array
from collections import Counter

import numpy as np

from fasttext_app.core.arrays import F64
from fasttext_app.data.labels import find_label
from fasttext_app.model.thresholds import threshold_curve

NOT_PREDICTED = -1.0
"""The score of a label that a line has but that was not predicted."""


class Meter:
    """Counts the labels of lines, those predicted, and those predicted correctly.

    Args:
        labels: the labels that the model knows.

    >>> meter = Meter(["a", "b"])
    >>> meter.add(["a"], ["a", "b"], [0.75, 0.25])
    >>> meter.add(["b"], ["a"], [0.5])
    >>> meter.examples, meter.precision(), meter.recall(), meter.f1("a")
    (2, 0.3333333333333333, 0.5, 0.6666666666666666)
    >>> scores, true = meter.score_vs_true("b")
    >>> scores.tolist(), true.tolist()
    ([-1.0, 0.25], [1.0, 0.0])
    >>> precision, recall = meter.precision_recall_curve("a")
    >>> precision.tolist(), recall.tolist()
    ([1.0, 1.0], [1.0, 0.0])
    """

    def __init__(self, labels: list[str]) -> None:
        self.labels = labels
        self.examples = 0
        self._true = Counter[str]()
        self._predicted = Counter[str]()
        self._correct = Counter[str]()
        # A score for each line that has a label or for which it was predicted, and whether it has.
        self._scores = {label: array("f") for label in labels}
        self._is_true = {label: bytearray() for label in labels}

    def add(self, true: list[str], predicted: list[str], scores: list[float]) -> None:
        """Count one line: its labels, and the predicted ones with their probabilities."""
        self.examples += 1
        for label, score in zip(predicted, scores, strict=True):
            correct = label in true
            self._predicted[label] += 1
            self._correct[label] += correct
            self._scores[label].append(score)
            self._is_true[label].append(correct)
        for label in true:
            self._true[label] += 1
            if label not in predicted:
                self._scores[label].append(NOT_PREDICTED)
                self._is_true[label].append(True)

    def precision(self, label: str | None = None) -> float:
        """Return the fraction of predicted labels that are correct; NaN without any."""
        return _ratio(_count(self._correct, label), _count(self._predicted, label))

    def recall(self, label: str | None = None) -> float:
        """Return the fraction of true labels that were predicted; NaN without any."""
        return _ratio(_count(self._correct, label), _count(self._true, label))

    def f1(self, label: str | None = None) -> float:
        """Return the harmonic mean of precision and recall; NaN without any label."""
        labels = _count(self._predicted, label) + _count(self._true, label)
        return _ratio(2 * _count(self._correct, label), labels)

    def score_vs_true(self, label: str | None = None) -> tuple[F64, F64]:
        """Return scores in ascending order, and 1 where the line has the label, otherwise 0.

        Args:
            label: one label; None: all.

        Raises:
            ConfigError: the model does not have the label.
        """
        if label:
            find_label(label, self.labels)
        labels = [label] if label else self.labels
        scores = np.frombuffer(b"".join(self._scores[name] for name in labels), np.float32)
        true = np.frombuffer(b"".join(self._is_true[name] for name in labels), np.uint8)
        order = np.lexsort((true, scores))
        return scores[order].astype(np.float64), true[order].astype(np.float64)

    def precision_recall_curve(self, label: str | None = None) -> tuple[F64, F64]:
        """Return precision and recall at each threshold, from the highest score down.

        The curve stops where recall is complete. Its last point is (1, 0).

        Args:
            label: one label; None: all.

        Raises:
            ConfigError: the model does not have the label.
        """
        scores, true = self.score_vs_true(label)
        is_predicted = scores >= 0
        _, correct, predicted = threshold_curve(scores[is_predicted], true[is_predicted] > 0)
        if not len(correct):
            return np.empty(0), np.empty(0)
        positives = _count(self._true, label or None)
        complete = int(correct.searchsorted(positives)) + 1
        correct, predicted = correct[:complete], predicted[:complete]
        recall = correct / positives if positives else np.full(len(correct), np.nan)
        return np.append(correct / predicted, 1.0), np.append(recall, 0.0)

    def precision_at_recall(self, recall: float, label: str | None = None) -> float:
        """Return the best precision at this recall or a higher one; 0 if it is never reached.

        Raises:
            ConfigError: the model does not have the label.
        """
        precisions, recalls = self.precision_recall_curve(label)
        return float(precisions[recalls >= recall].max(initial=0.0))

    def recall_at_precision(self, precision: float, label: str | None = None) -> float:
        """Return the best recall at this precision or a higher one; 0 if it is never reached.

        Raises:
            ConfigError: the model does not have the label.
        """
        precisions, recalls = self.precision_recall_curve(label)
        return float(recalls[precisions >= precision].max(initial=0.0))


def _count(counts: Counter[str], label: str | None) -> int:
    return counts.total() if label is None else counts[label]


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan

"""Scores as the original counts them: lines of any number of labels, precision and recall at k."""

from __future__ import annotations

import math
from collections import Counter


class Meter:
    """Counts labels that are right, that were predicted, and that were to be predicted.

    >>> meter = Meter(["a", "b"])
    >>> meter.add(["a", "b"], ["a"])
    >>> meter.add(["b"], ["a"])
    >>> meter.examples, meter.precision(), meter.recall(), meter.f1("a")
    (2, 0.5, 0.3333333333333333, 0.6666666666666666)
    """

    def __init__(self, labels: list[str]) -> None:
        self.labels = labels
        self.examples = 0
        self._right: Counter[str] = Counter()
        self._predicted: Counter[str] = Counter()
        self._gold: Counter[str] = Counter()

    def add(self, gold: list[str], predicted: list[str]) -> None:
        """Count one line."""
        self.examples += 1
        self._gold.update(gold)
        self._predicted.update(predicted)
        self._right.update(label for label in predicted if label in gold)

    def precision(self, label: str | None = None) -> float:
        """Return the share of what was predicted that is right; NaN if nothing was."""
        return _share(_of(self._right, label), _of(self._predicted, label))

    def recall(self, label: str | None = None) -> float:
        """Return the share of what was to be predicted that was; NaN if nothing was to be."""
        return _share(_of(self._right, label), _of(self._gold, label))

    def f1(self, label: str | None = None) -> float:
        """Return the harmonic mean of both."""
        return _share(
            2 * _of(self._right, label), _of(self._predicted, label) + _of(self._gold, label)
        )


def _of(counts: Counter[str], label: str | None) -> int:
    return counts.total() if label is None else counts[label]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan

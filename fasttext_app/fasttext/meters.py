"""``ScoreMeter``: how precision and recall go with the probability from which a label is given."""

from __future__ import annotations

from collections import Counter

import numpy as np

from fasttext_app.core.arrays import F64
from fasttext_app.errors import ConfigError

NOT_PREDICTED = -1.0
"""The score of a label that a line has, and that is not among those predicted."""


class ScoreMeter:
    """What the original's ``get_meter`` returns.

    Args:
        labels: those that the model knows.

    >>> meter = ScoreMeter(["a", "b"])
    >>> meter.add(["a"], ["a", "b"], [0.75, 0.25])
    >>> meter.add(["b"], ["a"], [0.5])
    >>> scores, true = meter.score_vs_true("b")
    >>> scores.tolist(), true.tolist()
    ([-1.0, 0.25], [1.0, 0.0])
    >>> precision, recall = meter.precision_recall_curve("a")
    >>> precision.tolist(), recall.tolist()
    ([1.0, 1.0], [1.0, 0.0])
    """

    def __init__(self, labels: list[str]) -> None:
        self._pairs: dict[str, list[tuple[float, float]]] = {label: [] for label in labels}
        self._gold: Counter[str] = Counter()

    def add(self, gold: list[str], predicted: list[str], scores: list[float]) -> None:
        """Count one line: its labels, and those that were predicted with their probabilities."""
        for label, score in zip(predicted, scores, strict=True):
            self._pairs[label].append((score, float(label in gold)))
        for label in gold:
            self._gold[label] += 1
            if label not in predicted:
                self._pairs[label].append((NOT_PREDICTED, 1.0))

    def score_vs_true(self, label: str | None = None) -> tuple[F64, F64]:
        """Return the scores of a label in ascending order, and whether the line had it, 1 or 0.

        Raises:
            ConfigError: there is no such label.
        """
        if label and label not in self._pairs:
            raise ConfigError(f"{label}: the model has no such label")
        chosen = [self._pairs[label]] if label else list(self._pairs.values())
        pairs = np.array([pair for pairs in chosen for pair in pairs], np.float64).reshape(-1, 2)
        scores, true = pairs[:, 0].astype(np.float32).astype(np.float64), pairs[:, 1]
        order = np.lexsort((true, scores))
        return scores[order], true[order]

    def precision_recall_curve(self, label: str | None = None) -> tuple[F64, F64]:
        """Return precision and recall, of a label or of all, from the highest score down.

        They end where all is found, and after that with 1 and 0.

        Raises:
            ConfigError: there is no such label.
        """
        scores, true = (values[::-1] for values in self.score_vs_true(label))
        true = true[scores >= 0]
        last = np.flatnonzero(np.diff(scores[scores >= 0], append=np.nan))  # of equal scores
        if not len(last):
            return np.empty(0), np.empty(0)
        hits, predicted = np.cumsum(true)[last], last + 1.0
        gold = self._gold[label] if label else self._gold.total()
        whole = int(hits.searchsorted(gold)) + 1
        hits, predicted = hits[:whole], predicted[:whole]
        recall = hits / gold if gold else np.full(len(hits), np.nan)
        return np.append(hits / predicted, 1.0), np.append(recall, 0.0)

    def precision_at_recall(self, recall: float, label: str | None = None) -> float:
        """Return the best precision at this recall or a higher one; 0 if it is never reached.

        Raises:
            ConfigError: there is no such label.
        """
        precisions, recalls = self.precision_recall_curve(label)
        return float(precisions[recalls >= recall].max(initial=0.0))

    def recall_at_precision(self, precision: float, label: str | None = None) -> float:
        """Return the best recall at this precision or a higher one; 0 if it is never reached.

        Raises:
            ConfigError: there is no such label.
        """
        precisions, recalls = self.precision_recall_curve(label)
        return float(recalls[precisions >= precision].max(initial=0.0))

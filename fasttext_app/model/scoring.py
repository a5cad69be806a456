"""``Scorer``: scores of predictions that come in batches, for validation and evaluation alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fasttext_app.core.arrays import F32, F64
from fasttext_app.core.ragged import Ragged
from fasttext_app.model.metrics import (
    MultiLabelScores,
    Scores,
    classification_scores,
    from_multi_hot,
    multi_label_scores,
    top_k_classes,
)


class Scorer:
    """Collects true and predicted classes batch by batch; memory grows with texts, not classes.

    Args:
        labels: names of the model's C classes.
        multi_label: whether a text may have several labels, or none.
        ranks: how many of the best classes of each text to keep; precision at k ends there.
        threshold: the smallest probability of a predicted label, or one for each class, [C]; for
            ``multi_label`` only.

    >>> scorer = Scorer(["a", "b"], multi_label=False)
    >>> _ = scorer.add(Ragged.from_lists([[0], [1]]), np.array([[2, 1], [3, 0]], np.float32))
    >>> scorer.scores()["accuracy"]
    0.5
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        multi_label: bool,
        ranks: int = 1,
        threshold: float | F64 = 0.5,
    ) -> None:
        self._labels, self._multi_label = labels, multi_label
        self._ranks, self._threshold = ranks, threshold
        self._true: list[Ragged] = []
        self._ranked: list[np.ndarray] = []
        self._predicted: list[Ragged] = []

    def add(self, true: Ragged, logits: F32, proba: F64 | None = None) -> Ragged:
        """Add a batch; return the predicted classes of each text, [B].

        Args:
            true: the classes of each text, [B]; from C on for labels that the model does not know.
            logits: [B, C].
            proba: probability of each class, [B, C]; needed for ``multi_label`` only.
        """
        self._true.append(true)
        self._ranked.append(top_k_classes(logits, self._ranks))
        if not self._multi_label:
            return Ragged.one_each(self._ranked[-1][:, 0])
        assert proba is not None
        self._predicted.append(from_multi_hot(proba >= self._threshold))
        return self._predicted[-1]

    def scores(self, unknown: Sequence[str] = ()) -> Scores | MultiLabelScores:
        """Return the scores over all batches.

        Args:
            unknown: names of true labels that the model does not know.
        """
        true, ranked = Ragged.concat(self._true), np.concatenate(self._ranked)
        if not self._multi_label:
            return classification_scores(true.indices, ranked, self._labels, unknown)
        predicted = Ragged.concat(self._predicted)
        return multi_label_scores(true, predicted, ranked, self._labels, unknown)

"""Predictions: the best classes of each text, and the labels above a threshold.

Shapes: **B** texts, **C** classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import F64, I64, Bool
from fasttext_app.core.arrow import string_array, to_arrow

FITTED = "fitted"
"""As a threshold: the one that calibration fitted for each label."""

FEW = 100  # labels that are looked up sooner in Python than Arrow's compute functions are imported

Threshold = float | F64
"""The smallest probability of a predicted label: one number, or one for each class, [C]."""

PREDICTIONS = pa.schema(
    {
        "text": pa.string(),
        "labels": pa.list_(pa.string()),
        "probabilities": pa.list_(pa.float64()),
    }
)
"""Predictions for a batch of texts: the labels of each, best first, and their probabilities."""


@dataclass(frozen=True)
class Prediction:
    """The labels of one text, best first, and the probability of each."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class TopK:
    """The k best classes of each text, best first, and their probabilities."""

    classes: I64  # [B, k]
    probabilities: F64  # [B, k]

    @classmethod
    def concat(cls, parts: Sequence[TopK]) -> TopK:
        """Return the texts of all parts, one part after another."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
        )

    def mask(self, threshold: Threshold = 0.0, limit: int | None = None) -> Bool:
        """Return which classes are predicted, [B, k].

        Args:
            threshold: the smallest probability of a predicted class.
            limit: predict at most this many classes of each text, the best ones.
        """
        minimum = threshold if isinstance(threshold, float | int) else threshold[self.classes]
        mask = self.probabilities >= minimum
        if limit is None or limit >= mask.shape[1]:
            return mask
        return mask & (np.cumsum(mask, axis=1) <= limit)

    def predictions(
        self, names: Sequence[str], threshold: Threshold = 0.0, limit: int | None = None
    ) -> list[Prediction]:
        """Return one :class:`Prediction` per text; the arguments match :meth:`mask`."""
        predictions = []
        for classes, values, mask in zip(
            self.classes.tolist(),
            self.probabilities.tolist(),
            self.mask(threshold, limit).tolist(),
            strict=True,
        ):
            pairs = [(names[c], p) for c, p, m in zip(classes, values, mask, strict=True) if m]
            predictions.append(Prediction(tuple(n for n, _ in pairs), tuple(p for _, p in pairs)))
        return predictions

    def columns(
        self, names: Sequence[str], threshold: Threshold = 0.0, limit: int | None = None
    ) -> tuple[pa.ListArray, pa.ListArray]:
        """Return Arrow columns of the labels and probabilities; see :meth:`predictions`."""
        mask = self.mask(threshold, limit)
        ends = np.cumsum(mask.sum(axis=1, dtype=np.int32), dtype=np.int32)
        offsets = to_arrow(np.concatenate((np.zeros(1, np.int32), ends)))
        classes = self.classes[mask]
        if len(classes) > FEW:
            labels = string_array(names).take(to_arrow(classes))
        else:
            labels = string_array([names[index] for index in classes.tolist()])
        values = to_arrow(self.probabilities[mask])
        return (
            pa.ListArray.from_arrays(offsets, labels),
            pa.ListArray.from_arrays(offsets, values),
        )

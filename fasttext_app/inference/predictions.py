"""The answers of a model: the best labels of each text, and what leaves some of them out.

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
FEW = 100

Threshold = float | F64
"""The least probability of an answer: one number, or one for each class, [C]."""

PREDICTIONS = pa.schema(
    {
        "text": pa.string(),
        "labels": pa.list_(pa.string()),
        "probabilities": pa.list_(pa.float64()),
    }
)
"""The answers for a batch of texts: the labels of each, best first, and their probabilities."""


@dataclass(frozen=True)
class Prediction:
    """The answer for one text: labels, best first, and the probability of each."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class TopK:
    """The answers for B texts: the k best classes of each, best first, and their probabilities."""

    classes: I64  # [B, k]
    probabilities: F64  # [B, k]

    @classmethod
    def concat(cls, parts: Sequence[TopK]) -> TopK:
        """Put the answers of parts one after another."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
        )

    def kept(self, threshold: Threshold = 0.0, most: int | None = None) -> Bool:
        """Say which answers reach a threshold, or that of their class; ``most`` of each text."""
        least = threshold if isinstance(threshold, float | int) else threshold[self.classes]
        kept = self.probabilities >= least
        return kept if most is None else kept & (np.cumsum(kept, axis=1) <= most)

    def columns(
        self, names: Sequence[str], threshold: Threshold = 0.0, most: int | None = None
    ) -> tuple[pa.ListArray, pa.ListArray]:
        """Return label names and probabilities of each text, those that :meth:`kept` leaves."""
        kept = self.kept(threshold, most)
        ends = np.cumsum(kept.sum(axis=1, dtype=np.int32), dtype=np.int32)
        offsets = to_arrow(np.concatenate((np.zeros(1, np.int32), ends)))
        classes = self.classes[kept]
        if len(classes) > FEW:
            labels = string_array(names).take(to_arrow(classes))
        else:  # sooner done than Arrow's compute functions are imported
            labels = string_array([names[number] for number in classes.tolist()])
        values = to_arrow(self.probabilities[kept])
        return (
            pa.ListArray.from_arrays(offsets, labels),
            pa.ListArray.from_arrays(offsets, values),
        )

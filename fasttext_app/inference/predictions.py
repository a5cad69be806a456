"""Predictions: the best classes of each text, and the labels above a threshold.

Shapes: **B** texts, **C** classes.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import F64, I64, Bool
from fasttext_app.core.arrow import string_array, to_arrow, with_nulls
from fasttext_app.inference.display import html_table

FITTED = "fitted"
"""As a threshold: the one that calibration fitted for each label."""

FEW = 10_000
"""Labels that are looked up sooner in Python than Arrow's compute functions are imported."""

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

KNOWN = pa.field("known", pa.float64())
"""The share of each text's words and n-grams that have a row."""


@dataclass(frozen=True)
class TextRows:
    """Texts to predict, with columns to copy to the result.

    Attributes:
        texts: the texts, [B]; null where one is missing.
        kept: the columns, [B] rows; None: there are none.
    """

    texts: pa.StringArray
    kept: pa.Table | None = None

    @property
    def missing(self) -> pa.BooleanArray | None:
        """The texts that are missing, [B]; None if there are none."""
        return self.texts.is_null() if self.texts.null_count else None

    def with_columns(self, columns: Sequence[pa.Array]) -> pa.RecordBatch:
        """Return the columns to copy, the texts, and the columns of their predictions."""
        fields = [*PREDICTIONS, KNOWN][: len(columns) + 1]
        if self.kept is None:
            return pa.record_batch([self.texts, *columns], schema=pa.schema(fields))
        kept = [column.combine_chunks() for column in self.kept.columns]
        schema = pa.schema([*self.kept.schema, *fields])
        return pa.record_batch([*kept, self.texts, *columns], schema=schema)


class Prediction(NamedTuple):
    """The labels of one text, best first, and the probability of each."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    known: float = 1.0
    """The share of the text's words and n-grams that have a row; at 0, the model knows nothing of
    the text, and would predict the same for any such text."""

    def __repr__(self) -> str:
        """Return the fields, rounded."""
        probabilities = ", ".join(f"{value:.4f}" for value in self.probabilities)
        comma = "," if len(self.probabilities) == 1 else ""
        return (
            f"Prediction(labels={self.labels!r}, probabilities=({probabilities}{comma}), "
            f"known={self.known:.2f})"
        )

    def _repr_html_(self) -> str:
        pairs = zip(self.labels, self.probabilities, strict=True)
        facts = {label: f"{value:.4f}" for label, value in pairs}
        return html_table(f"Prediction, {self.known:.0%} of the text known", facts)


@dataclass(frozen=True)
class TopK:
    """The k best classes of each text, best first, and their probabilities."""

    classes: I64  # [B, k]
    probabilities: F64  # [B, k]
    known: F64 | None = None  # [B], the share of the text's words and n-grams that have a row

    @classmethod
    def concat(cls, parts: Sequence[TopK]) -> TopK:
        """Return the texts of all parts, one part after another."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
            None if parts[0].known is None else np.concatenate([part.known for part in parts]),
        )

    def mask(
        self, threshold: Threshold = 0.0, limit: int | None = None, *, abstain: bool = False
    ) -> Bool:
        """Return which classes are predicted, [B, k].

        Args:
            threshold: the smallest probability of a predicted class.
            limit: predict at most this many classes of each text, the best ones.
            abstain: predict none for a text of which nothing is known.
        """
        minimum = threshold if isinstance(threshold, float | int) else threshold[self.classes]
        mask = self.probabilities >= minimum
        if abstain:
            assert self.known is not None
            mask &= self.known[:, None] > 0
        if limit is None or limit >= mask.shape[1]:
            return mask
        return mask & (np.cumsum(mask, axis=1) <= limit)

    def predictions(self, names: Sequence[str], mask: Bool) -> list[Prediction]:
        """Return one :class:`Prediction` per text, of the classes in a :meth:`mask`."""
        known = np.ones(len(mask)) if self.known is None else self.known
        if mask.shape[1] == 1 and mask.all():  # much faster than the general loop
            labels_of = [(name,) for name in names]
            labels = map(labels_of.__getitem__, self.classes[:, 0].tolist())
            probabilities = zip(self.probabilities[:, 0].tolist(), strict=True)
            fields = zip(labels, probabilities, known.tolist(), strict=True)
            with _no_garbage_collection():
                return list(map(tuple.__new__, repeat(Prediction), fields))
        predictions = []
        for classes, values, selected, share in zip(
            self.classes.tolist(),
            self.probabilities.tolist(),
            mask.tolist(),
            known.tolist(),
            strict=True,
        ):
            pairs = [(names[c], p) for c, p, m in zip(classes, values, selected, strict=True) if m]
            chosen, their_probabilities = tuple(n for n, _ in pairs), tuple(p for _, p in pairs)
            predictions.append(Prediction(chosen, their_probabilities, share))
        return predictions

    def columns(
        self, names: Sequence[str], mask: Bool, missing: pa.BooleanArray | None = None
    ) -> list[pa.Array]:
        """Return Arrow columns of the labels, the probabilities and, if it is set, the known share.

        Args:
            names: the names of the classes.
            mask: the predicted classes, from :meth:`mask`.
            missing: the texts that get a null for an answer, [B]; None: none.
        """
        ends = np.cumsum(mask.sum(axis=1, dtype=np.int32), dtype=np.int32)
        offsets = to_arrow(np.concatenate((np.zeros(1, np.int32), ends)))
        classes = self.classes[mask]
        if len(classes) > FEW or "pyarrow.compute" in sys.modules:
            labels = string_array(names).take(to_arrow(classes))
        else:
            labels = string_array([names[index] for index in classes.tolist()])
        values = to_arrow(self.probabilities[mask])
        columns = [
            pa.ListArray.from_arrays(offsets, labels, mask=missing),
            pa.ListArray.from_arrays(offsets, values, mask=missing),
        ]
        if self.known is not None:
            columns.append(with_nulls(to_arrow(self.known), missing))
        return columns


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep Python from searching for cycles among many new objects that have none.

    The searches would take longer than making the objects.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

"""Soft labels: cells that give each label a probability, ``news=0.7|sport=0.3``.

A cell with a single label and no ``=`` gives it probability 1: hard and soft labels can be mixed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import F32, I64
from fasttext_app.core.arrow import string_array
from fasttext_app.core.ragged import Ragged
from fasttext_app.errors import DataError

TOLERANCE = 0.02  # of the sum, since people round: three equal probabilities are 0.33 each


@dataclass(frozen=True, eq=False)
class SoftLabels(Ragged):
    """Label sets in which each class has a probability; the sum over a set is 1.

    >>> label_sets = SoftLabels.build([((0, 2), (0.25, 0.75)), ((1,), (1.0,))])
    >>> label_sets.to_lists(), label_sets.probabilities.tolist()
    ([[0, 2], [1]], [0.25, 0.75, 1.0])
    """

    probabilities: F32  # [N]

    @classmethod
    def build(cls, label_sets: list[tuple[tuple[int, ...], tuple[float, ...]]]) -> SoftLabels:
        """Build from the (class ids, probabilities) of each set."""
        classes = Ragged.from_lists([class_ids for class_ids, _ in label_sets])
        flat = [probability for _, row in label_sets for probability in row]
        return cls(classes.indices, classes.offsets, np.array(flat, np.float32))

    def most_likely(self) -> I64:
        """Return the most likely class of each set, the lowest id on a tie, [sets].

        >>> SoftLabels.build([((0, 2), (0.25, 0.75)), ((1, 2), (0.5, 0.5))]).most_likely().tolist()
        [2, 1]
        """
        rows = np.repeat(np.arange(len(self)), self.lengths)
        order = np.lexsort((self.indices, -self.probabilities, rows))
        best: I64 = self.indices[order[self.offsets[:-1]]]
        return best


def parse_soft_labels(cell: str, separator: str) -> dict[str, float]:
    """Return the probability of each label in a cell, scaled to a sum of 1; zeros are left out.

    >>> parse_soft_labels("news=0.7| sport=0.3|arts=0", "|"), parse_soft_labels("news", "|")
    ({'news': 0.7, 'sport': 0.3}, {'news': 1.0})

    Raises:
        DataError: the cell is malformed, has a label twice, or its probabilities do not sum to 1.
    """
    parts = [part for label in cell.split(separator) if (part := label.strip())]
    if len(parts) == 1 and "=" not in parts[0]:
        return {parts[0]: 1.0}
    probabilities: dict[str, float] = {}
    for part in parts:
        label, _, number = part.rpartition("=")
        label, number = label.strip(), number.strip()
        if not label:
            raise DataError(f"the label {cell!r}: {part!r} is not of the form label=probability")
        try:
            probability = float(number)
        except ValueError:
            probability = math.nan
        if not (math.isfinite(probability) and probability >= 0):
            raise DataError(
                f"the label {cell!r}: the probability {number!r} of {label!r} must be "
                "a number from 0 to 1"
            )
        if label in probabilities:
            raise DataError(f"the label {cell!r}: {label!r} has two probabilities")
        probabilities[label] = probability
    total = math.fsum(probabilities.values())
    if abs(total - 1) > TOLERANCE:
        raise DataError(f"the label {cell!r}: the probabilities sum to {total:g}, not to 1")
    return {label: value / total for label, value in probabilities.items() if value}


def format_soft_labels(probabilities: Mapping[str, object], separator: str) -> str:
    """Return the cell for these label probabilities; labels whose probability is None are left out.

    >>> format_soft_labels({"news": 0.7, "sport": 0.3, "arts": None}, "|")
    'news=0.7|sport=0.3'

    Raises:
        DataError: a label contains the separator.
    """
    parts = []
    for label, probability in probabilities.items():
        if separator in label:
            raise DataError(
                f"the label {label!r} contains {separator!r}; "
                "set data.label_separator to a string that no label contains"
            )
        if probability is not None:
            parts.append(f"{label}={probability}")
    return separator.join(parts)


def keep_most_likely(batches: Iterable[pa.RecordBatch], separator: str) -> Iterator[pa.RecordBatch]:
    """Replace each label cell by its most likely label, the first one on a tie.

    >>> rows = pa.record_batch({"text": ["x", "y"], "label": ["a=0.4|b=0.6", "a"]})
    >>> next(keep_most_likely([rows], "|"))["label"].to_pylist()
    ['b', 'a']

    Raises:
        DataError: a cell is malformed.
    """
    for batch in batches:
        cells = batch.column("label").dictionary_encode()
        best = []
        for cell in cells.dictionary.to_pylist():
            probabilities = parse_soft_labels(cell, separator)
            best.append(max(probabilities, key=probabilities.__getitem__))
        labels = string_array(best).take(cells.indices)
        yield pa.record_batch({"text": batch.column("text"), "label": labels})

"""Label cells that give each label a share: ``news=0.7|sport=0.3``.

A label alone in its cell has all of it, so that rows of one sure label need no figure.
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

TOLERANCE = 0.02  # of the sum of shares, which people round: three thirds are 0.33 each
EQUALS = "="


@dataclass(frozen=True, eq=False)
class LabelShares(Ragged):
    """Sets of classes in which each class has a share; those of a set sum to 1.

    >>> sets = LabelShares.of([((0, 2), (0.25, 0.75)), ((1,), (1.0,))])
    >>> sets.to_lists(), sets.shares.tolist(), sets.most_likely().tolist()
    ([[0, 2], [1]], [0.25, 0.75, 1.0], [2, 1])
    """

    shares: F32  # [N]

    @classmethod
    def of(cls, sets: list[tuple[tuple[int, ...], tuple[float, ...]]]) -> LabelShares:
        """Build from (classes, shares) of each set."""
        classes = Ragged.from_lists([found for found, _ in sets])
        shares = [share for _, row in sets for share in row]
        return cls(classes.indices, classes.offsets, np.array(shares, np.float32))

    def most_likely(self) -> I64:
        """Return the class with the largest share of each set, the first of equal ones, [S]."""
        rows = np.repeat(np.arange(len(self)), self.lengths)
        order = np.lexsort((self.indices, -self.shares, rows))
        best: I64 = self.indices[order[self.offsets[:-1]]]
        return best


def shares_of_cell(cell: str, separator: str) -> dict[str, float]:
    """Return the share of each label of a cell, scaled to a sum of 1; labels without one are out.

    >>> shares_of_cell("news=0.7| sport=0.3|arts=0", "|"), shares_of_cell("news", "|")
    ({'news': 0.7, 'sport': 0.3}, {'news': 1.0})

    Raises:
        ValueError: a share is no number of 0 or more, a label is there twice, or they do not sum
            to 1.
    """
    parts = [part for label in cell.split(separator) if (part := label.strip())]
    if len(parts) == 1 and EQUALS not in parts[0]:
        return {parts[0]: 1.0}
    shares: dict[str, float] = {}
    for part in parts:
        label, _, figure = part.rpartition(EQUALS)
        label = label.strip()
        if not label:
            raise ValueError(f"{part!r} is not of the form label=share")
        try:
            share = float(figure)
        except ValueError:
            raise ValueError(f"the share {figure.strip()!r} of {label!r} is no number") from None
        if not (math.isfinite(share) and share >= 0):
            raise ValueError(f"the share {figure.strip()} of {label!r} must be from 0 to 1")
        if label in shares:
            raise ValueError(f"the label {label!r} has two shares")
        shares[label] = share
    total = math.fsum(shares.values())
    if abs(total - 1) > TOLERANCE:
        raise ValueError(f"the shares sum to {total:g} and not to 1")
    return {label: share / total for label, share in shares.items() if share}


def soft_cell(shares: Mapping[str, object], separator: str) -> str:
    """Write a row's shares as a cell; a label whose share is None has none.

    >>> soft_cell({"news": 0.7, "sport": 0.3, "arts": None}, "|")
    'news=0.7|sport=0.3'

    Raises:
        ValueError: a label has the separator in it.
    """
    parts = []
    for label, share in shares.items():
        if separator in label:
            raise ValueError(
                f"a label has {separator!r} in it; set data.label_separator to what no label has"
            )
        if share is not None:
            parts.append(f"{label}={share}")
    return separator.join(parts)


def with_most_likely(batches: Iterable[pa.RecordBatch], separator: str) -> Iterator[pa.RecordBatch]:
    """Put in place of each label cell its label with the largest share, the first of equal ones.

    >>> rows = pa.record_batch({"text": ["x", "y"], "label": ["a=0.4|b=0.6", "a"]})
    >>> next(with_most_likely([rows], "|"))["label"].to_pylist()
    ['b', 'a']

    Raises:
        DataError: the shares of a cell are no distribution.
    """
    for batch in batches:
        cells = batch.column("label").dictionary_encode()
        best = []
        for cell in cells.dictionary.to_pylist():
            try:
                shares = shares_of_cell(cell, separator)
            except ValueError as error:  # of labels given in Python; a source says in which row
                raise DataError(f"the label {cell!r}: {error}") from None
            best.append(max(shares, key=shares.__getitem__))
        labels = string_array(best).take(cells.indices)
        yield pa.record_batch({"text": batch.column("text"), "label": labels})

"""Labels: the set of names with a class each, and the label cells of rows.

Rows of several labels have few distinct sets of them. Each distinct set has a number, which is what
a row carries through training, as a row of one label carries its class. The labels of a cell may
have shares (:mod:`fasttext_app.data.soft_labels`): a set is then one of classes and shares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import I64
from fasttext_app.core.arrow import string_array, to_numpy
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.soft_labels import LabelShares, shares_of_cell
from fasttext_app.errors import DataError

INT_DIGITS = 640  # whatever limit Python is run with, int() reads a string of so many digits


@dataclass(frozen=True)
class LabelSet:
    """C label names with the number of training rows of each.

    The order is the one that the data gives (class names of a dataset); without one, whole numbers
    go by value and other names by text.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]

    @classmethod
    def build(
        cls, columns: Sequence[pa.StringArray], order: Sequence[str] | None = None
    ) -> LabelSet:
        """Count the labels of some columns; names in ``order`` come first and stay without a row.

        >>> LabelSet.build([pa.array(["10", "9"]), pa.array(["10"])])
        LabelSet(names=('9', '10'), counts=(1, 2))
        """
        counts: Counter[str] = Counter()
        for column in columns:
            counts.update(label_counts(column))
        named = list(order or ())
        others = [name for name in counts if name not in set(named)]
        names = tuple(named + sorted(others, key=_natural))
        return cls(names, tuple(counts[name] for name in names))

    def counted(self, classes: I64) -> LabelSet:
        """Return the same names with the counts of these rows."""
        return LabelSet(self.names, tuple(np.bincount(classes, minlength=len(self)).tolist()))

    def __len__(self) -> int:
        return len(self.names)

    def ids(self, labels: pa.Array | pa.ChunkedArray) -> I64:
        """Return the class of each label, [B]; -1 for a label outside."""
        import pyarrow.compute as pc  # it takes as long as a few predictions

        found = pc.index_in(labels, value_set=string_array(self.names))
        found = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
        found = found.fill_null(-1) if found.null_count else found
        classes: I64 = to_numpy(found).astype(np.int64)
        return classes


def label_counts(labels: pa.StringArray) -> dict[str, int]:
    """Return how often each label occurs, by first occurrence."""
    return {str(entry["values"]): entry["counts"] for entry in labels.value_counts().to_pylist()}


def _natural(name: str) -> tuple[int, int, str]:
    digits = name.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= INT_DIGITS:
        return (0, int(name), name)
    return (1, 0, name)


class RowLabels:
    """Gives the rows of label columns their numbers: classes, or sets of classes.

    Args:
        names: the labels that have a class.
        separator: what parts the labels of a cell; None: a cell is one label.
        may_be_none: whether a cell may hold the separator alone, for a row without a label.
        soft: whether a cell gives each label a share.

    >>> rows = RowLabels(LabelSet(("a", "b"), (0, 0)), "|")
    >>> rows.numbers(pa.array(["b|a", "b", "a| b", "c"])).tolist()  # c has no class
    [0, 1, 0, -1]
    >>> rows.sets.to_lists()
    [[0, 1], [1]]
    """

    def __init__(
        self,
        names: LabelSet,
        separator: str | None = None,
        *,
        may_be_none: bool = False,
        soft: bool = False,
    ) -> None:
        self.names, self.separator = names, separator
        self.may_be_none, self.soft = may_be_none, soft
        self._class_of = {name: number for number, name in enumerate(names.names)}
        self._set_of: dict[str, int] = {}  # by cell
        self._sets: dict[tuple[tuple[int, ...], tuple[float, ...]], int] = {}  # classes and shares

    @classmethod
    def build(
        cls,
        columns: Sequence[pa.StringArray],
        order: Sequence[str] | None = None,
        separator: str | None = None,
        *,
        may_be_none: bool = False,
        soft: bool = False,
        min_count: int = 1,
    ) -> RowLabels:
        """Find the labels of some columns; names in ``order`` come first.

        Where a row may have several labels, those seen less than ``min_count`` times get no class.

        Raises:
            DataError: with ``soft``, the shares of a cell are no distribution.
        """
        if separator is None:
            return cls(LabelSet.build(columns, order))
        counts: Counter[str] = Counter()
        for column in columns:
            counts.update(label_counts(column))
        read = _shares if soft else split_cell
        seen: Counter[str] = Counter()
        for cell, rows in counts.items():
            for label in read(cell, separator):
                seen[label] += rows
        found = [label for label, rows in seen.items() if rows >= min_count]
        names = LabelSet.build([string_array(found)], order)
        return cls(names, separator, may_be_none=may_be_none, soft=soft)

    @property
    def sets(self) -> Ragged | None:
        """The classes of each set, in ascending order, [S]; None where a row has one label."""
        if self.separator is None:
            return None
        if self.soft:
            return LabelShares.of(list(self._sets))
        return Ragged.from_lists([list(classes) for classes, _ in self._sets])

    def numbers(self, column: pa.StringArray) -> I64:
        """Return the class or the set of each row, [B]; -1 where no label of it has a class."""
        if self.separator is None:
            return self.names.ids(column)
        cells = column.dictionary_encode()
        numbers = np.array([self._number(cell) for cell in cells.dictionary.to_pylist()], np.int64)
        return numbers[np.asarray(cells.indices)] if len(column) else np.empty(0, np.int64)

    def _number(self, cell: str) -> int:
        if cell not in self._set_of:
            assert self.separator is not None
            labels: Collection[str]
            if self.soft:
                labels = shares = _shares(cell, self.separator)
            else:
                labels, shares = split_cell(cell, self.separator), {}
            known = sorted(self._class_of[label] for label in labels if label in self._class_of)
            number = -1
            if known or (self.may_be_none and not labels):
                # Where a label has no class, the others take its share.
                of_known = [shares.get(self.names.names[c], 0.0) for c in known] if shares else []
                scaled = tuple(share / sum(of_known) for share in of_known)
                number = self._sets.setdefault((tuple(known), scaled), len(self._sets))
            self._set_of[cell] = number
        return self._set_of[cell]

    def counted(self, numbers: I64) -> LabelSet:
        """Return the names with the number of these rows that have each."""
        sets = self.sets
        return self.names.counted(numbers if sets is None else sets.take(numbers).indices)


def _shares(cell: str, separator: str) -> dict[str, float]:
    try:
        return shares_of_cell(cell, separator)
    except ValueError as error:  # of labels given in Python; a source says in which row
        raise DataError(f"the label {cell!r}: {error}") from None


def split_cell(cell: str, separator: str) -> list[str]:
    """Return the labels of a cell.

    >>> split_cell("news, sport,,news", ",")
    ['news', 'sport']
    """
    return list(dict.fromkeys(part for label in cell.split(separator) if (part := label.strip())))

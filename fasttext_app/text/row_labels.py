"""What the label cells of rows say: one label each, or several with a separator between them.

Rows of several labels have few distinct sets of them. Each distinct set has a number, which is what
a row carries through training, as a row of one label carries its class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttext_app.text.ragged import Ragged
from fasttext_app.text.vocabulary import LabelSet, label_counts

__all__ = ["RowLabels", "held_out_rows", "split_cell"]

I64 = npt.NDArray[np.int64]


class RowLabels:
    """Gives the rows of label columns their numbers: classes, or sets of classes.

    Args:
        names: the labels that have a class.
        separator: what parts the labels of a cell; None: a cell is one label.
        may_be_none: whether a cell may hold the separator alone, for a row without a label.

    >>> rows = RowLabels(LabelSet(("a", "b"), (0, 0)), "|")
    >>> rows.numbers(pa.array(["b|a", "b", "a| b", "c"])).tolist()  # c has no class
    [0, 1, 0, -1]
    >>> rows.sets.to_lists()
    [[0, 1], [1]]
    """

    def __init__(
        self, names: LabelSet, separator: str | None = None, *, may_be_none: bool = False
    ) -> None:
        self.names, self.separator, self.may_be_none = names, separator, may_be_none
        self._class_of = {name: number for number, name in enumerate(names.names)}
        self._set_of: dict[str, int] = {}  # by cell
        self._sets: dict[tuple[int, ...], int] = {}

    @classmethod
    def build(
        cls,
        columns: Sequence[pa.StringArray],
        order: Sequence[str] | None = None,
        separator: str | None = None,
        *,
        may_be_none: bool = False,
        min_count: int = 1,
    ) -> RowLabels:
        """Find the labels of some columns; names in ``order`` come first.

        Where a row may have several labels, those seen less than ``min_count`` times get no class.
        """
        if separator is None:
            return cls(LabelSet.build(columns, order))
        counts: Counter[str] = Counter()
        for column in columns:
            counts.update(label_counts(column))
        seen: Counter[str] = Counter()
        for cell, rows in counts.items():
            for label in split_cell(cell, separator):
                seen[label] += rows
        found = [label for label, rows in seen.items() if rows >= min_count]
        names = LabelSet.build([pa.array(found, pa.string())], order)
        return cls(names, separator, may_be_none=may_be_none)

    @property
    def sets(self) -> Ragged | None:
        """The classes of each set, in ascending order, [S]; None where a row has one label."""
        if self.separator is None:
            return None
        return Ragged.from_lists([list(classes) for classes in self._sets])

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
            labels = split_cell(cell, self.separator)
            known = {self._class_of[label] for label in labels if label in self._class_of}
            number = -1
            if known or (self.may_be_none and not labels):
                number = self._sets.setdefault(tuple(sorted(known)), len(self._sets))
            self._set_of[cell] = number
        return self._set_of[cell]

    def counted(self, numbers: I64) -> LabelSet:
        """Return the names with the number of these rows that have each."""
        sets = self.sets
        return self.names.counted(numbers if sets is None else sets.take(numbers).indices)


def split_cell(cell: str, separator: str) -> list[str]:
    """Return the labels of a cell.

    >>> split_cell("news, sport,,news", ",")
    ['news', 'sport']
    """
    return list(dict.fromkeys(part for label in cell.split(separator) if (part := label.strip())))


def held_out_rows(
    classes: I64, fraction: float, seed: int, sets: Ragged | None = None
) -> npt.NDArray[np.bool_]:
    """Choose rows at random for validation, [rows].

    A label whose rows would all be held out keeps one of them in training.

    Args:
        classes: the class of each row; where there are ``sets``, the number of one.
        fraction: of the rows.
        seed: decides which.
        sets: the classes of each set.
    """
    chosen = np.zeros(len(classes), dtype=bool)
    held = round(len(classes) * fraction)
    if held:
        chosen[np.random.default_rng(seed).permutation(len(classes))[:held]] = True
        rows = np.arange(len(classes))
        if sets is not None:
            rows = np.repeat(rows, sets.lengths[classes])
            classes = sets.take(classes).indices
        found, first = np.unique(classes, return_index=True)
        chosen[rows[first[~np.isin(found, classes[~chosen[rows]])]]] = False
    return chosen

"""Labels: the names a model can predict, and the class ids of the label cells of rows.

With one label a row, the target of a row is its class id. Rows with several labels have few
distinct label sets, so each distinct set gets an id, and the target of a row is the id of its set.
The classes of a set can have probabilities (:mod:`fasttext_app.data.soft_labels`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fasttext_app.core.arguments import string
from fasttext_app.core.arrays import I64
from fasttext_app.core.arrow import string_array, to_numpy
from fasttext_app.core.ragged import Ragged
from fasttext_app.errors import ConfigError, did_you_mean

SHOWN_LABELS = 20  # in an error message
MIN_JOINED_SHARE = 0.01  # of the rows
INT_DIGITS = 640  # int() reads a string of this many digits under any limit that Python is run with


@dataclass(frozen=True)
class Labels:
    """C label names in the order of their classes, with the number of training rows of each.

    The order is that of the data's own class names, if it has any. Otherwise whole numbers come
    first, by value, then other names in alphabetical order.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]

    @classmethod
    def build(cls, columns: Sequence[pa.StringArray], order: Sequence[str] | None = None) -> Labels:
        """Count the labels of some columns; names in ``order`` come first, even those without rows.

        >>> Labels.build([pa.array(["10", "9"]), pa.array(["10"])])
        Labels(names=('9', '10'), counts=(1, 2))
        """
        counts: Counter[str] = Counter()
        for column in columns:
            counts.update(value_counts(column))
        first = list(order or ())
        others = [name for name in counts if name not in set(first)]
        names = tuple(first + sorted(others, key=_natural_order))
        return cls(names, tuple(counts[name] for name in names))

    def with_counts_of(self, class_ids: I64) -> Labels:
        """Return the same names with the counts of these rows."""
        return Labels(self.names, tuple(np.bincount(class_ids, minlength=len(self)).tolist()))

    def __len__(self) -> int:
        return len(self.names)

    def class_ids(self, labels: pa.Array | pa.ChunkedArray) -> I64:
        """Return the class id of each label, [B]; -1 for an unknown label."""
        import pyarrow.compute as pc  # importing it takes as long as a few predictions

        ids = pc.index_in(labels, value_set=string_array(self.names))
        ids = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
        ids = ids.fill_null(-1) if ids.null_count else ids
        class_ids: I64 = to_numpy(ids).astype(np.int64)
        return class_ids


@dataclass(frozen=True)
class JoinedCells:
    """Cells that seem to hold several labels.

    Attributes:
        separator: what seems to separate the labels.
        example: one of the cells.
        rows: the number of rows with such a cell.
        are_labels: whether the parts of a cell are labels of other rows; otherwise they are only
            parts of other cells too.
    """

    separator: str
    example: str
    rows: int
    are_labels: bool


def joined_cells(rows_of: Mapping[str, int]) -> JoinedCells | None:
    """Return the cells that seem to hold several labels, if they are 1 in 100 rows or more.

    >>> joined_cells({"sport": 5, "money": 3, "sport|money": 2})
    JoinedCells(separator='|', example='sport|money', rows=2, are_labels=True)
    >>> joined_cells({"arts, crafts": 5, "sport": 5})

    Args:
        rows_of: the number of rows of each cell.
    """
    total = sum(rows_of.values())
    for separator in "|;,":
        parts_of = {
            cell: parts
            for cell in rows_of
            if len(parts := [part.strip() for part in cell.split(separator)]) > 1 and all(parts)
        }
        cells_of = Counter(part for parts in parts_of.values() for part in set(parts))
        for are_labels in (True, False):
            joined = [
                cell
                for cell, parts in parts_of.items()
                if all(part in rows_of if are_labels else cells_of[part] > 1 for part in parts)
            ]
            rows = sum(rows_of[cell] for cell in joined)
            if joined and rows >= MIN_JOINED_SHARE * total:
                return JoinedCells(separator, joined[0], rows, are_labels)
    return None


def find_label(label: str, names: Sequence[str], setting: str = "") -> int:
    """Return the class id of a label.

    Args:
        label: the label.
        names: the known labels, in the order of their class ids.
        setting: the setting that names the label, for the error message.

    Raises:
        ConfigError: the label is unknown; the message suggests another one.

    >>> find_label("sport", ["money", "sport"])
    1
    """
    if string(setting or "label", label) in names:
        return names.index(label)
    more = f" and {len(names) - SHOWN_LABELS:,} more" if len(names) > SHOWN_LABELS else ""
    known = f"; the labels are {', '.join(names[:SHOWN_LABELS])}{more}"
    where = f"{setting}: " if setting else ""
    raise ConfigError(f"{where}there is no label {label!r}{did_you_mean(label, names) or known}")


def value_counts(labels: pa.StringArray) -> dict[str, int]:
    """Return how often each value occurs, in the order of first occurrence."""
    return {str(entry["values"]): entry["counts"] for entry in labels.value_counts().to_pylist()}


def _natural_order(name: str) -> tuple[int, int, str]:
    digits = name.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= INT_DIGITS:
        return (0, int(name), name)
    return (1, 0, name)


class LabelEncoder:
    """Encodes label cells as targets: class ids, or the ids of label sets.

    Args:
        labels: the labels that have a class.
        separator: the separator between labels in a cell; None: a cell is one label.
        allow_empty: whether a cell may hold the separator alone, for a row without a label.
        soft: whether cells give each label a probability.

    >>> encoder = LabelEncoder(Labels(("a", "b"), (0, 0)), "|")
    >>> encoder.encode(pa.array(["b|a", "b", "a| b", "c"])).tolist()  # c is unknown
    [0, 1, 0, -1]
    >>> encoder.label_sets.to_lists()
    [[0, 1], [1]]
    """

    def __init__(
        self,
        labels: Labels,
        separator: str | None = None,
        *,
        allow_empty: bool = False,
        soft: bool = False,
    ) -> None:
        self.labels, self.separator = labels, separator
        self.allow_empty, self.soft = allow_empty, soft
        self._class_of = {name: class_id for class_id, name in enumerate(labels.names)}
        self._target_of: dict[str, int] = {}  # by cell
        self._set_ids: dict[tuple[tuple[int, ...], tuple[float, ...]], int] = {}
        """The id of each set, by its classes and their probabilities."""

    @classmethod
    def build(
        cls,
        columns: Sequence[pa.StringArray],
        order: Sequence[str] | None = None,
        separator: str | None = None,
        *,
        allow_empty: bool = False,
        soft: bool = False,
        min_count: int = 1,
    ) -> LabelEncoder:
        """Build an encoder for the labels of some columns; names in ``order`` come first.

        Where rows can have several labels, those with fewer than ``min_count`` rows get no class.

        Raises:
            DataError: ``soft`` is set, and a cell is malformed.
        """
        if separator is None:
            return cls(Labels.build(columns, order))
        cells: Counter[str] = Counter()
        for column in columns:
            cells.update(value_counts(column))
        rows_of: Counter[str] = Counter()
        for cell, rows in cells.items():
            for label in cell_labels(cell, separator, soft=soft):
                rows_of[label] += rows
        frequent = [label for label, rows in rows_of.items() if rows >= min_count]
        labels = Labels.build([string_array(frequent)], order)
        return cls(labels, separator, allow_empty=allow_empty, soft=soft)

    @property
    def label_sets(self) -> Ragged | None:
        """The class ids of each set, in ascending order; None where a row has one label."""
        if self.separator is None:
            return None
        if self.soft:
            from fasttext_app.data.soft_labels import SoftLabels

            return SoftLabels.build(list(self._set_ids))
        return Ragged.from_lists([list(class_ids) for class_ids, _ in self._set_ids])

    def encode(self, column: pa.StringArray) -> I64:
        """Return the target of each row, [B]; -1 where none of its labels has a class."""
        if self.separator is None:
            return self.labels.class_ids(column)
        cells = column.dictionary_encode()
        targets = np.array([self._target(cell) for cell in cells.dictionary.to_pylist()], np.int64)
        return targets[np.asarray(cells.indices)] if len(column) else np.empty(0, np.int64)

    def _target(self, cell: str) -> int:
        if cell not in self._target_of:
            assert self.separator is not None
            labels = cell_labels(cell, self.separator, soft=self.soft)
            class_ids = sorted(self._class_of[label] for label in labels if label in self._class_of)
            target = -1
            if class_ids or (self.allow_empty and not labels):
                probabilities: tuple[float, ...] = ()
                if isinstance(labels, dict):
                    # The probability of a label without a class goes to those that have one.
                    known = [labels[self.labels.names[class_id]] for class_id in class_ids]
                    probabilities = tuple(value / sum(known) for value in known)
                key = tuple(class_ids), probabilities
                target = self._set_ids.setdefault(key, len(self._set_ids))
            self._target_of[cell] = target
        return self._target_of[cell]

    def count(self, targets: I64) -> Labels:
        """Return the labels with the number of these rows that have each."""
        label_sets = self.label_sets
        if label_sets is not None:
            targets = label_sets.take(targets).indices
        return self.labels.with_counts_of(targets)


def cell_labels(cell: str, separator: str | None, *, soft: bool = False) -> Collection[str]:
    """Return the distinct labels of a cell, with their probabilities where they have them.

    >>> cell_labels("news, sport,,news", ","), cell_labels("news, sport", None)
    (['news', 'sport'], ['news, sport'])
    >>> cell_labels("news=0.7,sport=0.3", ",", soft=True)
    {'news': 0.7, 'sport': 0.3}

    Raises:
        DataError: ``soft`` is set, and the cell is malformed.
    """
    if separator is None:
        return [cell]
    if soft:
        from fasttext_app.data.soft_labels import parse_soft_labels

        return parse_soft_labels(cell, separator)
    return list(dict.fromkeys(part for label in cell.split(separator) if (part := label.strip())))

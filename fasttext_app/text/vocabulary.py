"""Which words and labels have a row, in which order, and how often each was seen in training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fasttext_app.text.tokenizers import Tokens

__all__ = ["LabelSet", "Vocabulary"]

DICT_BELOW = 4096  # so few look-ups are faster in a dict than in a hash table built for the call
INT_DIGITS = 640  # whatever limit Python is run with, int() reads a string of so many digits


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """V words with their counts: by descending count, equal counts by UTF-8 byte order.

    A word outside has no row and adds nothing by itself; its hash still takes part in word
    n-grams, and its character n-grams have their rows.
    """

    words: pa.StringArray  # [V]
    counts: npt.NDArray[np.int64]  # [V]

    @classmethod
    def build(cls, parts: Iterable[Tokens], min_count: int = 1, max_size: int = 0) -> Vocabulary:
        """Count the words of all ``parts``, and keep those seen at least ``min_count`` times.

        Args:
            parts: the tokens of all training texts, in any number of pieces.
            min_count: words seen less often are left out.
            max_size: at most this many words; 0 means no limit.

        >>> Vocabulary.build([Tokens.from_lists([["b", "a", "b"], ["c"]])]).words.to_pylist()
        ['b', 'a', 'c']
        """
        counted = [part.values.value_counts() for part in parts]
        empty = pa.array([], pa.string()).value_counts()
        counts = pa.chunked_array([*counted, empty])
        table = pa.Table.from_struct_array(counts).group_by("values").aggregate([("counts", "sum")])
        table = table.filter(pc.greater_equal(table["counts_sum"], min_count))
        table = table.sort_by([("counts_sum", "descending"), ("values", "ascending")])
        if max_size:
            table = table.slice(0, max_size)
        return cls(
            table["values"].combine_chunks().cast(pa.string()), table["counts_sum"].to_numpy()
        )

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def _id_of(self) -> dict[str, int]:
        return {word: row for row, word in enumerate(self.words.to_pylist())}

    def ids(self, words: pa.StringArray) -> npt.NDArray[np.int32]:
        """Return the row of each word, [W]; -1 for a word outside."""
        if len(words) < DICT_BELOW:
            look_up = self._id_of.get
            return np.array([look_up(word, -1) for word in words.to_pylist()], dtype=np.int32)
        found = pc.index_in(words, value_set=self.words)
        rows: npt.NDArray[np.int32] = found.fill_null(-1).to_numpy()
        return rows


@dataclass(frozen=True)
class LabelSet:
    """C label names with the number of training rows of each.

    The order is the one that the data gives (class names of a dataset); without one, whole numbers
    go by value and other names by text.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]

    @classmethod
    def build(cls, labels: Sequence[str], order: Sequence[str] | None = None) -> LabelSet:
        """Count ``labels``; names in ``order`` come first and stay even if no row has them.

        >>> LabelSet.build(["10", "9", "10"])
        LabelSet(names=('9', '10'), counts=(1, 2))
        """
        counted = pa.array(labels, pa.string()).value_counts()
        counts = {entry["values"]: entry["counts"] for entry in counted.to_pylist()}
        named = list(order or ())
        others = [name for name in counts if name not in set(named)]
        names = tuple(named + sorted(others, key=_natural))
        return cls(names, tuple(counts.get(name, 0) for name in names))

    def __len__(self) -> int:
        return len(self.names)

    def ids(self, labels: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """Return the class of each label, [B]; -1 for a label outside."""
        found = pc.index_in(labels, value_set=pa.array(self.names, pa.string())).fill_null(-1)
        classes: npt.NDArray[np.int64] = found.to_numpy().astype(np.int64)
        return classes


def _natural(name: str) -> tuple[int, int, str]:
    digits = name.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= INT_DIGITS:
        return (0, int(name), name)
    return (1, 0, name)

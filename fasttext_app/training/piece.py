"""A piece of an epoch: many batches, cut by one call of compiled code, as one set of arrays."""

from __future__ import annotations

from typing import NamedTuple

from fasttext_app.core.arrays import F32, I32, I64


class Piece(NamedTuple):
    """The batches of a piece end to end; ``*_bounds`` [batches + 1] cut the arrays into batches.

    A text is a bag of *units*: its words, if they have character n-grams, and otherwise the text
    is a unit itself. A unit is a bag of table rows. Offsets count from the start of their batch and
    have one entry more for each batch. Weights are [1] if all are 1.
    """

    ids: I32
    """The rows of each unit."""
    weights: F32
    """The weight of each id in its unit."""
    id_bounds: I64
    unit_starts: I32
    """Offsets of each unit in ``ids``."""
    unit_bounds: I64

    rows: I32
    """The distinct rows of each batch."""
    row_bounds: I64
    row_starts: I32
    """Offsets of each row in ``row_units``."""
    row_units: I32
    """The units of each row."""
    row_weights: F32
    """The weight of the row in each of them."""
    group_bounds: I64
    """Cuts ``row_units``."""

    words: I32
    """The units of each text, if units are words."""
    text_starts: I32
    """Offsets of each text in ``words``."""
    word_texts: I32
    """The texts of each unit."""
    word_starts: I32
    """Offsets of each unit in ``word_texts``."""
    use_bounds: I64
    """Cuts ``words`` and ``word_texts``."""
    scales: F32
    """The factor of the sum of each text."""

    labels: I64
    """The class of each text."""
    text_weights: F32
    """The weight of each text in the loss; [0]: 1."""
    batch_size: int
    by_word: bool
    mean: bool
    """Whether a unit, which is a text, is the mean of its rows, not the sum."""

    @property
    def texts(self) -> int:
        """The number of texts."""
        return len(self.labels)

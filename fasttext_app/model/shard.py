"""``Columns``: the columns of the embedding table that one process of a run holds.

A process pools its own columns, [B, D / processes]; the processes exchange them, and each has the
vectors of the texts, [B, D]. So only vectors of texts go over the wire, whatever the size of the
table. Every number of the table is computed by one process, in the order in which a single process
would compute it: the table is bit-identical for any number of processes.
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fasttext_app.core.arrays import F32
from fasttext_app.core.group import Group
from fasttext_app.errors import ConfigError, TrainingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BLOCK = 1 << 20  # numbers of a table that are drawn or exchanged at a time


class Columns:
    """The columns of a table [V, D] that this process holds.

    Args:
        group: the processes of the run.
        dim: D.

    Raises:
        ConfigError: there are more processes than columns.

    >>> [Columns(Group(rank, 3), 8).slice for rank in range(3)]
    [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None)]
    """

    def __init__(self, group: Group, dim: int) -> None:
        if group.size > dim:
            raise ConfigError(
                f"{group.size} processes cannot share the {dim} columns of the table; "
                "start fewer, or raise model.dim"
            )
        self.group, self.dim = group, dim
        bounds = [-(-rank * dim // group.size) for rank in range(group.size + 1)]
        self.slices = [slice(*pair) for pair in pairwise(bounds)]
        """The columns of each process."""
        self.slice = self.slices[group.rank]
        self._widest = max(columns.stop - columns.start for columns in self.slices)

    @property
    def width(self) -> int:
        """The number of columns of this process."""
        return int(self.slice.stop - self.slice.start)

    def draw(self, rows: int, generator: torch.Generator | None) -> Tensor:
        """Return the columns of a new table, [rows, width].

        The numbers of all columns are drawn, a block of rows at a time, because a generator gives
        them in this order; a table of 3 billion numbers takes half a minute.
        """
        import torch

        table, block = torch.empty(rows, self.width), max(BLOCK // self.dim, 1)
        for start in range(0, rows, block):
            size = min(block, rows - start), self.dim
            drawn = torch.empty(size).uniform_(-1 / self.dim, 1 / self.dim, generator=generator)
            table[start : start + block] = drawn[:, self.slice]
        return table

    def join(self, vectors: Tensor) -> Tensor:
        """Return whole vectors, [B, D], given the columns of this process, [B, width].

        The flags of the group go along; see :class:`~fasttext_app.core.group.Group`.
        """
        texts, group = len(vectors), self.group
        if group.size == 1:
            group.flags = group.raised
            return vectors
        sent = vectors.new_zeros(texts * self._widest + 1)
        sent[:-1].view(texts, self._widest)[:, : self.width] = vectors
        sent[-1] = group.raised
        received = group.all_gather(sent)
        group.flags = 0
        for flags in received[:, -1].tolist():
            group.flags |= int(flags)
        joined = vectors.new_empty(texts, self.dim)
        for part, columns in zip(received[:, :-1], self.slices, strict=True):
            width = columns.stop - columns.start
            joined[:, columns] = part.view(texts, self._widest)[:, :width]
        return joined

    def collect(self, table: F32) -> F32:
        """Return the whole table on the main process, and one without rows on the others.

        The main process writes the table to a temporary file, a block of rows at a time, and maps
        it: no process holds the whole table in its memory.

        Args:
            table: the columns of this process, [V, width].

        Raises:
            TrainingError: the file cannot be written.
        """
        if self.group.size == 1:
            return table
        import torch

        whole = np.empty((0, self.dim), np.float32)
        block = max(BLOCK // self.dim, 1)

        def new_file() -> F32:
            if not self.group.is_main:
                return whole
            try:
                with tempfile.TemporaryFile(prefix="fasttext_app-") as file:
                    return np.memmap(file, np.float32, "w+", shape=(len(table), self.dim)).view(
                        np.ndarray
                    )
            except OSError as error:
                raise TrainingError(
                    f"{tempfile.gettempdir()}: the table cannot be written there "
                    f"({error.strerror or error}); set TMPDIR to another folder"
                ) from None

        whole = self.group.all_or_none(new_file)
        for start in range(0, len(table), block):
            rows = torch.from_numpy(np.ascontiguousarray(table[start : start + block]))
            joined = self.join(rows)
            if self.group.is_main:
                whole[start : start + block] = joined.numpy()
        return whole

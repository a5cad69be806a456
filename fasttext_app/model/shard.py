"""``Share``: the part of the embedding table that one process of a run holds.

With :class:`Columns`, a process pools its own columns, [B, D / processes]; the processes exchange
them, and each has the vectors of the texts, [B, D]. With :class:`Rows`, it sums those rows of each
text that it holds, and the processes add up their sums, [B, D]. So only vectors of texts go over
the wire, whatever the size of the table. Every number of the table is computed by one process, in
the order in which a single process would compute it: on CPUs, the table is bit-identical for any
number of processes.

Floats that are added in another order give another sum. A text has rows in several processes, so
:class:`Rows` sums whole numbers: each term is rounded to a multiple of 2^-40. Such sums are exact
in any order.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from itertools import pairwise
from math import lcm
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fasttext_app.core.arrays import F32, I32, I64
from fasttext_app.core.group import SAVE, STOP, Group
from fasttext_app.errors import ConfigError, TrainingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

BLOCK = 1 << 20  # numbers of a table that are drawn or exchanged at a time
Part = tuple[range, range]
"""Some rows and columns of a table."""


class Share(ABC):
    """The part of a table [V, D] that this process holds.

    Args:
        group: the processes of the run.
        rows: V.
        dim: D.

    Raises:
        ConfigError: there are more processes than parts.
    """

    kind: ClassVar[str]
    """What is divided, as ``trainer.shard`` names it."""

    def __init__(self, group: Group, rows: int, dim: int) -> None:
        self.group, self.rows, self.dim = group, rows, dim
        self.parts = [self.part_of(*bounds) for bounds in self._bounds()]
        """The part of each process."""
        self.part = self.parts[group.rank]

    @abstractmethod
    def _bounds(self) -> list[tuple[int, int]]:
        """Return two numbers for each process, which tell its part from all others."""

    @abstractmethod
    def part_of(self, *bounds: int) -> Part:
        """Return the part that has these numbers."""

    @abstractmethod
    def bags(
        self, embedding: nn.EmbeddingBag, ids: Tensor, offsets: Tensor, weights: Tensor | None
    ) -> Tensor:
        """Return whole vectors of texts, [B, D]; the processes exchange what each has of them.

        The flags of the group go along; see :class:`~fasttext_app.core.group.Group`. A backward
        pass gives each process the gradient of its part, without an exchange.

        Args:
            embedding: has the part of this process, on any device.
            ids: rows of the whole table, [N].
            offsets: the bounds of each text.
            weights: the weight of each id, [N]; None: 1.
        """

    @property
    def name(self) -> str:
        """The name of the part, for a file."""
        first, second = self._bounds()[self.group.rank]
        return f"{self.kind}-{first:05d}-{second:05d}"

    def draw(self, generator: torch.Generator | None) -> Tensor:
        """Return the part of a new table.

        The numbers of the whole table are drawn, a block of rows at a time, because a generator
        gives them in this order; a table of 3 billion numbers takes half a minute.
        """
        import torch

        (rows, columns), dim = self.part, self.dim
        table = torch.empty(len(rows), len(columns))
        block = max(BLOCK // dim // rows.step, 1) * rows.step
        for start in range(0, self.rows, block):
            size = min(block, self.rows - start), dim
            drawn = torch.empty(size).uniform_(-1 / dim, 1 / dim, generator=generator)
            own = drawn[rows.start :: rows.step, columns.start : columns.stop]
            first = start // rows.step
            table[first : first + len(own)] = own
        return table

    def take(self, rows: I64, vectors: F32) -> tuple[I64, F32]:
        """Return what this process holds of some rows: their numbers in the part, and the numbers.

        Args:
            rows: rows of the whole table, [R].
            vectors: their numbers, [R, D].
        """
        own_rows, columns = self.part
        own = np.flatnonzero(rows % own_rows.step == own_rows.start)
        return rows[own] // own_rows.step, vectors[own, columns.start : columns.stop]

    def collect(self, table: F32) -> F32:
        """Return the whole table on the main process, and one without rows on the others.

        The main process writes the table to a temporary file, a block of rows at a time, and maps
        it: no process holds the whole table in its memory.

        Args:
            table: the part of this process.

        Raises:
            TrainingError: the file cannot be written.
        """
        if self.group.size == 1:
            return table
        import torch

        whole = np.empty((0, self.dim), np.float32)

        def new_file() -> F32:
            if not self.group.is_main:
                return whole
            try:
                with tempfile.TemporaryFile(prefix="fasttext_app-") as file:
                    return np.memmap(file, np.float32, "w+", shape=(self.rows, self.dim)).view(
                        np.ndarray
                    )
            except OSError as error:
                raise TrainingError(
                    f"{tempfile.gettempdir()}: the table cannot be written there "
                    f"({error.strerror or error}); set TMPDIR to another folder"
                ) from None

        whole = self.group.all_or_none(new_file)
        height, width = (max(map(len, ranges)) for ranges in zip(*self.parts, strict=True))
        block = max(BLOCK // (width * self.group.size), 1)
        for start in range(0, height, block):
            own = table[start : start + block]
            sent = np.zeros((min(block, height - start), width), np.float32)
            sent[: len(own), : own.shape[1]] = own
            received = self.group.all_gather(torch.from_numpy(sent))
            if self.group.is_main:
                for (rows, columns), values in zip(self.parts, received.numpy(), strict=True):
                    target = whole[rows.start :: rows.step, columns.start : columns.stop]
                    target = target[start : start + block]
                    target[:] = values[: len(target), : target.shape[1]]
        return whole


class Columns(Share):
    """Some neighboring columns.

    >>> [Columns(Group(rank, 3), 5, 8).part[1] for rank in range(3)]
    [range(0, 3), range(3, 6), range(6, 8)]
    """

    kind = "columns"

    def __init__(self, group: Group, rows: int, dim: int) -> None:
        if group.size > dim:
            raise ConfigError(
                f"{group.size} processes cannot share the {dim} columns of the table; "
                "start fewer, or raise model.dim"
            )
        super().__init__(group, rows, dim)
        self.slices = [slice(columns.start, columns.stop) for _, columns in self.parts]
        """The columns of each process."""
        self.slice = self.slices[group.rank]
        self._widest = max(len(columns) for _, columns in self.parts)

    def _bounds(self) -> list[tuple[int, int]]:
        size = self.group.size
        return [*pairwise(-(-rank * self.dim // size) for rank in range(size + 1))]

    def part_of(self, *bounds: int) -> Part:
        """Return the columns from the first number to the second."""
        return range(self.rows), range(*bounds)

    def bags(
        self, embedding: nn.EmbeddingBag, ids: Tensor, offsets: Tensor, weights: Tensor | None
    ) -> Tensor:
        """Return whole vectors of texts; see :class:`Share`."""
        from fasttext_app.model.shard_autograd import join_columns

        own = embedding(ids, offsets, weights)
        if self.group.size == 1:
            return self.join(own)
        return join_columns(own, self.slice, self.join)

    def join(self, vectors: Tensor) -> Tensor:
        """Return whole vectors, [B, D], given the columns of this process, [B, width].

        The flags of the group go along; see :class:`~fasttext_app.core.group.Group`.
        """
        texts, group = len(vectors), self.group
        if group.size == 1:
            group.flags = group.raised
            return vectors
        sent = vectors.new_zeros(texts * self._widest + 1)
        sent[:-1].view(texts, self._widest)[:, : vectors.shape[1]] = vectors
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


class Rows(Share):
    """Every n-th row, for n processes: frequent words come first, so each process has some.

    >>> [Rows(Group(rank, 3), 7, 2).part[0] for rank in range(3)]
    [range(0, 7, 3), range(1, 7, 3), range(2, 7, 3)]
    """

    kind = "rows"

    def __init__(self, group: Group, rows: int, dim: int) -> None:
        if group.size > rows:
            raise ConfigError(
                f"{group.size} processes cannot share the {rows} rows of the table; start fewer"
            )
        super().__init__(group, rows, dim)

    def _bounds(self) -> list[tuple[int, int]]:
        return [(rank, self.group.size) for rank in range(self.group.size)]

    def part_of(self, *bounds: int) -> Part:
        """Return the rows from the first number, in steps of the second."""
        first, step = bounds
        return range(first, self.rows, step), range(self.dim)

    def bags(
        self, embedding: nn.EmbeddingBag, ids: Tensor, offsets: Tensor, weights: Tensor | None
    ) -> Tensor:
        """Return whole vectors of texts; see :class:`Share`."""
        import torch

        from fasttext_app.model.shard_autograd import add_up_rows

        bounds, table = offsets, embedding.weight
        if not embedding.include_last_offset:
            bounds = torch.cat([offsets, offsets.new_tensor([len(ids)])])
        if table.is_cuda or torch.is_grad_enabled():
            vectors = add_up_rows(embedding, self.part[0], ids, bounds, weights, self.add_up)
        else:
            numbers, starts = (values.int().numpy() for values in (ids, bounds))
            id_weights = np.ones(1, np.float32) if weights is None else weights.numpy()
            sums = self.sums(table.numpy(), numbers, starts, id_weights)
            vectors = self.add_up(torch.from_numpy(sums))
        if embedding.mode == "mean":
            vectors = vectors / bounds.diff().clamp(min=1)[:, None]
        return vectors

    def sums(self, table: F32, ids: I32, offsets: I32, weights: F32) -> I64:
        """Sum the rows of each bag that this process holds; see ``shard_kernels.sum_rows``."""
        from fasttext_app.model.shard_kernels import sum_rows

        rows = self.part[0]
        return sum_rows(table, ids, offsets, weights, rows.start, rows.step)

    def add_up(self, sums: Tensor) -> Tensor:
        """Return the sums of all processes, [B, D], given those of this one, [B, D + 1].

        Raises:
            TrainingError: a sum is not finite, or too large; on all processes alike.
        """
        import torch

        from fasttext_app.model.shard_kernels import LARGEST, SCALE, SIZE_SCALE

        group, flags = self.group, (STOP, SAVE)
        raised = sums.new_tensor([int(bool(group.raised & flag)) for flag in flags])
        sent = torch.cat([sums.flatten(), raised])
        group.sum(sent)
        total, counts = sent[: sums.numel()].view_as(sums), sent[sums.numel() :].tolist()
        group.flags = sum(flag for flag, count in zip(flags, counts, strict=True) if count)
        if len(total) and total[:, -1].max() > LARGEST * SIZE_SCALE:
            raise TrainingError(
                "the numbers of a text's rows are not finite, or add up to more than "
                f'{LARGEST:,}, the limit of trainer.shard = "rows"; lower optimizer.lr'
            )
        return (total[:, :-1].double() * (1 / SCALE)).float()


SHARES: dict[str, type[Share]] = {share.kind: share for share in (Columns, Rows)}
"""By the name in ``trainer.shard``."""


def overlap(one: range, other: range) -> tuple[slice, slice] | None:
    """Return the numbers that two ranges have in common, as slices of each; None: there are none.

    >>> overlap(range(0, 20, 2), range(2, 20, 3))
    (slice(1, 8, 3), slice(0, 5, 2))
    >>> overlap(range(0, 20, 2), range(1, 20, 4)) is None
    True
    """
    start, stop = max(one.start, other.start), min(one.stop, other.stop)
    step = lcm(one.step, other.step)
    candidates = range(start, min(start + step, stop))
    first = next((number for number in candidates if number in one and number in other), stop)
    common = range(first, stop, step)
    if not common:
        return None

    def within(numbers: range) -> slice:
        places = numbers.index(common[0]), numbers.index(common[-1])
        return slice(places[0], places[1] + 1, step // numbers.step)

    return within(one), within(other)

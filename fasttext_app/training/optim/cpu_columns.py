"""Threads that train on the same batches, each on its own columns of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import numpy as np

from fasttext_app.core.arrays import F32, F64, on_cache_lines
from fasttext_app.core.barrier import new_barrier
from fasttext_app.core.vectors import LANES, LINE, PANEL
from fasttext_app.training.batch_kernels import cut_batches, cut_words
from fasttext_app.training.optim.cpu_kernels import (
    CHUNK,
    NO_F32,
    NO_WINNERS,
    ONE,
    Columns,
    Plan,
    Shared,
    layer_gradients,
    pool_rows,
    step_rows,
    train_batches,
)
from fasttext_app.training.optim.rules import ROWWISE_ADAGRAD, SGD
from fasttext_app.training.piece import Piece

Arrays = tuple[F32, F32, F32]
"""A parameter and its first and second state, as matrices; [0, 0] where the rule has none."""
Result = TypeVar("Result")


MUCH_WORK = 64
"""Columns and classes of a thread from which its steps take much longer than cutting batches."""


def column_threads(dim: int, classes: int, threads: int) -> int:
    """Return how many of the threads share the columns, each at least a vector of them.

    The last one cuts batches ahead of the steps, unless the steps are long enough for all.

    >>> [column_threads(100, 4, threads) for threads in (1, 2, 3, 4)]
    [1, 1, 2, 3]
    >>> column_threads(128, 4, 2), column_threads(100, 2000, 2), column_threads(10, 2000, 2)
    (2, 2, 1)
    """
    everyone = dim + classes >= MUCH_WORK * threads
    return max(min(threads if everyone else threads - 1, dim // LANES), 1)


class ColumnThreads:
    """Trains a table and a linear layer on pieces, with the columns split among threads.

    A thread needs its columns in memory of its own: a cache line that two threads write to moves
    between their caches at every batch. So the threads work on copies, and :meth:`write_back` puts
    these into the parameters, where others read them. Only the layer is copied if there is one
    thread, or if the columns of each are whole cache lines of the table.

    Args:
        table: the table [V, D] and its state.
        weight: the weight of the layer [C, D] and its state.
        bias: the bias of the layer [C, 1] and its state.
        plan: what to do with a batch.
        threads: the number of threads.
    """

    def __init__(
        self, table: Arrays, weight: Arrays, bias: Arrays, plan: Plan, threads: int
    ) -> None:
        self._table, self._weight, self._bias, self._plan = table, weight, bias, plan
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "columns") if threads > 1 else None
        classes, dim = weight[0].shape
        blocks = -(-dim // LANES)
        bounds = [min(blocks * me // threads * LANES, dim) for me in range(threads)]
        self._bounds = np.array([*bounds, dim])
        width = int(np.diff(self._bounds).max())
        self._in_place = threads == 1 or (
            not (self._bounds % LINE).any() and table[0].ctypes.data % (LINE * 4) == 0
        )
        self._row_state = threads > 1 and plan.table_rule == ROWWISE_ADAGRAD  # copied whole
        self._room = (0, 0)  # texts and units of a batch
        chunk = CHUNK // _whole(width, LANES) if self._row_state else 1
        self._shared = Shared(
            bounds=self._bounds,
            stride=_odd_lines(width),
            bags=NO_F32,
            layer=_zeros(threads * _whole(classes, PANEL) * width),
            layer_stride=_whole(classes, PANEL) * width,
            bias=bias[0].flatten(),
            bias_first=bias[1].flatten(),
            bias_second=bias[2].flatten(),
            bias_gradient=_zeros(classes),
            logits=NO_F32,
            class_stride=_odd_lines(classes),
            text_losses=NO_F32,
            chunk=chunk,
            squares=_zeros(2 * chunk * blocks),
            counter=new_barrier(),
        )
        self._mine = self._on_all(self._take_columns)

    def train(self, piece: Piece, first_batch: int, settings: F32) -> F64:
        """Train on some batches of a piece; return their losses.

        Args:
            piece: the batches.
            first_batch: the first of them to train on.
            settings: of the table and of the layer for each batch, [batches, 8]; see
                ``cpu_kernels.step_rows``.
        """
        self._make_room(piece)
        losses = np.zeros(len(settings))
        flat_settings = settings.reshape(-1)
        self._shared.counter[0] = 0

        def work(me: int) -> None:
            train_batches(
                piece,
                self._mine[me],
                self._shared,
                self._plan,
                flat_settings,
                losses,
                first_batch,
                me,
                self._threads,
            )

        self._on_all(work)
        return losses

    def write_back(self) -> None:
        """Copy the columns of all threads to the parameters and their states."""
        self._on_all(self._put_columns)
        copies = self._shared.bias, self._shared.bias_first, self._shared.bias_second
        for parameter, values in zip(self._bias, copies, strict=True):
            parameter[:] = values.reshape(parameter.shape)

    def _take_columns(self, me: int) -> Columns:
        """Copy the columns of a thread, and make room for its buffers."""
        columns = slice(*self._bounds[me : me + 2])
        width, stride = int(columns.stop - columns.start), self._shared.stride
        classes = len(self._weight[0])
        table_stride = self._table[0].shape[1] if self._in_place else _whole(width, LANES)

        def own(values: F32) -> F32:
            if self._in_place:
                return values.reshape(-1)
            return _copied(values[:, columns], table_stride)

        table, first, second = self._table
        weight = [_copied(values[:, columns], stride) for values in self._weight]
        return Columns(
            table=own(table),
            first=first.flatten() if self._row_state else own(first),
            second=own(second),
            stride=table_stride,
            column=int(columns.start) if self._in_place else 0,
            width=width,
            weight=weight[0],
            weight_first=weight[1],
            weight_second=weight[2],
            weight_gradient=_zeros(classes * stride),
            bag_gradient=NO_F32,
            units=NO_F32,
            row_gradients=_zeros(self._shared.chunk * stride),
            probabilities=_zeros(classes),
        )

    def _put_columns(self, me: int) -> None:
        """Copy the columns of a thread to the parameters and their states."""
        mine, columns = self._mine[me], slice(*self._bounds[me : me + 2])

        weight = mine.weight, mine.weight_first, mine.weight_second
        pairs = [(*pair, self._shared.stride) for pair in zip(self._weight, weight, strict=True)]
        table = mine.table, mine.first, mine.second
        if not self._in_place:
            pairs += [(*pair, mine.stride) for pair in zip(self._table, table, strict=True)]
        for parameter, copy, stride in pairs:
            if parameter.shape[1] == self._bounds[-1]:
                parameter[:, columns] = copy.reshape(-1, stride)[:, : mine.width]
        if self._row_state and me == 0:
            self._table[1][:, 0] = mine.first

    def _make_room(self, piece: Piece) -> None:
        """Enlarge the buffers to the largest batch so far."""
        texts, units = min(piece.batch_size, piece.texts), int(np.diff(piece.unit_bounds).max())
        units = units if piece.by_word else 0
        if texts <= self._room[0] and units <= self._room[1]:
            return
        texts, units = self._room = max(texts, self._room[0]), max(units, self._room[1])
        shared = self._shared
        self._shared = shared._replace(
            bags=_zeros(self._threads * texts * shared.stride),
            logits=_zeros(texts * shared.class_stride),
            text_losses=_zeros(texts),
        )
        self._mine = [
            mine._replace(
                bag_gradient=_zeros(texts * shared.stride),
                units=_zeros(units * _whole(mine.width, LANES)),
            )
            for mine in self._mine
        ]

    def _on_all(self, work: Callable[[int], Result]) -> list[Result]:
        """Call ``work`` with the number of each thread, on that thread; return the results."""
        pool = self._pool
        if pool is None:
            return [work(0)]

        def lead() -> list[Result]:
            others = [pool.submit(work, me) for me in range(1, self._threads)]
            return [work(0), *(other.result() for other in others)]

        # A signal interrupts the main thread only, so no thread is left waiting for another.
        leader = pool.submit(lead)
        try:
            return leader.result()
        finally:
            wait([leader])


def load_kernels(*, by_word: bool = False, at_once: bool = True) -> None:
    """Load the kernels of a training step by a step on one id; takes a tenth of a second.

    Args:
        by_word: whether texts are cut into words.
        at_once: whether a call trains on many batches; otherwise each part of a step is a call.
    """
    one, ends = np.zeros(1, np.int32), np.array([0, 1], np.int64)
    if by_word:
        arrays = cut_words(one, ends, ends[:1], 1, one + 1, NO_F32, False, one.copy())
    else:
        arrays = cut_batches(one, ends, ends[:1], 1, NO_F32, False, -1, one.copy(), 0, np.uint64(0))
    values = np.zeros((1, 1), np.float32)
    if not at_once:
        starts, settings = ends.astype(np.int32), np.ones(4, np.float32)
        pool_rows(values, one, starts, ONE)
        layer_gradients(values, ends[:1], NO_F32, values, values, 0.0, True)
        groups = one, starts, one, ONE
        step_rows(SGD, values, values, values, *groups, NO_WINNERS, NO_F32, values, settings, 0)
        return
    piece = Piece._make((*arrays, ends[:1], NO_F32, 1, by_word, False))
    arrays_of_one = values, values, values
    plan = Plan(SGD, SGD, softmax=True, smoothing=0.0, bias=True, trained=NO_F32)
    ColumnThreads(arrays_of_one, arrays_of_one, arrays_of_one, plan, 1).train(
        piece, 0, np.ones((1, 8), np.float32)
    )


def _whole(count: int, unit: int) -> int:
    """Round up to whole units.

    >>> _whole(10, 8), _whole(16, 8)
    (16, 16)
    """
    return -(-count // unit) * unit


def _odd_lines(count: int) -> int:
    """Round up to an odd number of cache lines: rows at powers of two would share a cache set.

    >>> _odd_lines(10), _odd_lines(20)
    (16, 48)
    """
    return (-(-count // LINE) | 1) * LINE


def _zeros(count: int) -> F32:
    """Return zeros that begin on a cache line."""
    zeros = on_cache_lines(1, count).reshape(-1)
    zeros[:] = 0
    return zeros


def _copied(values: F32, stride: int) -> F32:
    """Return a flat copy of a matrix, with each row filled up with zeros to ``stride`` numbers."""
    copy = on_cache_lines(len(values), stride)
    copy[:, : values.shape[1]] = values
    copy[:, values.shape[1] :] = 0
    return copy.reshape(-1)

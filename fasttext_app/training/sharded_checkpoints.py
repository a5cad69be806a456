"""Checkpoints of several processes: a file of each under one manifest.

    OUTPUT/checkpoints/000000500/
        state.safetensors              what all processes have: layer, generators, counters
        columns-00000-00008.safetensors    columns 0 to 7 of the table, of the state of its
        columns-00008-00016.safetensors    optimizer and of the best weights, of one process each
        manifest.json, state.json, run.json    as in any checkpoint

With ``trainer.shard = "rows"``, ``rows-00001-00004`` has every fourth row, from row 1 on.

A run can be resumed by any number of processes: each reads its part from the files that have it.
The folder must be on a file system that all processes share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasttext_app.config.interval import Interval
from fasttext_app.core.checksummed_dir import UNREADABLE
from fasttext_app.core.group import SAVE
from fasttext_app.errors import CheckpointError
from fasttext_app.model.shard import Share, overlap
from fasttext_app.training.checkpoints import (
    CheckpointRef,
    Checkpoints,
    Snapshot,
    check_finite,
    write_tensors,
    writing,
)

if TYPE_CHECKING:
    from torch import Tensor

DIVIDED = "model.embedding.weight", "best.embedding.weight"
OPTIMIZER_TABLE = re.compile(r"optimizer\.(table|0\.0)\.\w+")
"""State of the table: of a fused step, or of the first parameter of the first ``torch.optim``."""


def is_divided(name: str, tensor: Tensor, *, state: bool) -> bool:
    """Return whether each process has only its part of a tensor.

    Args:
        name: its name in a snapshot.
        tensor: the tensor; numbers such as a count of steps have no parts.
        state: whether that holds for the state of the table's optimizer.

    >>> import torch
    >>> state, steps = torch.zeros(2, 2), torch.tensor(5)
    >>> is_divided("optimizer.0.0.sum", state, state=True)
    True
    >>> is_divided("optimizer.0.0.step", steps, state=True)
    False
    >>> is_divided("model.linear.weight", state, state=True)
    False
    """
    is_state = OPTIMIZER_TABLE.fullmatch(name) and tensor.dim() > 0
    return name in DIVIDED or (bool(is_state) and state)


class ShardedCheckpoints(Checkpoints):
    """Writes the checkpoints of a run of several processes; all of them call its methods.

    Args:
        shard: what this process holds.
        rowwise: whether the optimizer has one number for each row. All processes that share columns
            have it.
        arguments: as for :class:`Checkpoints`.
    """

    def __init__(
        self,
        output: str | Path,
        run: Mapping[str, Any],
        every: Interval,
        keep: int,
        resumed: Path | None,
        shard: Share,
        *,
        rowwise: bool,
    ) -> None:
        super().__init__(output, run, every, keep, resumed)
        self._shard, self._group = shard, shard.group
        self._state_is_divided = shard.kind == "rows" or not rowwise

    def __enter__(self) -> ShardedCheckpoints:
        self._group.all_or_none(self._lock_folder)
        return self

    def _lock_folder(self) -> None:
        if self._group.is_main:
            super().__enter__()

    def due(self, steps: int) -> bool:
        """Return whether a checkpoint is due; after a time, when the main process says so."""
        if self._every.steps and steps % self._every.steps == 0:
            return True
        if self._group.is_main and super().due(steps):
            self._group.raised |= SAVE
        return bool(self._group.flags & SAVE)

    def save(self, snapshot: Snapshot) -> Path:
        """Write a checkpoint, each process its part; return its path.

        Raises:
            CheckpointError: a process cannot write its part; earlier checkpoints are untouched.
        """
        group = self._group
        group.raised &= ~SAVE
        own: dict[str, Tensor] = {}
        shared: dict[str, Tensor] = {}
        for name, tensor in snapshot.tensors.items():
            divided = is_divided(name, tensor, state=self._state_is_divided)
            (own if divided else shared)[name] = tensor
        target = self.target(snapshot)
        with ExitStack() as stack:

            def begin() -> str:
                if not group.is_main:
                    return ""
                folder = stack.enter_context(self.new_folder(target))
                self.write(folder, Snapshot(snapshot.progress, shared))
                return str(folder)

            def write_own(folder: Path) -> None:
                with writing(target):
                    write_tensors(own, folder / f"{self._shard.name}.safetensors")

            folder = group.from_main(group.all_or_none(begin))
            group.all_or_none(partial(write_own, Path(folder)))
            group.all_or_none(partial(_close, stack, target))
        self.newest = target
        if group.is_main:
            self.remove_old()
        return target


def _close(stack: ExitStack, target: Path) -> None:
    with writing(target):
        stack.close()


def sharded_snapshot(checkpoint: CheckpointRef, shard: Share) -> Snapshot:
    """Read the state of a run, and of the table the part of this process.

    Raises:
        CheckpointError: it can no longer be read.
    """
    snapshot = checkpoint.snapshot()
    try:
        part = read_part(checkpoint.path, shard)
        check_finite(part)
    except UNREADABLE as error:
        raise CheckpointError(f"{checkpoint.path}: cannot be read: {error}") from None
    return Snapshot(snapshot.progress, {**snapshot.tensors, **part})


def read_part(folder: Path, shard: Share) -> dict[str, Tensor]:
    """Read the part of this process from the files that have some of it."""
    import torch
    from safetensors import safe_open

    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob(f"{shard.kind}-*.safetensors")):
        part = shard.part_of(*map(int, path.stem.split("-")[1:]))
        rows, columns = map(overlap, part, shard.part)
        if rows is None or columns is None:
            continue
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                stored = file.get_tensor(name)
                width = len(shard.part[1]) if shard.kind == "columns" else stored.shape[1]
                if name not in tensors:
                    tensors[name] = torch.empty(len(shard.part[0]), width)
                own = stored[rows[0], columns[0]]
                target = tensors[name][rows[1], columns[1]]
                if own.shape != target.shape:
                    raise ValueError(f"{name} has the shape {tuple(stored.shape)} in {path.name}")
                target.copy_(own)
    return tensors

"""Checkpoints of a run: all that it takes to go on as if nothing had happened.

    OUTPUT/checkpoints/000000500/          after 500 steps
        manifest.json      size and SHA-256 of every other file
        state.safetensors  weights, optimizer, generators, best weights
        state.json         where the run stands, and what its epochs came to
        run.json           its settings, seed, versions and data
    OUTPUT/checkpoints/lock                held by the run that writes there

Each is written whole or not at all. The newest whole one is found whatever happened to the others.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fasttext_app.config.interval import Interval
from fasttext_app.core.checksummed_dir import (
    CHECKPOINTS,
    MANIFEST,
    UNREADABLE,
    checksummed_dir,
    list_checkpoints,
    read_json,
    refuse_unfinished_run,
    verify_checksums,
    write_json,
)
from fasttext_app.errors import ArtifactError, CheckpointError

if TYPE_CHECKING:
    from torch import Tensor


KIND, VERSION = "fasttext_app checkpoint", 1
PROGRESS = "state.json"
FILES = ("state.safetensors", PROGRESS, "run.json")


@dataclass(frozen=True)
class Snapshot:
    """The state of a run between two steps."""

    progress: Mapping[str, Any]
    """Plain values; ``steps`` is the number of steps done."""
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class CheckpointRef:
    """The newest whole checkpoint of a run."""

    path: Path
    run: Mapping[str, Any]
    """What was given to :class:`Checkpoints`."""
    damaged: Sequence[str]
    """What is wrong with newer ones."""

    def snapshot(self) -> Snapshot:
        """Read the state.

        Raises:
            CheckpointError: it cannot be read any more.
        """
        from safetensors.torch import load_file

        try:
            return Snapshot(read_json(self.path / FILES[1]), load_file(self.path / FILES[0]))
        except UNREADABLE as error:
            raise CheckpointError(f"{self.path}: cannot be read: {error}") from None


class Checkpoints:
    """Writes the checkpoints of one run; a context manager, which keeps other runs out.

    Args:
        output: the run's output folder.
        run: what the run is of; it comes back with a checkpoint.
        every: how often.
        keep: so many of the newest ones stay.
        resumed: the checkpoint that the run goes on from; without one, there must be none.

    Raises:
        CheckpointError: when entered: another run writes there, or did not end, or the folder
            cannot be made.
    """

    def __init__(
        self,
        output: str | Path,
        run: Mapping[str, Any],
        every: Interval,
        keep: int = 2,
        resumed: Path | None = None,
    ) -> None:
        self.folder = Path(output) / CHECKPOINTS
        self.newest = resumed
        """The last one that was written, or gone on from."""
        self._run, self._every, self._keep = run, every, keep
        self._lock: int | None = None
        self._last = time.monotonic()

    def __enter__(self) -> Checkpoints:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.__exit__(None, None, None)
            raise CheckpointError(
                f"{self.folder.parent}: another run writes its checkpoints there; "
                "wait for it, or choose another --output"
            ) from None
        except OSError as error:
            raise CheckpointError(f"{self.folder}: cannot be written: {error.strerror}") from None
        if self.newest is None:
            refuse_unfinished_run(self.folder.parent)
        for left in self.folder.glob(".*"):  # by a run that was killed while it wrote
            shutil.rmtree(left, ignore_errors=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def due(self, steps: int) -> bool:
        """Return whether it is time for one, after so many steps of the run."""
        by_steps = self._every.steps and steps % self._every.steps == 0
        seconds = self._every.seconds
        return bool(by_steps) or (seconds > 0 and time.monotonic() - self._last >= seconds)

    def save(self, snapshot: Snapshot) -> Path:
        """Write one, and remove those that are too old.

        Raises:
            CheckpointError: it cannot be written; the earlier ones are as they were.
        """
        from safetensors.torch import save_file

        target = self.folder / f"{snapshot.progress['steps']:09d}"
        self._last = time.monotonic()
        try:
            with checksummed_dir(target, KIND, VERSION) as folder:
                tensors = {name: value.contiguous() for name, value in snapshot.tensors.items()}
                save_file(tensors, folder / FILES[0])
                write_json(folder / FILES[1], snapshot.progress)
                write_json(folder / FILES[2], self._run)
        except UNREADABLE as error:
            reason = getattr(error, "strerror", None) or error
            raise CheckpointError(f"{target}: cannot be written: {reason}") from None
        self.newest = target
        for old in list_checkpoints(self.folder)[self._keep :]:
            shutil.rmtree(old, ignore_errors=True)
        return target


def remove_checkpoints(output: str | Path) -> None:
    """Remove the checkpoints of a run that has ended."""
    shutil.rmtree(Path(output) / CHECKPOINTS, ignore_errors=True)


def find_checkpoint(output: str | Path) -> CheckpointRef:
    """Return the newest whole checkpoint in a run's output folder.

    Raises:
        CheckpointError: there is none.
    """
    damaged: list[str] = []
    for path in list_checkpoints(Path(output) / CHECKPOINTS):
        try:
            verify_checksums(path, KIND, VERSION, FILES)
            return CheckpointRef(path, read_json(path / FILES[2]), damaged)
        except (*UNREADABLE, ArtifactError) as error:
            reason = str(error)
            damaged.append(reason if reason.startswith(str(path)) else f"{path}: {reason}")
    if damaged:
        raise CheckpointError(f"{output}: no checkpoint is whole: {'; '.join(damaged)}")
    done = (Path(output) / MANIFEST).is_file()
    hint = "the run is finished" if done else "is it the --output of a run with --checkpoint-every?"
    raise CheckpointError(f"{output}: there is no checkpoint to go on from; {hint}")

"""Checkpoints: everything it takes to resume a run as if it had never been interrupted.

    OUTPUT/checkpoints/000000500/          after 500 steps
        manifest.json      size and SHA-256 of every other file
        state.safetensors  weights, optimizer state, generators, best weights
        state.json         progress of the run, and the scores of its epochs
        run.json           settings, seed, versions and data of the run
    OUTPUT/checkpoints/lock                held by the run that writes there

A checkpoint is written completely or not at all. A resumed run takes the newest intact one,
whatever happened to the others.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator
from safetensors import SafetensorError

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
from fasttext_app.core.documents import Count, Document, Score, check_document
from fasttext_app.errors import ArtifactError, CheckpointError
from fasttext_app.model.documents import Epoch, RunFile

if TYPE_CHECKING:
    from torch import Tensor


KIND, VERSION = "fasttext_app checkpoint", 1
TENSORS, PROGRESS, RUN = "state.safetensors", "state.json", "run.json"


class ProgressFile(Document):
    """``state.json``."""

    epoch: Annotated[Count, Field(ge=1)]
    step: Count
    texts: Count
    loss_sum: float
    seconds: Annotated[float, Field(ge=0)]
    steps: Count
    stopped_early: bool
    best_epoch: Count
    best_score: Annotated[list[Score], Field(max_length=2)]
    history: list[Epoch]

    @model_validator(mode="after")
    def _check_progress(self) -> Self:
        epochs = [entry.epoch for entry in self.history]
        if len(epochs) != self.epoch - 1 or epochs != [*range(1, len(epochs) + 1)]:
            raise ValueError("its history does not match its epoch")
        if self.best_epoch >= self.epoch or self.step > self.steps or self.step > self.texts:
            raise ValueError("its numbers of epochs, steps and texts contradict each other")
        return self


@dataclass(frozen=True)
class Snapshot:
    """The state of a run between two steps."""

    progress: Mapping[str, Any]
    """Plain values for JSON; ``steps`` is the number of steps done."""
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class CheckpointRef:
    """The newest intact checkpoint of a run."""

    path: Path
    run: Mapping[str, Any]
    """The manifest of the run; see ``training.run_manifest``."""
    damaged: Sequence[str]
    """What is wrong with each newer checkpoint."""

    def snapshot(self) -> Snapshot:
        """Read the state of the run.

        Raises:
            CheckpointError: it can no longer be read.
        """
        from safetensors.torch import load_file

        try:
            progress, tensors = read_json(self.path / PROGRESS), load_file(self.path / TENSORS)
            check_document(progress, ProgressFile, PROGRESS)
            check_finite(tensors)
            return Snapshot(progress, tensors)
        except UNREADABLE as error:
            raise CheckpointError(f"{self.path}: cannot be read: {error}") from None


class Checkpoints:
    """Writes the checkpoints of one run; a context manager that locks out other runs.

    Args:
        output: the run's output folder.
        run: the manifest of the run.
        every: how often to save.
        keep: how many of the newest checkpoints to keep.
        resumed: the checkpoint that the run resumes from; None: the folder must not have any.

    Raises:
        CheckpointError: on entering, if another run writes there or did not finish, or the folder
            cannot be created.
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
        """The last checkpoint that was written, or resumed from."""
        self._run, self._every, self._keep = run, every, keep
        self._lock: int | None = None
        self._last_saved = time.monotonic()

    def __enter__(self) -> Checkpoints:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.__exit__()
            raise CheckpointError(
                f"{self.folder.parent}: another run writes its checkpoints there; "
                "wait for it, or choose another --output"
            ) from None
        except OSError as error:
            raise CheckpointError(f"{self.folder}: cannot be written: {error.strerror}") from None
        if self.newest is None:
            refuse_unfinished_run(self.folder.parent)
        for partial in self.folder.glob(".*"):  # left by a run that was killed while writing
            shutil.rmtree(partial, ignore_errors=True)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def due(self, steps: int) -> bool:
        """Return whether a checkpoint is due after this many steps of the run."""
        if self._every.steps and steps % self._every.steps == 0:
            return True
        seconds = self._every.seconds
        return seconds > 0 and time.monotonic() - self._last_saved >= seconds

    def steps_left(self, steps: int, limit: int) -> int:
        """Return the number of steps until the next checkpoint is due by steps, up to a limit."""
        return (
            min(self._every.steps - steps % self._every.steps, limit)
            if self._every.steps
            else limit
        )

    def save(self, snapshot: Snapshot) -> Path:
        """Write a checkpoint and remove the oldest ones; return its path.

        Raises:
            CheckpointError: it cannot be written; earlier ones are untouched.
        """
        target = self.target(snapshot)
        with self.new_folder(target) as folder:
            self.write(folder, snapshot)
        self.newest = target
        self.remove_old()
        return target

    def target(self, snapshot: Snapshot) -> Path:
        """Return the path of the checkpoint of a snapshot."""
        return self.folder / f"{snapshot.progress['steps']:09d}"

    @contextmanager
    def new_folder(self, target: Path) -> Iterator[Path]:
        """Yield the folder that becomes the checkpoint.

        Raises:
            CheckpointError: it cannot be written.
        """
        self._last_saved = time.monotonic()
        with writing(target), checksummed_dir(target, KIND, VERSION) as folder:
            yield folder

    def write(self, folder: Path, snapshot: Snapshot) -> None:
        """Write the files of a snapshot."""
        write_tensors(snapshot.tensors, folder / TENSORS)
        write_json(folder / PROGRESS, snapshot.progress)
        write_json(folder / RUN, self._run)

    def remove_old(self) -> None:
        """Remove all checkpoints but the newest ones."""
        for old in list_checkpoints(self.folder)[self._keep :]:
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn every error of writing a checkpoint into a CheckpointError."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{target}: cannot be written: {reason}") from None


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write the tensors of a snapshot."""
    from safetensors.torch import save_file

    save_file({name: value.contiguous() for name, value in tensors.items()}, path)


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise a ValueError if a weight is not finite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"the tensor {name} has a weight that is not finite")


def remove_checkpoints(output: str | Path) -> None:
    """Remove the checkpoints of a finished run."""
    shutil.rmtree(Path(output) / CHECKPOINTS, ignore_errors=True)


def find_checkpoint(output: str | Path) -> CheckpointRef:
    """Return the newest intact checkpoint in a run's output folder.

    Raises:
        CheckpointError: there is none.
    """
    damaged: list[str] = []
    for path in list_checkpoints(Path(output) / CHECKPOINTS):
        try:
            verify_checksums(path, KIND, VERSION, (TENSORS, PROGRESS, RUN))
            run = read_json(path / RUN)
            check_document(run, RunFile, RUN)
            return CheckpointRef(path, run, damaged)
        except (*UNREADABLE, ArtifactError) as error:
            reason = str(error)
            damaged.append(reason if reason.startswith(str(path)) else f"{path}: {reason}")
    if damaged:
        raise CheckpointError(f"{output}: every checkpoint is damaged: {'; '.join(damaged)}")
    if (Path(output) / MANIFEST).is_file():
        hint = "the run is finished"
    else:
        hint = "is this the --output of a run with --checkpoint-every?"
    raise CheckpointError(f"{output}: there is no checkpoint to resume from; {hint}")

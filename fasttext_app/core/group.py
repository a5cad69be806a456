"""``Group``: the processes of a run that torchrun starts, and what they tell each other.

Every method of a group that exchanges something is *collective*: all its processes call it, in the
same order. Arrays go over the wire as they are, other values as JSON; nothing is pickled. What is
on a GPU goes by NCCL, all else by gloo. A run of one process needs neither torchrun nor torch, and
goes through the same code.

`cli/train.py` imports this module before it forks, so NumPy and torch are imported where needed.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fasttext_app.core.fork import die_with_parent
from fasttext_app.core.threads import whole_number
from fasttext_app.errors import ConfigError, DeviceError, FastTextAppError, TrainingError

if TYPE_CHECKING:
    from torch import Tensor
    from torch._C._distributed_c10d import Store
    from torch.distributed import ProcessGroup

    from fasttext_app.core.arrays import Array

Result = TypeVar("Result")

CHUNK_BYTES = 1 << 24  # of a file that is copied

STOP, SAVE = 1, 2
"""Flags that processes raise for each other: to end the run; to save a checkpoint."""


LOST = re.compile("gloo|nccl|connect|clos|reset|time|socket|address", re.IGNORECASE)
"""A word in the errors of torch about processes that are gone; an error of ours has none."""
SOURCE_LINE = re.compile(r"^\s*\[[^\]]*\]\s*")


_groups = count()
"""The numbers of the groups that this process joins."""
_stores: list[Store] = []
"""The store in which the processes find each other, once there is one; it serves all groups."""


class LostProcessError(TrainingError):
    """Another process of the run is gone, or does not answer."""


def world_size() -> int:
    """Return the number of processes that the launcher has started; 1 without a launcher."""
    return whole_number("WORLD_SIZE", 1)


def was_restarted() -> bool:
    """Return whether the launcher has started the processes again, after one of them failed."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


@contextmanager
def joined(timeout: float) -> Iterator[Group]:
    """Join the processes that torchrun has started; yield their group.

    Args:
        timeout: seconds after which a process that does not answer counts as lost.

    Raises:
        ConfigError: the variables that torchrun sets are incomplete, or the program has a process
            group already.
        LostProcessError: the processes do not find each other.
    """
    if world_size() == 1:
        yield Group()
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if not missing and not os.environ["RANK"].isdecimal():
        raise ConfigError(
            f"RANK is {os.environ['RANK']!r}; start the processes with torchrun, which numbers them"
        )
    if missing:
        raise ConfigError(
            f"WORLD_SIZE is {world_size()}, but {' and '.join(missing)} is not set; "
            "start the processes with torchrun"
        )
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # its warnings come with stack traces
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    if dist.is_initialized():
        raise ConfigError(
            "trainer.shard: the program has a process group of torch.distributed; end it before "
            "with destroy_process_group(), since training makes its own"
        )
    group = Group(int(os.environ["RANK"]), world_size())
    if "TORCHELASTIC_RUN_ID" in os.environ:
        die_with_parent(signal.SIGTERM)
    with group.answered():
        limit = timedelta(seconds=timeout)
        if not _stores:
            _stores.append(next(rendezvous("env://", timeout=limit))[0])
        # The store keeps the keys of groups that have ended, so each group has a prefix of its own.
        prefix = f"fasttext_app/{next(_groups)}"
        store = dist.PrefixStore(prefix, *_stores)  # type: ignore[attr-defined]
        store.set_timeout(limit)
        rank, size = group.rank, group.size
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=limit)
    group.timeout = limit
    try:
        yield group
    finally:
        dist.destroy_process_group()


class Group:
    """The processes of a run.

    Args:
        rank: the number of this process.
        size: the number of processes.

    >>> import numpy as np
    >>> Group().gather(np.array([1, 2])), Group().share({"a": 1})
    ([array([1, 2])], [{'a': 1}])
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.raised = 0
        """Flags that this process raises at the next exchange of a step."""
        self.flags = 0
        """Flags that any process had raised at the last exchange of a step."""
        self.device = "cpu"
        """The device that this process trains on; see :meth:`use_device`."""
        self.timeout: timedelta | None = None
        """The time after which a process that does not answer counts as lost."""
        self._nccl: ProcessGroup | None = None

    def use_device(self, name: str) -> None:
        """Choose the device of each process: GPUs if every one has its own, else the CPUs.

        Args:
            name: ``auto``, ``cpu`` or ``cuda``.

        Raises:
            DeviceError: ``cuda`` is asked for, and a process has no GPU of its own.
        """
        self.device = name
        if self.size == 1 or name == "cpu":
            return
        import torch
        import torch.distributed as dist

        gpu = whole_number("LOCAL_RANK", 0)
        with_gpus = torch.cuda.is_available() and dist.is_nccl_available()
        gpus = torch.cuda.device_count() if with_gpus else 0
        if not all(self.share(gpu < gpus)):
            if name == "cuda":
                raise DeviceError(
                    f"device {name}: each process needs a GPU of its own; start no more processes "
                    "on a machine than it has GPUs, or use --device cpu"
                )
            self.device = "cpu"
            return
        self.device = f"cuda:{gpu}"
        torch.cuda.set_device(gpu)
        # Otherwise NCCL kills a process that waits in vain, before it can say why.
        os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
        with self.answered():
            self._nccl = dist.new_group(backend="nccl", timeout=self.timeout)

    @property
    def is_main(self) -> bool:
        """Whether this process reports, validates and writes."""
        return self.rank == 0

    @contextmanager
    def answered(self) -> Iterator[None]:
        """Turn an error of torch in an exchange into one that says what it means.

        Raises:
            LostProcessError: a process is gone, or did not answer in time.
        """
        try:
            yield
        except RuntimeError as error:
            reason = SOURCE_LINE.sub("", str(error)).partition("\n")[0].partition(". ")[0]
            if not LOST.search(str(error)):
                raise
            raise LostProcessError(
                f"process {self.rank} of {self.size}: another process of the run is gone or does "
                f"not answer ({reason}); start the run again, with --resume if it has checkpoints"
            ) from None

    def all_gather(self, values: Tensor) -> Tensor:
        """Return the values of every process, [processes, n], all of one size [n]."""
        if self.size == 1:
            return values[None]
        import torch
        import torch.distributed as dist

        out = values.new_empty((self.size, *values.shape))
        with self.answered(), torch.no_grad():
            dist.all_gather(list(out), values, self._group_of(values))
        return out

    def sum(self, values: Array | Tensor) -> None:
        """Replace values by their sum over all processes."""
        if self.size == 1:
            return
        import torch
        import torch.distributed as dist

        own = torch.as_tensor(values)
        with self.answered():
            dist.all_reduce(own, group=self._group_of(own))

    def broadcast(self, values: Array | Tensor) -> None:
        """Overwrite values with the ones of the main process."""
        if self.size == 1:
            return
        import torch
        import torch.distributed as dist

        own = torch.as_tensor(values)
        with self.answered():
            dist.broadcast(own, 0, self._group_of(own))

    def _group_of(self, values: Tensor) -> ProcessGroup | None:
        """Return the group that exchanges these values; None: that of gloo."""
        return self._nccl if values.is_cuda else None

    def gather(self, values: Array) -> list[Array]:
        """Return the array [n] of every process; n may differ."""
        if self.size == 1:
            return [values]
        import torch

        lengths = self.all_gather(torch.tensor([len(values)]))[:, 0].tolist()
        return self.gather_sized(values, lengths)

    def gather_sized(self, values: Array, lengths: Sequence[int]) -> list[Array]:
        """Return the array of every process, whose lengths all processes know."""
        if self.size == 1:
            return [values]
        import numpy as np
        import torch

        padded = np.zeros(max(lengths), values.dtype)
        padded[: len(values)] = values
        rows = self.all_gather(torch.from_numpy(padded)).numpy()
        return [row[:length] for row, length in zip(rows, lengths, strict=True)]

    def share(self, value: Any) -> list[Any]:
        """Return the value of every process; it goes over the wire as JSON."""
        import numpy as np

        data = np.frombuffer(json.dumps(value).encode(), np.uint8)
        return [json.loads(part.tobytes()) for part in self.gather(data)]

    def from_main(self, value: Any) -> Any:
        """Return the value of the main process, whatever the others have."""
        return self.share(value if self.is_main else None)[0]

    def copy_from_main(self, folder: Path) -> Path:
        """Copy the files of a folder of the main process to the other machines.

        Args:
            folder: a folder of this process alone; the first one of a machine fills its own.

        Returns:
            The folder of this machine that has the files.

        Raises:
            OSError: they cannot be written.
        """
        import numpy as np

        own = str(folder) if os.environ.get("LOCAL_RANK", "0") == "0" else None
        folders = self.share(own)
        if len([*filter(None, folders)]) > 1:
            files = sorted(folder.iterdir()) if self.is_main else []
            for name, size in self.from_main([(file.name, file.stat().st_size) for file in files]):
                path = folder / name if own else Path(os.devnull)
                with path.open("rb" if self.is_main else "wb") as file:
                    for start in range(0, size, CHUNK_BYTES):
                        chunk = np.empty(min(CHUNK_BYTES, size - start), np.uint8)
                        if self.is_main:
                            chunk[:] = np.frombuffer(file.read(len(chunk)), np.uint8)
                        self.broadcast(chunk)
                        if not self.is_main:
                            file.write(chunk.data)
            self.share(None)  # wait until every machine has them
        # torchrun numbers the processes machine by machine.
        return Path(next(path for path in reversed(folders[: self.rank + 1]) if path))

    def all_or_none(self, work: Callable[[], Result]) -> Result:
        """Do some work on every process; if it fails on one, raise that error on all of them.

        Raises:
            FastTextAppError: of the first process on which the work failed.
        """
        failure: FastTextAppError | None = None
        try:
            result = work()
        except FastTextAppError as error:
            failure = error
        errors = self.share(None if failure is None else [type(failure).__name__, str(failure)])
        for rank, problem in enumerate(errors):
            if problem is not None:
                if rank == self.rank and failure is not None:
                    raise failure
                name, message = problem
                kinds = {kind.__name__: kind for kind in _kinds(FastTextAppError)}
                raise kinds.get(name, TrainingError)(message)
        return result

    def agreed(self, stop: Callable[[], bool] | None) -> Callable[[], bool]:
        """Return a function by which all processes stop after the same step, if one wants to.

        Args:
            stop: whether this process wants to; the others know it one step later.
        """

        def any_wants_to() -> bool:
            if stop is not None and stop():
                self.raised |= STOP
            return bool(self.flags & STOP)

        return any_wants_to

    def may_report(self) -> bool:
        """Return whether this process is the first to report why the run failed; not collective."""
        if self.size == 1:
            return True
        import torch.distributed as dist

        try:
            store = dist.distributed_c10d._get_default_store()
            attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            return bool(store.add(f"fasttext_app/reported/{attempt}", 1) == 1)
        except (RuntimeError, ValueError):  # the process that held the store is gone
            return self.rank == 1


def _kinds(base: type[FastTextAppError]) -> Iterator[type[FastTextAppError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)

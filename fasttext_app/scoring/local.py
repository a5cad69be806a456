"""The engine of one machine: processes that share one mapped model, and outlive each other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from fasttext_app.core import meter
from fasttext_app.core.fork import die_with_parent
from fasttext_app.core.jit import PLAIN_BYTES
from fasttext_app.scoring.files import Failed, FileScorer, FileTask, Outcome, Progress

STOP_SECONDS = 10
"""How long a process that is stopped may take to remove what it has begun to write."""


def run_locally(
    work: FileScorer, tasks: Sequence[FileTask], workers: int
) -> Iterator[Outcome | Progress]:
    """Score files in ``workers`` processes, each file by one; for one worker, in this process.

    A process that is killed fails the file that it scores, and another one takes its place.
    """
    if workers < 2:
        yield from map(work, tasks)
        return
    if _can_fork() and sum(task.bytes for task in tasks if not task.finished) > PLAIN_BYTES:
        import pyarrow.parquet  # noqa: F401 - forks have it then, and the compiled code too

        work.scorer.predictor.warm_up()
    waiting, busy = deque(tasks), dict[Connection, _Worker]()
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                worker = _Worker(work)
                worker.send(waiting.popleft())
                busy[worker.connection] = worker
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]  # it waits for these only
                message = worker.receive()
                yield message
                if isinstance(message, Progress):
                    continue
                if waiting and worker.is_alive:
                    worker.send(waiting.popleft())
                else:
                    del busy[worker.connection]
                    worker.end()
    finally:
        for worker in busy.values():
            worker.terminate()
        for worker in busy.values():
            worker.stop()


def _can_fork() -> bool:
    """Return whether a fork copies no thread that may hold a lock.

    Threads of Arrow and its allocator are no matter: both prepare for forks. A fork starts at once
    and shares all that is loaded; a process that is spawned takes a second.
    """
    has_threads = threading.active_count() > 1 or "torch" in sys.modules
    return sys.platform == "linux" and not has_threads


class _Worker:
    """A process that scores one file at a time."""

    def __init__(self, work: FileScorer) -> None:
        context = multiprocessing.get_context("fork" if _can_fork() else "spawn")
        self.connection, theirs = context.Pipe()
        # Typed by neither context: a base class has no `Process`.
        self._process: Any = context.Process(  # type: ignore[attr-defined]
            target=_serve, args=(theirs, work, os.getpid()), daemon=True
        )
        self._process.start()
        theirs.close()
        self.is_alive = True

    def send(self, task: FileTask) -> None:
        """Give the process a file to score."""
        self._task = task
        with suppress(OSError):  # of a process that has died, which receive() will tell
            self.connection.send(task)

    def receive(self) -> Outcome | Progress:
        """Return what the process says; if it has died, that its file has failed."""
        try:
            message: Outcome | Progress = self.connection.recv()
        except (EOFError, OSError):
            self.is_alive = False
            self._process.join()
            return Failed(
                self._task,
                f"the process that scored it was killed (exit code {self._process.exitcode}); is "
                "there enough memory?",
            )
        return message

    def end(self) -> None:
        """Let the process end by itself."""
        with suppress(OSError):
            self.connection.send(None)  # later forks hold this end open too
        self.connection.close()
        self._process.join()

    def terminate(self) -> None:
        """Tell the process to stop amid its file, of which it leaves nothing."""
        self._process.terminate()

    def stop(self) -> None:
        """Wait for the process to stop; kill it if it does not."""
        self._process.join(STOP_SECONDS)
        self._process.kill()
        self.end()


def _serve(connection: Connection, work: FileScorer, parent: int) -> None:
    """Score the files that the parent sends, until it sends None or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # and stops this process
    die_with_parent(signal.SIGKILL, parent)
    meter.follow = None  # the parent shows how far the job is
    with suppress(EOFError, BrokenPipeError):
        while (task := connection.recv()) is not None:
            connection.send(work(task, connection.send))

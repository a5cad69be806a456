"""Run a function in a forked process.

Importing torch holds the interpreter lock, so on threads it would not overlap with reading data.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, Generic, TypeVar

from fasttext_app.core.threads import thread_count
from fasttext_app.errors import TrainingError

Result = TypeVar("Result")

PR_SET_PDEATHSIG = 1  # of Linux's prctl.h
THREADED_PACKAGES = {"numpy", "pyarrow", "torch"}
"""Packages that start threads, which a fork does not copy: their locks could stay locked."""


def can_fork() -> bool:
    """Return whether a fork is safe and useful: on Linux, without threads, with two cores."""
    single_threaded = threading.active_count() == 1 and not THREADED_PACKAGES & sys.modules.keys()
    return sys.platform == "linux" and single_threaded and thread_count(0) > 1


class ForkedCall(Generic[Result]):
    """A function call in a fork of this process; leaving the context kills the fork.

    Create it only if :func:`can_fork`.

    Args:
        function: the function to call; its result or exception is pickled.
    """

    def __init__(self, function: Callable[[], Result]) -> None:
        context = multiprocessing.get_context("fork")
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_run, args=(function, self._receiver, sender, os.getpid()), daemon=True
        )
        self._process.start()
        sender.close()

    def __enter__(self) -> ForkedCall[Result]:
        return self

    def __exit__(self, *exception: object) -> None:
        self._receiver.close()
        self._process.kill()
        self._process.join()

    def result(self) -> Result:
        """Wait for the call; return its result or raise its exception.

        Raises:
            TrainingError: the fork was killed.
        """
        try:
            succeeded, value = self._receiver.recv()
        except (EOFError, OSError):  # the pipe closed before or within the answer
            self._process.join()
            raise TrainingError(
                f"the process that prepares the data was killed (exit code "
                f"{self._process.exitcode}); is there enough memory?"
            ) from None
        if not succeeded:
            raise value
        result: Result = value
        return result


def die_with_parent(number: signal.Signals, parent: int | None = None) -> None:
    """Let the system send this process a signal when its parent dies, on Linux.

    Args:
        number: the signal.
        parent: the id of the parent, to end at once if it has died already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def _run(
    function: Callable[[], Any], receiver: Connection, sender: Connection, parent: int
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    receiver.close()
    if sys.stdin is not None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - `Process` put /dev/null there
    die_with_parent(signal.SIGKILL, parent)
    answer: tuple[bool, Any]
    try:
        answer = True, function()
    except Exception as error:  # noqa: BLE001 - result() raises it in the parent
        error.add_note("In the forked process:\n" + traceback.format_exc())
        answer = False, error
    message = ForkingPickler.dumps(answer)
    del answer
    _release_memory()
    sender.send_bytes(message)  # blocks until the parent has imported torch


def _release_memory() -> None:
    """Return free memory to the system, because this process may wait for long."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    with suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)

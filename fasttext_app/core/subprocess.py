"""``Background``: a function at work in a process of its own.

Threads share one interpreter, and what a run does first, importing, is work for the interpreter
alone. So reading the data and importing torch go on side by side only in two processes.
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
from types import TracebackType
from typing import Any, Generic, TypeVar

from fasttext_app.core.threads import thread_count
from fasttext_app.errors import TrainingError

Result = TypeVar("Result")


DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
WITH_THREADS = {"numpy", "pyarrow", "torch"}
"""Packages that start threads of their own, which a fork would leave behind in mid-work."""


def can_fork() -> bool:
    """Return whether a second process is of use, and safe: two cores, Linux, and no threads yet."""
    alone = threading.active_count() == 1 and not WITH_THREADS & sys.modules.keys()
    return sys.platform == "linux" and alone and thread_count(0) > 1


class Background(Generic[Result]):
    """Starts a function in a fork of this process; a context manager, whose end stops it.

    To be made where :func:`can_fork` says so.

    Args:
        function: its result, and what it raises, come back through a pipe.
    """

    def __init__(self, function: Callable[[], Result]) -> None:
        context = multiprocessing.get_context("fork")
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_work, args=(function, self._receiver, sender, os.getpid()), daemon=True
        )
        self._process.start()
        sender.close()

    def __enter__(self) -> Background[Result]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._receiver.close()
        self._process.kill()
        self._process.join()

    def result(self) -> Result:
        """Wait for the function; return its result, or raise what it raised.

        Raises:
            TrainingError: the process was ended from outside.
        """
        try:
            done, answer = self._receiver.recv()
        except (EOFError, OSError):  # before its answer, or amid it
            self._process.join()
            raise TrainingError(
                f"the process that prepares the data was ended (exit code "
                f"{self._process.exitcode}); is there enough memory?"
            ) from None
        if not done:
            raise answer
        result: Result = answer
        return result


def _work(
    function: Callable[[], Any], receiver: Connection, sender: Connection, parent: int
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    receiver.close()
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before that
        os._exit(1)
    answer: tuple[bool, Any]
    try:
        answer = True, function()
    except Exception as error:  # noqa: BLE001 - it is raised again where the result is taken
        error.add_note("In the background:\n" + traceback.format_exc())
        answer = False, error
    message = ForkingPickler.dumps(answer)
    del answer
    _let_go()
    sender.send_bytes(message)  # it waits here until the other process has imported torch


def _let_go() -> None:
    """Give back the memory that is free, and would lie idle while this process waits."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)

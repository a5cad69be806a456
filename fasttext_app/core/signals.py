"""Handle Ctrl-C and SIGTERM where it is safe.

An exception in the middle of a training step would leave half a step behind, and Python can lose
one that is raised within an import. So the first signal is only recorded: the work checks for it
between two steps, or allows it to raise. A second signal raises immediately.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Terminated(KeyboardInterrupt):
    """SIGTERM was received."""


class DeferredInterrupts:
    """A context manager that records SIGINT and SIGTERM; for the main thread.

    Calling it returns whether a signal was received, so it serves as a ``stop`` function.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        """The first signal."""
        self._raise_immediately = False
        self._previous_handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> DeferredInterrupts:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous_handlers[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Return whether a signal was received."""
        return self.received is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        is_second = self.received is not None
        self.received = self.received or signal.Signals(number)
        if is_second or self._raise_immediately:
            self.raise_pending()

    def raise_pending(self) -> None:
        """Raise the exception of the first signal, if one was received.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            Terminated: SIGTERM.
        """
        if self.received is not None:
            raise Terminated if self.received == signal.SIGTERM else KeyboardInterrupt

    def interruptible(self, function: Callable[[], Result]) -> Callable[[], Result]:
        """Return ``function`` such that a signal before or during the call raises immediately."""

        def call() -> Result:
            self._raise_immediately = True
            try:
                self.raise_pending()
                return function()
            finally:
                self._raise_immediately = False

        return call

    def raise_between(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield ``items``; a signal raises before the next one."""
        for item in items:
            self.raise_pending()
            yield item

    @property
    def exit_code(self) -> int:
        """The exit code of a process that the signal ended, as a shell reports it."""
        return 128 + (self.received or signal.SIGINT)

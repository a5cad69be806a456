"""``Interrupts``: Ctrl-C and SIGTERM, taken when it suits the work.

A signal that comes amid a training step would leave half a step behind, and Python can lose an
exception that comes amid an import. So a signal is noted; who works asks for it between two pieces
of work, or waits where it may raise. A second one raises wherever it comes.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from types import FrameType, TracebackType
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


class Interrupts:
    """Notes signals while it is entered, in the main thread."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        """The signal that came first."""
        self._raising = False
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Return whether a signal came."""
        return self.received is not None

    def _note(self, number: int, frame: FrameType | None) -> None:
        again = self.received is not None
        self.received = self.received or signal.Signals(number)
        if again or self._raising:
            self.take()

    def take(self) -> None:
        """Raise what came, if any.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            Terminated: SIGTERM.
        """
        if self.received is not None:
            raise Terminated if self.received == signal.SIGTERM else KeyboardInterrupt

    def raising(self, function: Callable[[], Result]) -> Callable[[], Result]:
        """Return the function so that signals amid it raise at once, and one that came before."""

        def call() -> Result:
            self._raising = True
            try:
                self.take()
                return function()
            finally:
                self._raising = False

        return call

    def between(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items; a signal is taken before the next of them."""
        for item in items:
            self.take()
            yield item

    @property
    def exit_code(self) -> int:
        """What a shell reports of a process that the signal ended."""
        return 128 + (self.received or signal.SIGINT)

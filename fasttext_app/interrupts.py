"""``Interrupts``: Ctrl-C and SIGTERM, taken when it suits the work.

A signal that comes amid a training step would leave half a step behind, and Python can lose an
exception that comes amid an import. So a signal is noted; who works asks for it between two pieces
of work, or waits where it may raise. A second one raises wherever it comes.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupts", "Terminated"]


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

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Let signals raise at once, also one that came before."""
        self._raising = True
        try:
            self.take()
            yield
        finally:
            self._raising = False

"""How far the input is read, on a terminal: a bar with bytes or rows, rate and remaining time."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fasttext_app.cli import messages
from fasttext_app.core import meter

if TYPE_CHECKING:
    from fasttext_app.cli.render.progress import LiveBar

RESTORE = "\r\x1b[2K\x1b[?25h"
"""Clears the line and shows the cursor."""
DELAY = 0.5
"""Seconds of reading before the bar appears."""


@contextmanager
def reading_shown(then: str = "") -> Iterator[None]:
    """Show on a terminal how far the batches are that a command reads in this block.

    Args:
        then: what the command does once it has read them; the bar stays, and says it.
    """
    if messages.is_quiet or sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    display, before = _ReadingDisplay(then), meter.follow
    meter.follow = display.follow
    try:
        yield
    except BaseException:
        # A forked process that was killed may have left its bar.
        getattr(sys.stderr, "rich_proxied_file", sys.stderr).write(RESTORE)
        raise
    finally:
        meter.follow = before
        display.close()


def hide_reading_from_a_terminal() -> None:
    """Show no bar if the results themselves appear on the terminal as the input is read."""
    if sys.stdout is not None and sys.stdout.isatty():
        meter.follow = None


class _ReadingDisplay:
    """A bar that follows batches."""

    def __init__(self, then: str) -> None:
        self._then = then
        self._bar: LiveBar | None = None

    def follow(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Yield the batches, and show how far they are."""
        start, rows = time.monotonic(), 0
        try:
            for batch in batches:
                rows += len(batch)
                seconds = time.monotonic() - start
                if seconds > DELAY:
                    self._show(rows, seconds)
                yield batch
            if self._then and self._bar is not None and meter.current is not None:
                self._bar.update(meter.current.total or 0, name=self._then, done="")
        finally:
            if not self._then:
                self.close()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show(self, rows: int, seconds: float) -> None:
        from fasttext_app.cli.render.progress import LiveBar, show_reading

        if self._bar is None:
            if LiveBar.is_shown:  # of training or a search
                return
            self._bar = LiveBar()
        assert meter.current is not None
        show_reading(self._bar, meter.current, rows, seconds)

"""Standard streams on which no character of a foreign text can control the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from fasttext_app.foreign_text import for_terminal


class TerminalStream:
    """A stream to a terminal that escapes the unsafe characters of whatever is written to it.

    Rich, whose consoles escape texts before they add colors, writes past it to the stream itself.
    """

    buffer = None  # Typer then writes bytes to the stream itself

    def __init__(self, stream: IO[str]) -> None:
        self.rich_proxied_file = stream
        """The stream; Rich looks for it under this name."""

    def write(self, text: str | bytes) -> int:
        """Write text, or UTF-8."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        self.rich_proxied_file.write(for_terminal(text, lines=True))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write pieces of text one after another."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Guard standard output and standard error in this block, where they are terminals.

    Output to a file or a pipe is left as it is.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_guarded, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _guarded(stream: Any) -> Any:
    return TerminalStream(stream) if stream is not None and stream.isatty() else stream

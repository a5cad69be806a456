"""What is being read, and how far: readers keep it, a display of progress shows it.

Readers know of no display, and the display of no reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal


@dataclass
class Input:
    """A file or dataset that is being read, or several files."""

    name: str
    unit: Literal["bytes", "rows"]
    total: int | None
    """The size; None: unknown."""
    before: int = 0
    """The size of the files read before this one."""
    position: int = 0
    """The reader's position in this file."""


current: Input | None = None
"""The input that was opened last in this process."""

span: tuple[int, int] | None = None
"""While several files are read: the bytes before the one that is opened next, and of all."""

follow: Callable[[Iterator[Any]], Iterator[Any]] | None = None
"""The display: it yields the batches that it is given, and shows how far they go."""

bars = True
"""Whether libraries that download or upload may draw bars of their own on a terminal."""


def opened(name: str, unit: Literal["bytes", "rows"], total: int | None) -> Input:
    """Announce an input; the reader updates its position."""
    global current  # noqa: PLW0603 - readers and display meet here
    before = 0
    if span is not None and unit == "bytes" and total is not None:
        before, total = span
    current = Input(name, unit, total, before)
    return current


def followed(batches: Iterator[Any]) -> Iterator[Any]:
    """Return an iterator over the same batches that a display follows, if there is one."""
    return batches if follow is None else follow(batches)

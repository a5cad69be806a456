"""``SpillBuffer``: where encoded texts stay, in memory up to a limit, then in memory-mapped files.

A file holds one ``Ragged`` as it is in memory, and as an Arrow list column is: the ids end to end,
then the offsets. Opening it maps the two arrays, so what is read is what the operating system has
to fetch and no more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import numpy as np

from fasttext_app.core.arrays import I64, Array
from fasttext_app.core.ragged import Ragged, offsets_of
from fasttext_app.errors import DataError

Load: TypeAlias = Callable[[], Ragged]
"""Gives back the bags of a piece, in this process or in another."""


class SpillBuffer:
    """Keeps bags; a context manager, whose end deletes the files.

    Args:
        limit: bytes that stay in memory; what comes after goes to files.
        folder: where the files go, and stay; None: a temporary folder.
        hand_over: pieces are for another process: they go to files from the start, which it maps
            without a copy, if there is room for them.

    >>> with SpillBuffer(limit=0) as spool:
    ...     piece = spool.piece()
    ...     piece.add(Ragged.from_lists([[3, 1], [2]]))
    ...     load = piece.close()
    ...     load().to_lists()
    [[3, 1], [2]]
    """

    def __init__(self, limit: int, folder: str | None = None, *, hand_over: bool = False) -> None:
        self.hand_over = hand_over
        self.spilled = False
        """Whether anything was more than the limit."""
        self._left = limit
        self._folder = folder
        self._own: tempfile.TemporaryDirectory[str] | None = None
        self._files = 0

    def __enter__(self) -> SpillBuffer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._own is not None:
            self._own.cleanup()

    def keep(self, bags: Ragged) -> Load:
        """Keep some bags for this process; return what gives them back.

        Raises:
            DataError: the file cannot be written.
        """
        piece = Piece(self)
        piece.add(bags)
        return piece.close()

    def piece(self) -> Piece:
        """Begin bags that are kept end to end."""
        return Piece(self, to_file=self.hand_over)

    def holds(self, size: int) -> bool:
        """Say whether so many bytes more are within the limit; if so, they are taken."""
        if size > self._left:
            self.spilled = True
            return False
        self._left -= size
        return True

    def new_path(self) -> Path:
        """Return the path of the next file."""
        if self._folder is None:
            self._own = tempfile.TemporaryDirectory(prefix="fasttext_app-")
            self._folder = self._own.name
        self._files += 1
        return Path(self._folder) / f"{self._files}.ids"

    def explained(self, error: OSError) -> DataError:
        """Say what can be done about a file that cannot be written."""
        return DataError(
            f"{self._folder or tempfile.gettempdir()}: encoded texts cannot be kept there "
            f"({error.strerror or error}); name another folder with TMPDIR, "
            "or raise data.in_memory_mb"
        )


class Piece:
    """Bags that come part by part, and are given back as one."""

    def __init__(self, spool: SpillBuffer, *, to_file: bool = False) -> None:
        self.ids = 0
        """How many there are so far."""
        self._spool, self._to_file = spool, to_file
        self._path: Path | None = None
        self._parts: list[Ragged] = []
        self._lengths: list[I64] = []

    def add(self, bags: Ragged) -> None:
        """Add some bags after those that are there.

        Raises:
            DataError: the file cannot be written.
        """
        within = self._spool.holds(bags.indices.nbytes + bags.offsets.nbytes)
        self._parts.append(bags)
        if self._to_file or self._path is not None or not within:
            try:
                self._write([part.indices.astype(np.int32, copy=False) for part in self._parts])
            except OSError as error:
                if self._spool.spilled:
                    raise self._spool.explained(error) from None
                self._return_to_memory()
            else:
                self._lengths += [part.lengths for part in self._parts]
                self._parts.clear()
        self.ids += len(bags.indices)

    def close(self) -> Load:
        """Return what gives the bags back.

        Raises:
            DataError: the file cannot be written.
        """
        if self._path is None:
            return partial(Ragged.concat, self._parts)
        offsets = offsets_of(np.concatenate(self._lengths))
        try:
            self._write([np.zeros(self.ids % 2, np.int32), offsets])  # to begin at 8 bytes
        except OSError as error:
            raise self._spool.explained(error) from None
        return partial(_mapped, self._path, self.ids, len(offsets))

    def _write(self, arrays: list[Array]) -> None:
        if self._path is None:
            self._path = self._spool.new_path()
        with self._path.open("ab") as file:
            for array in arrays:
                file.write(array.data)

    def _return_to_memory(self) -> None:
        """Have in memory what was to be a file, for which there is no room."""
        assert self._path is not None
        if self.ids:
            written = np.fromfile(self._path, np.int32, self.ids)
            self._parts.insert(0, Ragged(written, offsets_of(np.concatenate(self._lengths))))
            self._lengths.clear()
        with suppress(OSError):
            self._path.unlink()
        self._path, self._to_file, self._spool.hand_over = None, False, False


def _mapped(path: Path, ids: int, offsets: int) -> Ragged:
    """Map a file; what is written to the arrays is not written to the file."""
    indices = np.memmap(path, np.int32, "c", 0, ids) if ids else np.empty(0, np.int32)
    begin = (ids + ids % 2) * 4
    return Ragged(np.asarray(indices), np.asarray(np.memmap(path, np.int64, "c", begin, offsets)))

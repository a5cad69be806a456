"""Store encoded texts in memory up to a limit, and beyond it in memory-mapped files.

A file holds one ``Ragged`` as it is in memory: all ids, then the offsets. Loading maps the two
arrays, so the operating system reads only the pages that are used.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from fasttext_app.core.arrays import I64, Array
from fasttext_app.core.ragged import Ragged, offsets_from_lengths
from fasttext_app.errors import DataError

RaggedLoader: TypeAlias = Callable[[], Ragged]
"""Returns stored bags, in this process or another one."""


class SpillBuffer:
    """A store of bags; a context manager that deletes its temporary files at the end.

    Args:
        limit: bytes to hold in memory; bags beyond it are written to files.
        folder: the folder of the files, which then stay; None: a temporary folder.
        prefer_files: write to files from the start, as long as they can be written, so that
            another process can map the bags without a copy.

    >>> with SpillBuffer(limit=0) as spill_buffer:
    ...     writer = spill_buffer.writer()
    ...     writer.append(Ragged.from_lists([[3, 1], [2]]))
    ...     load = writer.close()
    ...     load().to_lists()
    [[3, 1], [2]]
    """

    def __init__(
        self, limit: int, folder: str | None = None, *, prefer_files: bool = False
    ) -> None:
        self.prefer_files = prefer_files
        self.spilled = False
        """True once the limit was exceeded."""
        self._bytes_left = limit
        self._folder = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._file_count = 0

    def __enter__(self) -> SpillBuffer:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()

    def store(self, bags: Ragged) -> RaggedLoader:
        """Store bags for use in this process, and return their loader.

        Raises:
            DataError: a file cannot be written.
        """
        writer = SpillWriter(self)
        writer.append(bags)
        return writer.close()

    def writer(self) -> SpillWriter:
        """Return a writer for bags that come batch by batch and are loaded as one ``Ragged``."""
        return SpillWriter(self, to_file=self.prefer_files)

    def reserve(self, size: int) -> bool:
        """Reserve ``size`` bytes of memory; return False if they exceed the limit."""
        if size > self._bytes_left:
            self.spilled = True
            return False
        self._bytes_left -= size
        return True

    def new_path(self) -> Path:
        """Return the path of the next file."""
        if self._folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="fasttext_app-")
            self._folder = self._temporary.name
        self._file_count += 1
        return Path(self._folder) / f"{self._file_count}.ids"

    def write_error(self, error: OSError) -> DataError:
        """Return the error to raise when a file cannot be written."""
        return DataError(
            f"{self._folder or tempfile.gettempdir()}: encoded texts cannot be written there "
            f"({error.strerror or error}); set TMPDIR to another folder, or raise data.in_memory_mb"
        )


class SpillWriter:
    """Collects bags in memory, and moves to a file if they exceed the limit of the buffer."""

    def __init__(self, spill_buffer: SpillBuffer, *, to_file: bool = False) -> None:
        self.id_count = 0
        """Number of ids appended so far."""
        self._spill_buffer, self._to_file = spill_buffer, to_file
        self._path: Path | None = None
        self._in_memory: list[Ragged] = []
        self._lengths: list[I64] = []  # of the bags in the file

    def append(self, bags: Ragged) -> None:
        """Append bags.

        Raises:
            DataError: the file cannot be written.
        """
        fits = self._spill_buffer.reserve(bags.indices.nbytes + bags.offsets.nbytes)
        self._in_memory.append(bags)
        if self._to_file or self._path is not None or not fits:
            try:
                self._write([part.indices.astype(np.int32, copy=False) for part in self._in_memory])
            except OSError as error:
                if self._spill_buffer.spilled:
                    raise self._spill_buffer.write_error(error) from None
                self._move_to_memory()
            else:
                self._lengths += [part.lengths for part in self._in_memory]
                self._in_memory.clear()
        self.id_count += len(bags.indices)

    def close(self) -> RaggedLoader:
        """Return the loader of all appended bags.

        Raises:
            DataError: the file cannot be written.
        """
        if self._path is None:
            return partial(Ragged.concat, self._in_memory)
        offsets = offsets_from_lengths(np.concatenate(self._lengths))
        padding = np.zeros(self.id_count % 2, np.int32)  # aligns the offsets to 8 bytes
        try:
            self._write([padding, offsets])
        except OSError as error:
            raise self._spill_buffer.write_error(error) from None
        return partial(_map_file, self._path, self.id_count, len(offsets))

    def _write(self, arrays: list[Array]) -> None:
        if self._path is None:
            self._path = self._spill_buffer.new_path()
        with self._path.open("ab") as file:
            for array in arrays:
                file.write(array.data)

    def _move_to_memory(self) -> None:
        """Read the file back, because the disk is full and memory suffices."""
        assert self._path is not None
        if self.id_count:
            ids = np.fromfile(self._path, np.int32, self.id_count)
            offsets = offsets_from_lengths(np.concatenate(self._lengths))
            self._in_memory.insert(0, Ragged(ids, offsets))
            self._lengths.clear()
        with suppress(OSError):
            self._path.unlink()
        self._path, self._to_file, self._spill_buffer.prefer_files = None, False, False


def _map_file(path: Path, id_count: int, offset_count: int) -> Ragged:
    """Map a file copy-on-write: changes to the arrays stay in memory."""
    indices = np.memmap(path, np.int32, "c", 0, id_count) if id_count else np.empty(0, np.int32)
    start = (id_count + id_count % 2) * 4
    offsets = np.memmap(path, np.int64, "c", start, offset_count)
    return Ragged(np.asarray(indices), np.asarray(offsets))

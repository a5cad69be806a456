"""``Spool``: where encoded texts stay, in memory up to a limit, then in memory-mapped Arrow files.

A file holds one ``Ragged`` as an Arrow list column, which is the same two arrays; opening it maps
them, so what is read is what the operating system has to fetch and no more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from fasttext_app.errors import DataError
from fasttext_app.text.ragged import Ragged
from fasttext_app.text.strings import number_array, numbers_of

__all__ = ["Spool"]


class Spool:
    """Keeps bags; a context manager, whose end deletes the files.

    Args:
        limit: bytes that stay in memory; what comes after goes to files.
        folder: where the files go, and stay; None: a temporary folder.

    >>> with Spool(limit=0) as spool:
    ...     load = spool.keep(Ragged.from_lists([[3, 1], [2]]))
    ...     load().to_lists()
    [[3, 1], [2]]
    """

    def __init__(self, limit: int, folder: str | None = None) -> None:
        self._left = limit
        self._folder = folder
        self._own: tempfile.TemporaryDirectory[str] | None = None
        self._files = 0
        self.spilled = False
        """Whether anything did not fit into memory."""

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._own is not None:
            self._own.cleanup()

    def keep(self, bags: Ragged) -> Callable[[], Ragged]:
        """Keep some bags; return what gives them back.

        Raises:
            DataError: the file cannot be written.
        """
        size = bags.indices.nbytes + bags.offsets.nbytes
        if size <= self._left:
            self._left -= size
            return partial(_itself, bags)
        self.spilled = True
        return self._filed(bags)

    def on_disk(self, load: Callable[[], Ragged]) -> Callable[[], Ragged]:
        """Put what :meth:`keep` kept in memory into a file too, for another process.

        Raises:
            DataError: the file cannot be written.
        """
        in_memory = isinstance(load, partial) and load.func is _itself
        return self._filed(load()) if in_memory else load

    def _filed(self, bags: Ragged) -> Callable[[], Ragged]:
        try:
            return self._to_file(bags)
        except OSError as error:
            raise DataError(
                f"{self._folder or tempfile.gettempdir()}: encoded texts cannot be kept there "
                f"({error.strerror or error}); name another folder with TMPDIR, "
                "or raise data.in_memory_mb"
            ) from None

    def _to_file(self, bags: Ragged) -> Callable[[], Ragged]:
        if self._folder is None:
            self._own = tempfile.TemporaryDirectory(prefix="fasttext_app-")
            self._folder = self._own.name
        path = Path(self._folder) / f"{self._files}.arrow"
        self._files += 1
        values, offsets = number_array(bags.indices), number_array(bags.offsets)
        lists = pa.LargeListArray.from_arrays(offsets, values)
        batch = pa.record_batch([lists], names=["ids"])
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return partial(_mapped, path)


def _itself(bags: Ragged) -> Ragged:
    return bags


def _mapped(path: Path) -> Ragged:
    with pa.memory_map(str(path)) as source:
        lists = pa.ipc.open_file(source).get_batch(0).column(0)
    return Ragged(numbers_of(lists.values), numbers_of(lists.offsets))

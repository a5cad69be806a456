"""``Source``: the texts and labels of one SPEC, split by split, as Arrow record batches."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from fasttext_app.core.meter import followed
from fasttext_app.errors import DataError, did_you_mean

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
"""The names that a split goes by elsewhere, with its name here."""

RESULT_NAMES = re.compile(r"(text|known|labels?|probabilit(y|ies))(_\d+)?")
"""The names of columns of predictions."""

Batches: TypeAlias = Iterator[pa.RecordBatch]
"""Batches of ``text``; with labels, also of ``label``, and ``weight`` if the setting names one."""

Scan: TypeAlias = Callable[[bool], Batches]
"""A function that reads a split from its beginning; its argument says whether to read labels."""


FileState: TypeAlias = tuple[int, int]
"""The size and the time of a file."""


class NoColumnsError(DataError):
    """Lines of text, which have no columns to copy."""


def kept_name(name: str) -> str:
    """Return the name in the predictions of a column that is copied there.

    >>> kept_name("id"), kept_name("label")
    ('id', 'input_label')
    """
    return f"input_{name}" if RESULT_NAMES.fullmatch(name) else name


def unchanged(path: Path, batches: Batches, before: FileState | None = None) -> Batches:
    """Yield the batches of a file, and make sure that nothing writes to it meanwhile.

    Args:
        path: the file.
        batches: its batches.
        before: the state of the file at an earlier time; None: now.

    Raises:
        DataError: its size or its time has changed; so what was read may be half of a row.
    """
    before = before or file_state(path)
    try:
        yield from batches
    except DataError:
        _refuse_change(path, before)
        raise
    _refuse_change(path, before)


def _refuse_change(path: Path, before: FileState | None) -> None:
    if file_state(path) != before:
        raise DataError(
            f"{path}: has changed while it was read; read it again when nothing writes to it"
        )


def file_state(path: Path) -> FileState | None:
    """Return the size and the time of a file; None for a pipe, or where there is no file."""
    if not path.is_file():
        return None
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class Part:
    """A file of a split, or the whole split; it can be read alone."""

    size: int
    """In bytes; only the sizes of several parts mean anything."""
    scan: Scan

    def survey(self, number: int, count: int) -> Any:
        """Find out where a share of the part can be cut.

        Args:
            number: that of the share.
            count: the number of shares.

        Returns:
            What :meth:`pieces` needs to know of the share, for JSON; None if the part can only be
            read whole.

        Raises:
            DataError: the file cannot be read.
        """
        return self.scan.survey(number, count) if hasattr(self.scan, "survey") else None

    def pieces(self, surveys: Sequence[Any]) -> list[Part]:
        """Return pieces that can be read alone, at most one for each share.

        Read one after the other, they yield the batches of the part.

        Args:
            surveys: those of all shares, in order.

        Returns:
            The pieces; the part itself if it can only be read whole.
        """
        if None in surveys or not hasattr(self.scan, "pieces"):
            return [self]
        pieces: list[Part] = self.scan.pieces(surveys)
        return pieces if len(pieces) > 1 else [self]


@dataclass(frozen=True)
class PieceScan:
    """Reads a piece of a file.

    Attributes:
        path: the file.
        before: its state when it was cut.
        read: reads the rows of the piece.
        read_file: reads the whole file.
    """

    path: Path
    before: FileState | None
    read: Scan
    read_file: Scan

    def __call__(self, with_labels: bool) -> Batches:
        """Read the piece.

        Raises:
            DataError: the rows of the piece cannot be read, or the file has changed.
        """
        return unchanged(self.path, self._batches(with_labels), self.before)

    def _batches(self, with_labels: bool) -> Batches:
        try:
            yield from self.read(with_labels)
        except DataError:
            # The first error in the file is the one to report, with its line.
            deque(self.read_file(with_labels), maxlen=0)
            raise


def parts_of(scan: Scan) -> list[Part]:
    """Return the parts of a split, in their order."""
    parts: list[Part] = scan.parts() if hasattr(scan, "parts") else [Part(1, scan)]
    return parts


@dataclass(frozen=True)
class Source:
    """The splits of one SPEC, which are read only when they are scanned.

    Attributes:
        spec: the SPEC, for messages and for the record of a run.
        scans: the function that reads each split, by the name of the split.
        label_names: the class names of the data in their order, if it has any.
        single: whether the source is one file, which is then every split.
    """

    spec: str
    scans: Mapping[str, Scan]
    label_names: Sequence[str] | None = None
    single: bool = field(default=False, kw_only=True)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return tuple(self.scans)

    def has(self, split: str) -> bool:
        """Return whether there is such a split; ``valid`` and ``dev`` mean ``validation``."""
        return not self.single and self.name_of(split) in self.scans

    def name_of(self, split: str) -> str:
        """Return the name that a split has here."""
        return split if split in self.scans else SPLIT_NAMES.get(split, split)

    def scan(self, split: str, *, with_labels: bool = True) -> Batches:
        """Read a split batch by batch, in constant memory.

        Raises:
            DataError: there is no such split, or its rows cannot be read.
        """
        return followed(self._scan_of(split)(with_labels))

    def parts(self, split: str) -> list[Part]:
        """Return the parts of a split, in their order; nothing is read yet.

        Raises:
            DataError: there is no such split.
        """
        return parts_of(self._scan_of(split))

    def _scan_of(self, split: str) -> Scan:
        if self.single:
            return next(iter(self.scans.values()))
        split = self.name_of(split)
        if split not in self.scans:
            hint = did_you_mean(split, self.scans) or f"; it has: {', '.join(self.scans)}"
            raise DataError(f"{self.spec}: no split {split!r}{hint}")
        return self.scans[split]

    def read(self, split: str, *, with_labels: bool = True) -> pa.Table:
        """Read a whole split into memory.

        Raises:
            DataError: there is no such split, it has no rows, or they cannot be read.
        """
        batches = [batch for batch in self.scan(split, with_labels=with_labels) if len(batch)]
        if not batches:
            where = self.spec if self.single else f"{self.spec}, split {split!r}"
            raise DataError(f"{where}: there are no rows")
        return pa.Table.from_batches(batches)

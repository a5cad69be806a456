"""``BadRows``: rows that cannot be read. They are errors, or are skipped, counted and listed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeAlias

import pyarrow as pa

from fasttext_app.errors import DataError

LISTED = 10  # problems that are kept, of each file and of all

Locate: TypeAlias = Callable[[int], str]
"""A function from a row of a batch to its place in the data, such as ``file:line``."""
Found: TypeAlias = tuple[int, int, str, int, list[str]]
"""The place of a file among all, its name, its number of bad rows, and the first problems."""


class ColumnError(DataError):
    """A problem of a whole column; no row is to blame."""


@dataclass
class FileErrors:
    """The bad rows of one file, or of one split."""

    skip: bool
    count: int = 0
    problems: list[str] = field(default_factory=list)
    """The first ones."""
    place: tuple[int, int] = (0, 0)
    """The position of the file among the files of all processes; see :meth:`BadRows.merge`."""

    def refuse(self, problem: str) -> None:
        """Count a bad row, which is left out.

        Raises:
            DataError: bad rows are not skipped.
        """
        if not self.skip:
            raise DataError(problem)
        self.count += 1
        if self.count <= LISTED:
            self.problems.append(problem)


@dataclass
class BadRows:
    """The bad rows of a source.

    Attributes:
        skip: whether they are skipped; otherwise the first one is an error.
        part: where several processes read, the number of the part that this one reads.
    """

    skip: bool = False
    part: int = 0
    _merges: int = 0
    _files: dict[str, FileErrors] = field(default_factory=dict)

    def begin(self, file: object) -> FileErrors:
        """Return the errors of a file, or a piece, that is now read; earlier ones are dropped."""
        errors = FileErrors(self.skip, place=(self._merges, self.part))
        self._files[str(file)] = errors
        return errors

    def found(self) -> list[Found]:
        """Return what is wrong in each file."""
        return [
            (*errors.place, file, errors.count, errors.problems)
            for file, errors in self._files.items()
        ]

    def merge(self, others: Iterable[Sequence[Found]]) -> None:
        """Replace what this process found by what all did, in the order in which one would read.

        Args:
            others: what each process found; several may have read the same file.
        """
        entries = sorted(chain.from_iterable(others), key=lambda entry: entry[:2])
        self._files = {
            file: FileErrors(self.skip, count, problems, (merge, part))
            for merge, part, file, count, problems in entries
        }
        self._merges += 1

    @property
    def count(self) -> int:
        """The number of rows that were skipped."""
        return sum(errors.count for errors in self._files.values())

    @property
    def note(self) -> str:
        """What an error about missing rows adds."""
        return f"; {self.count:,} were skipped, the first: {self.problems[0]}" if self.count else ""

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems of the first rows that were skipped."""
        problems = [problem for errors in self._files.values() for problem in errors.problems]
        return tuple(problems[:LISTED])


def convert_rows(
    rows: pa.RecordBatch,
    convert: Callable[[pa.RecordBatch, Locate], pa.RecordBatch],
    locate: Locate,
    errors: FileErrors,
) -> pa.RecordBatch:
    """Convert rows; where bad rows are skipped, leave out those for which it fails.

    Args:
        rows: rows of any columns.
        convert: converts rows, given where each of them is.
        locate: tells where a row is.
        errors: counts the rows that are left out.

    Raises:
        DataError: a row is bad and not skipped, or no row is to blame.
    """
    try:
        return convert(rows, locate)
    except ColumnError:
        raise
    except DataError as error:
        if not errors.skip:
            raise
        if len(rows) == 1:
            errors.refuse(str(error))
            return convert(rows.slice(0, 0), locate)
    half = len(rows) // 2
    parts = [
        convert_rows(rows.slice(0, half), convert, locate, errors),
        convert_rows(rows.slice(half), convert, lambda row: locate(half + row), errors),
    ]
    return pa.concat_batches(parts)

"""``BadRows``: rows that cannot be read. They are errors, or are skipped, counted and listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import pyarrow as pa

from fasttext_app.errors import DataError

LISTED = 10  # problems that are kept, of each file and of all

Locate: TypeAlias = Callable[[int], str]
"""A function from a row of a batch to its place in the data, such as ``file:line``."""


class ColumnError(DataError):
    """A problem of a whole column; no row is to blame."""


@dataclass
class FileErrors:
    """The bad rows of one file, or of one split."""

    skip: bool
    count: int = 0
    problems: list[str] = field(default_factory=list)
    """The first ones."""

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
    """

    skip: bool = False
    _files: dict[str, FileErrors] = field(default_factory=dict)

    def begin(self, file: object) -> FileErrors:
        """Return the errors of a file, or a piece, that is now read; earlier ones are dropped."""
        errors = self._files[str(file)] = FileErrors(self.skip)
        return errors

    def found(self) -> dict[str, tuple[int, list[str]]]:
        """Return the number of bad rows of each file, and the first problems."""
        return {file: (errors.count, errors.problems) for file, errors in self._files.items()}

    def merge(self, *others: Mapping[str, tuple[int, list[str]]]) -> None:
        """Add what other processes found in their files; some may have read the same ones."""
        self._files = {
            file: FileErrors(self.skip, count, problems)
            for found in others
            for file, (count, problems) in found.items()
        }

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

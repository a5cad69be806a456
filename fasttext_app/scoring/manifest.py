"""The manifest of a folder of scored files: a line of JSON for each file that is finished.

Before, a line says that the file is planned: a run that is killed between writing an output and its
record knows it for its own. A line that is incomplete is ignored, so its file is scored again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ConfigDict, ValidationError

from fasttext_app.core.atomic_file import atomic_file
from fasttext_app.core.documents import Count, Document
from fasttext_app.errors import DataError

NAME = "_manifest.jsonl"
"""The manifest in its folder; a name with an underscore is data to no engine."""


class Record(Document):
    """A finished file."""

    model_config = ConfigDict(frozen=True)

    input: str
    bytes: Count
    sha256: str
    settings: str
    """The digest of the model and the settings."""
    output: str
    """The path in the folder."""
    output_bytes: Count
    output_sha256: str
    rows: Count
    written: Count
    """Rows of the output."""
    skipped: Count
    """Rows that cannot be read."""
    problems: tuple[str, ...]
    """What is wrong with the first of them."""
    labels: dict[str, Count]
    """Rows by their label."""


class Planned(Document):
    """An output that a run is about to write: if it exists, it is the program's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output: str


class Manifest:
    """The records of a folder, by output; a new one is on the disk when :meth:`add` returns.

    Raises:
        DataError: the folder cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.records, self.planned = _read(self.path)
        lines = [Planned(output=output).model_dump_json() for output in sorted(self.planned)]
        lines += map(Record.model_dump_json, self.records.values())
        with atomic_file(self.path, DataError) as partial:
            partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def plan(self, outputs: Iterable[str]) -> None:
        """Note outputs before they are written."""
        new = [output for output in outputs if output not in self.planned]
        self.planned.update(new)
        self._append([Planned(output=output) for output in new])

    def add(self, record: Record) -> None:
        """Record a finished file."""
        self.records[record.output] = record
        self._append([record])

    def _append(self, lines: Sequence[Document]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line.model_dump_json()}\n" for line in lines))


def _read(path: Path) -> tuple[dict[str, Record], set[str]]:
    records, planned = dict[str, Record](), set[str]()
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        with suppress(ValidationError):
            planned.add(Planned.model_validate_json(line).output)
            continue
        with suppress(ValidationError):
            record = Record.model_validate_json(line, strict=False)
            records[record.output] = record
    return records, planned


def totals(records: Mapping[str, Record]) -> dict[str, int]:
    """Return the number of rows of all files with each label, the most frequent first."""
    counts: dict[str, int] = {}
    for record in records.values():
        for label, count in record.labels.items():
            counts[label] = counts.get(label, 0) + count
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

"""The manifest of a folder of scored files: a line of JSON for each file that is finished.

A line that a killed run left incomplete is ignored, so its file is scored again.
"""

from __future__ import annotations

from collections.abc import Mapping
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


class Manifest:
    """The records of a folder, by output; a new one is on the disk when :meth:`add` returns.

    Raises:
        DataError: the folder cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.records = _read(self.path)
        with atomic_file(self.path, DataError) as partial:
            lines = (f"{record.model_dump_json()}\n" for record in self.records.values())
            partial.write_text("".join(lines), encoding="utf-8")

    def add(self, record: Record) -> None:
        """Record a finished file."""
        self.records[record.output] = record
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{record.model_dump_json()}\n")


def _read(path: Path) -> dict[str, Record]:
    records: dict[str, Record] = {}
    if not path.is_file():
        return records
    for line in path.read_bytes().splitlines():
        try:
            record = Record.model_validate_json(line, strict=False)
        except ValidationError:
            continue
        records[record.output] = record
    return records


def totals(records: Mapping[str, Record]) -> dict[str, int]:
    """Return the number of rows of all files with each label, the most frequent first."""
    counts: dict[str, int] = {}
    for record in records.values():
        for label, count in record.labels.items():
            counts[label] = counts.get(label, 0) + count
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

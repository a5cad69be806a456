"""``DataStatistics``: counts of the rows of a run, as ``data.json`` holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fasttext_app.config.auto import DataSize


@dataclass(frozen=True)
class DataStatistics:
    """Counts of the rows of a run; the names of the fields are the keys in JSON."""

    source: str
    train_rows: int
    labels: Mapping[str, int]
    """The number of training rows with each label."""
    empty_texts: int
    tokens: int
    median_tokens: float
    vocabulary: int
    ids: int
    table_rows: int
    validation_rows: int
    validation_rows_of_unknown_labels: int
    fingerprint: str
    """A digest of all rows, by which a resumed run recognizes its data."""
    files: Mapping[str, str]
    """The stamps of the files that were read, by their SPEC; see ``data/named_files.py``."""
    skipped_rows: int | None = None
    """The rows that could not be read and were skipped."""
    refit_rows: int | None = None
    """The rows that the final model was trained on, held-out ones included; the scores are of the
    model before."""
    started_from: str | None = None
    """The model that the run started from: its path and digest."""
    imported: Mapping[str, Any] = field(default_factory=dict)
    """The fastText settings in the ``data.json`` of that model, under the same keys."""
    pretrained: str | None = None
    """The pretrained vectors: their path and digest."""
    pretrained_coverage: Mapping[str, float] | None = None
    not_calibrated: str | None = None
    """Why no temperature could be fitted."""

    @property
    def size(self) -> DataSize:
        """The size of the data, for the automatic settings."""
        return DataSize(
            tuple(self.labels.values()), self.train_rows, self.ids, self.validation_rows
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the plain values for JSON; fields that do not apply are left out."""
        values: dict[str, Any] = {}
        for name, value in vars(self).items():
            if name == "imported":
                values |= value
            elif value is not None:
                values[name] = value
        return values

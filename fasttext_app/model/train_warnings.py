"""Training warnings: what a run has to say about its model beyond the scores.

``str()`` of a warning is a sentence for a person; its fields are for programs.

>>> str(UnknownValidationLabels(rows=3))
'3 validation rows have labels that training never saw; they were left out'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainWarning:
    """The base of all training warnings."""


@dataclass(frozen=True)
class DamagedCheckpoint(TrainWarning):
    """A checkpoint that a resumed run skipped, because it is damaged."""

    problem: str

    def __str__(self) -> str:
        return f"skipped a damaged checkpoint: {self.problem}"


@dataclass(frozen=True)
class ChangedVersions(TrainWarning):
    """Packages whose version changed between the start of a run and its resumption."""

    versions: Mapping[str, tuple[str, str]]
    """The version at the start and the version now, by package."""

    def __str__(self) -> str:
        changes = (f"{name} {old}, now {new}" for name, (old, new) in self.versions.items())
        return (
            f"the run started with {'; '.join(changes)}: "
            "the weights may differ from an uninterrupted run"
        )


@dataclass(frozen=True)
class Interrupted(TrainWarning):
    """A run that was interrupted; the model has the best weights up to then."""

    def __str__(self) -> str:
        return "interrupted; the best weights so far are kept"


@dataclass(frozen=True)
class UnknownValidationLabels(TrainWarning):
    """Validation rows that were left out, because no training row has their label."""

    rows: int

    def __str__(self) -> str:
        return (
            f"{self.rows} validation rows have labels that training never saw; they were left out"
        )


@dataclass(frozen=True)
class NotCalibrated(TrainWarning):
    """A model that no temperature could be fitted to, although ``trainer.calibrate`` is set."""

    reason: str

    def __str__(self) -> str:
        return f"not calibrated: {self.reason}"


@dataclass(frozen=True)
class PretrainedCoverage(TrainWarning):
    """The share of the vocabulary, and of its occurrences, that has a pretrained vector."""

    words: float
    occurrences: float

    def __str__(self) -> str:
        return (
            f"pretrained vectors cover {self.words:.1%} of the vocabulary "
            f"and {self.occurrences:.1%} of its occurrences"
        )

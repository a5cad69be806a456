"""Training warnings: what a run has to say about its model beyond the scores.

``str()`` of a warning is a sentence for a person; its fields are for programs.

>>> str(UnknownValidationLabels(rows=3))
'3 validation rows have labels that training never saw; they were left out'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fasttext_app.data.findings import Finding

RARE_ROWS = 5
SHOWN = 3  # labels in a message


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
class SkippedRows(TrainWarning):
    """Rows that could not be read and were skipped."""

    rows: int
    problems: tuple[str, ...]
    """What was wrong with the first ones."""

    def __str__(self) -> str:
        more = f"; and {self.rows - SHOWN:,} more" if self.rows > SHOWN else ""
        plural = "s" * (self.rows != 1)
        return f"skipped {self.rows:,} bad row{plural}: {'; '.join(self.problems[:SHOWN])}{more}"


@dataclass(frozen=True)
class NotCalibrated(TrainWarning):
    """A model that no temperature could be fitted to, although ``trainer.calibrate`` is set."""

    reason: str

    def __str__(self) -> str:
        return f"not calibrated: {self.reason}"


@dataclass(frozen=True)
class FewSteps(TrainWarning):
    """A run with so few steps that the model has hardly moved."""

    steps: int

    def __str__(self) -> str:
        return (
            f"the run took only {self.steps} steps; "
            "raise trainer.epochs, or lower trainer.batch_size"
        )


@dataclass(frozen=True)
class RareLabels(TrainWarning):
    """Labels with too few training rows to learn."""

    counts: Mapping[str, int]
    """The number of training rows of each, the rarest first."""

    def __str__(self) -> str:
        shown = ", ".join(f"{label!r} ({rows})" for label, rows in [*self.counts.items()][:SHOWN])
        more = f" and {len(self.counts) - SHOWN} more" if len(self.counts) > SHOWN else ""
        return (
            f"labels with fewer than {RARE_ROWS} training rows: {shown}{more}; "
            "add rows, or merge labels"
        )


@dataclass(frozen=True)
class MajorityAccuracy(TrainWarning):
    """A validation accuracy that the most frequent label alone would reach."""

    accuracy: float
    label: str
    share: float
    """The fraction of the validation rows with that label."""

    def __str__(self) -> str:
        return (
            f"the validation accuracy ({self.accuracy:.4f}) is no better than always predicting "
            f'{self.label!r} ({self.share:.4f}); set trainer.monitor = "macro_f1", and try '
            'trainer.class_weights = "balanced"'
        )


@dataclass(frozen=True)
class UnknownTexts(TrainWarning):
    """Validation texts of which no word or n-gram has a row; all get the same prediction."""

    texts: int
    validation_rows: int

    def __str__(self) -> str:
        return (
            f"{self.texts} of {self.validation_rows} validation texts "
            f"({self.texts / self.validation_rows:.1%}) have no word or n-gram that training saw; "
            "lower text.min_count, or set text.minn and text.maxn for character n-grams"
        )


@dataclass(frozen=True)
class NoSpaces(TrainWarning):
    """Texts in a script without spaces, whose sentences the tokenizer takes for words."""

    letters: float
    """The mean number of letters of such a word."""
    share: float
    """The fraction of all characters that are in such words."""

    def __str__(self) -> str:
        return (
            f"{self.share:.0%} of the training texts is in a script without spaces, such as "
            f"Chinese, Japanese or Thai, and is cut into words of {self.letters:.0f} letters; "
            'set text.tokenizer = "unicode"'
        )


@dataclass(frozen=True)
class ContradictingLabels(TrainWarning):
    """Training rows with the same words and different labels."""

    rows: int
    """The rows whose label is not the most frequent one of their text."""
    example: tuple[int, int]
    """Two such rows, counted from 1 in the source."""

    def __str__(self) -> str:
        first, second = self.example
        return (
            f"{self.rows} training rows repeat a text with another label "
            f"(rows {first:,} and {second:,}); correct the labels, or set data.label_separator if "
            "a text can have several"
        )


@dataclass(frozen=True)
class DataFinding(TrainWarning):
    """Something about the training rows that ``fasttext-app data`` names too."""

    finding: Finding

    def __str__(self) -> str:
        return str(self.finding)


@dataclass(frozen=True)
class SharedTexts(TrainWarning):
    """Validation texts with the same words and n-grams as a training text."""

    rows: int
    validation_rows: int

    def __str__(self) -> str:
        return (
            f"{self.rows:,} of {self.validation_rows:,} validation texts have the same words as a "
            "training text; the validation scores are too good, so remove the copies"
        )


@dataclass(frozen=True)
class OneLabelAtATime(TrainWarning):
    """Rows with several labels, and a loss that learns one of them at a time."""

    rows: int
    train_rows: int
    loss: str

    def __str__(self) -> str:
        return (
            f"{self.rows:,} of {self.train_rows:,} training rows have several labels, of which "
            f'model.loss = "{self.loss}" learns one at a time; set model.loss = "ova" to learn all'
        )


@dataclass(frozen=True)
class PretrainedCoverage(TrainWarning):
    """The share of the training words, and of their occurrences, that has a pretrained vector."""

    words: float
    occurrences: float
    added: int = 0
    """The words that no training text has, and that got a row for their vector."""

    def __str__(self) -> str:
        added = f"; {self.added:,} more words have a row from them" if self.added else ""
        return (
            f"pretrained vectors cover {self.words:.1%} of the training words "
            f"and {self.occurrences:.1%} of their occurrences{added}"
        )

"""The files of a model directory: the JSON files as pydantic models, and the names of others.

As in ``config/schema.py``, the annotations are no strings.
"""

from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, RootModel, model_validator

from fasttext_app.core.documents import Count, Document, Key, Score

CARD, PICTURE = "README.md", "confusion.svg"
"""The model card, for people to edit, and the picture in it: in no manifest."""

Share = Annotated[float, Field(ge=0, le=1)]


class LabelsFile(Document):
    """``labels.json``."""

    names: Annotated[list[str], Field(min_length=1)]
    counts: list[Count]

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if len(self.counts) != len(self.names):
            raise ValueError("does not have one count per name")
        if len(set(self.names)) < len(self.names):
            raise ValueError("has a name twice")
        return self


class MetricsFile(RootModel[dict[Key, Score | None]]):
    """``metrics.json``."""


class Epoch(Document):
    """An epoch in ``history.json`` and in a checkpoint."""

    epoch: Annotated[Count, Field(ge=1)]
    train_loss: Score
    seconds: Score
    texts_per_second: Score
    validation_loss: Score | None = None
    validation_accuracy: Score | None = None
    validation_macro_f1: Score | None = None
    validation_score: Score | None = None


class HistoryFile(Document):
    """``history.json``; empty for an imported model."""

    best_epoch: Count = 0
    steps: Count = 0
    interrupted: bool = False
    stopped_early: bool = False
    epochs: list[Epoch] = Field(default=[])


class FastTextArgs(Document):
    """The settings of a fastText file that the configuration lacks."""

    ws: int = 5
    neg: int = 5
    lr_update_rate: int = 100
    t: float = 1e-4


class DataFile(Document):
    """``data.json``; the counts of the rows are missing in an imported model."""

    source: str | None = None
    train_rows: Count = 0
    labels: dict[str, Count] = Field(default={})
    empty_texts: Count = 0
    tokens: Count = 0
    median_tokens: float = 0
    vocabulary: Count = 0
    ids: Count = 0
    table_rows: Count = 0
    validation_rows: Count = 0
    validation_rows_of_unknown_labels: Count = 0
    fingerprint: str | None = None
    skipped_rows: Count = 0
    refit_rows: Count = 0
    started_from: str | None = None
    pretrained: str | None = None
    pretrained_coverage: dict[Key, float] | None = None
    not_calibrated: str | None = None
    label_prefix: str | None = None
    fasttext: FastTextArgs | None = None


class Measures(Document):
    """Measures of calibration."""

    ece: float


class Temperature(Document):
    """The temperature in ``calibration.json``."""

    value: Annotated[float, Field(gt=0)]
    source: str
    rows: Count
    before: Measures
    after: Measures


class Thresholds(Document):
    """The thresholds in ``calibration.json``."""

    goal: str
    source: str
    rows: Count
    values: dict[str, Share]


class CalibrationFile(Document):
    """``calibration.json``."""

    temperature: Temperature = Field(default=None)  # type: ignore[assignment]  # or missing
    thresholds: Thresholds = Field(default=None)  # type: ignore[assignment]


class RunData(Document):
    """The data of a run."""

    source: str
    train_rows: Count
    validation_rows: Count
    fingerprint: str
    started_from: str | None = None
    pretrained: str | None = None


class RunFile(Document):
    """``run.json``."""

    versions: dict[str, str]
    platform: str
    seed: int
    git: str | None
    data: RunData
    config: dict[Key, dict[Key, Any]]


MODELS: dict[str, type[BaseModel]] = {
    "labels.json": LabelsFile,
    "metrics.json": MetricsFile,
    "history.json": HistoryFile,
    "data.json": DataFile,
    "calibration.json": CalibrationFile,
    "run.json": RunFile,
}
"""The model of each file."""

"""The files of a model directory: the JSON files as types, and the names of the model card's."""

from typing import Annotated, Any, NotRequired, TypedDict

from fasttext_app.core.documents import Count, Key, Score
from fasttext_app.core.validation import After, Limits

CARD, PICTURE = "README.md", "confusion.svg"
"""The model card, for people to edit, and the picture in it: in no manifest."""

Share = Annotated[float, Limits(ge=0, le=1)]


class LabelsFile(TypedDict):
    """``labels.json``."""

    names: Annotated[list[str], Limits(min_length=1)]
    counts: list[Count]


def _check_names(labels: LabelsFile) -> LabelsFile:
    if len(labels["counts"]) != len(labels["names"]):
        raise ValueError("does not have one count per name")
    if len(set(labels["names"])) < len(labels["names"]):
        raise ValueError("has a name twice")
    return labels


class Epoch(TypedDict):
    """An epoch in ``history.json`` and in a checkpoint."""

    epoch: Annotated[Count, Limits(ge=1)]
    train_loss: Score
    seconds: Score
    texts_per_second: Score
    validation_loss: NotRequired[Score | None]
    validation_accuracy: NotRequired[Score | None]
    validation_macro_f1: NotRequired[Score | None]
    validation_score: NotRequired[Score | None]


class HistoryFile(TypedDict, total=False):
    """``history.json``; empty for an imported model."""

    best_epoch: Count
    steps: Count
    interrupted: bool
    stopped_early: bool
    epochs: list[Epoch]


class FastTextArgs(TypedDict, total=False):
    """The settings of a fastText file that the configuration lacks."""

    ws: int
    neg: int
    lr_update_rate: int
    t: float


class DataFile(TypedDict, total=False):
    """``data.json``; the counts of the rows are missing in an imported model."""

    source: str | None
    train_rows: Count
    labels: dict[str, Count]
    empty_texts: Count
    tokens: Count
    median_tokens: float
    vocabulary: Count
    ids: Count
    table_rows: Count
    validation_rows: Count
    validation_rows_of_unknown_labels: Count
    fingerprint: str | None
    skipped_rows: Count
    refit_rows: Count
    started_from: str | None
    pretrained: str | None
    pretrained_coverage: dict[Key, float] | None
    not_calibrated: str | None
    label_prefix: str | None
    fasttext: FastTextArgs | None


class Measures(TypedDict):
    """Measures of calibration."""

    ece: float


class Temperature(TypedDict):
    """The temperature in ``calibration.json``."""

    value: Annotated[float, Limits(gt=0)]
    source: str
    rows: Count
    before: Measures
    after: Measures


class Thresholds(TypedDict):
    """The thresholds in ``calibration.json``."""

    goal: str
    source: str
    rows: Count
    values: dict[str, Share]


class CalibrationFile(TypedDict, total=False):
    """``calibration.json``."""

    temperature: Temperature
    thresholds: Thresholds


class RunData(TypedDict):
    """The data of a run."""

    source: str
    train_rows: Count
    validation_rows: Count
    fingerprint: str
    started_from: NotRequired[str | None]
    pretrained: NotRequired[str | None]


class RunFile(TypedDict):
    """``run.json``."""

    versions: dict[str, str]
    platform: str
    seed: int
    git: str | None
    data: RunData
    config: dict[Key, dict[Key, Any]]


KINDS: dict[str, Any] = {
    "labels.json": Annotated[LabelsFile, After(_check_names)],
    "metrics.json": dict[Key, Score | None],
    "history.json": HistoryFile,
    "data.json": DataFile,
    "calibration.json": CalibrationFile,
    "run.json": RunFile,
}
"""The type of each file."""

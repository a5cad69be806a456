"""The learning curves of a run, read from its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fasttext_app.core.documents import check_document
from fasttext_app.errors import ArtifactError, CheckpointError
from fasttext_app.model.documents import HistoryFile
from fasttext_app.training.checkpoints import PROGRESS, find_checkpoint
from fasttext_app.training.events import EpochRecord

HISTORY = "history.json"
LOSSES = {"train_loss": "train", "validation_loss": "validation"}
SCORES = {
    "validation_accuracy": "accuracy",
    "validation_macro_f1": "macro F1",
    "validation_score": "monitored",
}


@dataclass(frozen=True)
class History:
    """The epochs of a run, at least one."""

    name: str
    epochs: tuple[EpochRecord, ...]
    best_epoch: int | None
    """The epoch whose weights were kept; None if it was not chosen by validation."""


@dataclass(frozen=True)
class Curve:
    """One score of a run, by epoch."""

    name: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]
    best_epoch: int | None


@dataclass(frozen=True)
class Panel:
    """Curves that share an axis."""

    title: str
    curves: tuple[Curve, ...]


def load_history(folder: str | Path) -> History:
    """Read the history of a run from its newest checkpoint or, if it has ended, its model.

    Raises:
        ArtifactError: there is no such folder, it has no history, or the history cannot be read.
    """
    if not Path(folder).is_dir():
        raise ArtifactError(f"{folder}: no such model directory")
    path, key = Path(folder) / HISTORY, "epochs"
    try:
        path, key = find_checkpoint(folder).path / PROGRESS, "history"
    except CheckpointError:  # the run has ended
        if not path.is_file():
            raise ArtifactError(f"{folder}: has no {HISTORY}") from None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        history = history_of(str(folder), {**document, "epochs": document.get(key, [])})
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ArtifactError(f"{path}: not the history of a run: {error}") from None
    if history is None:
        raise ArtifactError(
            f"{folder}: there are no epochs to plot; the model was imported, or its first epoch "
            "has not ended"
        )
    return history


def history_of(name: str, document: Mapping[str, Any]) -> History | None:
    """Return the history that a model has of its training; None if it has none.

    Raises:
        ValueError: it is not the history of a run.
    """
    check_document(document, HistoryFile, HISTORY)
    epochs = tuple(_record(entry) for entry in document.get("epochs", ()))
    if not epochs:
        return None
    best = int(document.get("best_epoch", 0))
    validated = any(e.epoch == best and e.validation_loss is not None for e in epochs)
    return History(name, epochs, best if validated else None)


def _record(entry: dict[str, Any]) -> EpochRecord:
    """Read an epoch; ignore scores that this version does not know."""
    names = {field.name for field in fields(EpochRecord)}
    scores: dict[str, Any] = {
        name: None if value is None else float(value)  # JSON can have any integer
        for name, value in entry.items()
        if name in names - {"epoch"}
    }
    record = EpochRecord(epoch=entry["epoch"], **scores)
    for name in ("epoch", *LOSSES, *SCORES):
        value = getattr(record, name)
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{name} is {value}")
    return record


def panels(histories: Sequence[History]) -> list[Panel]:
    """Group the scores into panels, without those that no run has.

    A single run gets a panel of losses and one of validation scores. Several runs get a panel for
    each score, with a curve for each run.
    """
    if len(histories) == 1:
        (history,) = histories
        groups = {
            title: [(history, score, name) for score, name in scores.items()]
            for title, scores in (("loss", LOSSES), ("validation", SCORES))
        }
    else:
        groups = {
            f"{name} loss" if score in LOSSES else f"validation {name}": [
                (history, score, history.name) for history in histories
            ]
            for score, name in (LOSSES | SCORES).items()
        }
    all_panels = [Panel(title, _curves(entries)) for title, entries in groups.items()]
    return [panel for panel in all_panels if panel.curves]


def _curves(entries: Sequence[tuple[History, str, str]]) -> tuple[Curve, ...]:
    """Build the curve of each (run, score, name of the curve), if the run has that score."""
    curves = []
    for history, score, name in entries:
        points = [(epoch.epoch, getattr(epoch, score)) for epoch in history.epochs]
        measured = [(epoch, value) for epoch, value in points if value is not None]
        if measured:
            epochs, values = zip(*measured, strict=True)
            curves.append(Curve(name, epochs, values, history.best_epoch))
    return tuple(curves)

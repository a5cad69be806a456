"""The learning curves of a run: what its epochs came to, read from its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fasttext_app.errors import ArtifactError, CheckpointError
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
    """The epochs of a run, one at least."""

    name: str
    epochs: tuple[EpochRecord, ...]
    best_epoch: int | None
    """The epoch whose weights were kept; None where no validation rows chose one."""


@dataclass(frozen=True)
class Curve:
    """One figure of a run by epoch."""

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
    """Read the history of a run from its model directory, or from its newest whole checkpoint.

    Raises:
        ArtifactError: there is no such folder, it has no history, or that cannot be read.
    """
    if not Path(folder).is_dir():
        raise ArtifactError(f"{folder}: no such model directory")
    path, key = Path(folder) / HISTORY, "epochs"
    try:
        path, key = find_checkpoint(folder).path / PROGRESS, "history"
    except CheckpointError:  # the run has ended
        if not path.is_file():
            raise ArtifactError(f"{folder}: there is no {HISTORY} in it") from None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        epochs = tuple(_record(entry) for entry in document.get(key, []))
        best = int(document.get("best_epoch", 0))
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ArtifactError(f"{path}: cannot be read as the history of a run: {error}") from None
    if not epochs:
        raise ArtifactError(
            f"{folder}: the model has no epochs to plot; it was imported, or is in its first"
        )
    chosen = [e.epoch for e in epochs if e.epoch == best and e.validation_loss is not None]
    return History(str(folder), epochs, chosen[0] if chosen else None)


def _record(entry: dict[str, Any]) -> EpochRecord:
    """Read an epoch; figures that this version does not know are left out."""
    known = {field.name for field in fields(EpochRecord)}
    record = EpochRecord(**{name: value for name, value in entry.items() if name in known})
    for name in ("epoch", *LOSSES, *SCORES):
        value = getattr(record, name)
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{name} is {value}")
    return record


def panels(histories: Sequence[History]) -> list[Panel]:
    """Sort figures into panels: of one run by their kind, of several each with a curve a run.

    Figures that no run has get no panel.
    """
    if len(histories) == 1:
        groups = {"loss": LOSSES, "validation": SCORES}
        found = [
            Panel(
                title, _curves([(histories[0], figure, name) for figure, name in figures.items()])
            )
            for title, figures in groups.items()
        ]
    else:
        found = [
            Panel(
                f"{name} loss" if figure in LOSSES else f"validation {name}",
                _curves([(history, figure, history.name) for history in histories]),
            )
            for figure, name in (LOSSES | SCORES).items()
        ]
    return [panel for panel in found if panel.curves]


def _curves(wanted: Sequence[tuple[History, str, str]]) -> tuple[Curve, ...]:
    curves = []
    for history, figure, name in wanted:
        points = [(epoch.epoch, getattr(epoch, figure)) for epoch in history.epochs]
        known = [(epoch, value) for epoch, value in points if value is not None]
        if known:
            epochs, values = zip(*known, strict=True)
            curves.append(Curve(name, epochs, values, history.best_epoch))
    return tuple(curves)

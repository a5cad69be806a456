"""A search by its parts: when it ends, its trials, what it tells of them, and what it came to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from fasttext_app.config.loading import Layer, resolve
from fasttext_app.config.metric_name import Metric
from fasttext_app.config.schema import Config
from fasttext_app.training.events import Event
from fasttext_app.tuning.space import SearchSpace

State = Literal["finished", "pruned", "too large", "failed"]


@dataclass(frozen=True)
class Budget:
    """When a search ends: after so many trials or seconds in all, those of earlier sessions too."""

    trials: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Trial:
    """One run of a search."""

    number: int
    settings: dict[str, Any]
    """What was searched, by ``section.key``; trial 0 has none: it is the base."""
    state: State = "finished"
    figure: float | None = None
    """Of its best epoch; of a pruned trial, of the epochs that it had."""
    loss: float | None = None
    """On validation rows, of the same epoch: it decides between equal figures."""
    epoch: int = 0
    """The best one."""
    epochs_done: int = 0
    seconds: float = 0.0
    bytes: int | None = None
    """Of the model directory."""
    reason: str = ""
    """Why it failed."""


@dataclass(frozen=True)
class TrialBegin:
    """A trial starts."""

    number: int
    settings: dict[str, Any]
    seconds_left: float | None


@dataclass(frozen=True)
class TrialEnd:
    """A trial is over; ``best`` is the best so far, if there is one."""

    trial: Trial
    best: Trial | None


@dataclass(frozen=True)
class TuneResult:
    """What a search came to."""

    config: Config
    """The settings of the best trial; they train its model again."""
    best: Trial
    trials: tuple[Trial, ...]
    base: Config
    space: SearchSpace
    interrupted: bool = False
    data: dict[str, Any] = field(default_factory=dict)
    """The source, the number and a digest of the rows."""
    held_out: float = 0.0
    """The fraction of the training rows that the trials were scored on; 0: it was a split."""

    @property
    def final(self) -> Config:
        """The settings to train the model for use: on all rows, those held out here as well.

        No row is left to choose an epoch by, so the run ends after the best epoch of the trial.
        Where the trials were scored on a split, or a temperature is to be fitted on validation
        rows, these stay what they are, and it is ``config``.
        """
        if not self.held_out or self.config.trainer.calibrate:
            return self.config
        after = self.best.epoch if self.best.epoch < self.config.trainer.epochs else 0
        layer: Layer = {
            "data": {"validation": 0.0},
            "trainer": {"stop_after": after, "patience": 0, "monitor": "accuracy"},
        }
        return resolve(self.config.model_dump(), layer)

    @property
    def settings(self) -> dict[str, Any]:
        """All settings of ``config`` by their keys, for ``ft.train(data, labels, **settings)``."""
        sections = self.config.model_dump().values()
        return {k: value for section in sections for k, value in section.items() if k != "source"}

    @property
    def figure(self) -> float:
        """The best figure, that of ``trainer.monitor``."""
        assert self.best.figure is not None
        return self.best.figure


Callback = Callable[[Event | TrialBegin | TrialEnd], None]


def ranked(trials: Iterable[Trial], metric: Metric) -> list[Trial]:
    """Return the finished trials, the best first; of equal ones, that of the least loss."""

    def rank(trial: Trial) -> tuple[float, float, int]:
        assert trial.figure is not None
        figure = trial.figure if metric.lower_is_better else -trial.figure
        return figure, math.inf if trial.loss is None else trial.loss, trial.number

    return sorted((trial for trial in trials if trial.state == "finished"), key=rank)

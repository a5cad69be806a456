"""The parts of a search: its budget, its trials, its events and its result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import stdev
from typing import Any, Literal

from fasttext_app.config.loading import resolve
from fasttext_app.config.metric_name import Metric
from fasttext_app.config.schema import Config
from fasttext_app.training.events import Event
from fasttext_app.tuning.space import SearchSpace

State = Literal["finished", "pruned", "too large", "failed"]


@dataclass(frozen=True)
class Budget:
    """When a search ends: after this many trials or seconds, earlier sessions included."""

    trials: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Trial:
    """One run of a search."""

    number: int
    settings: dict[str, Any]
    """The searched settings, by ``section.key``; empty for trial 0, which is the base."""
    state: State = "finished"
    score: float | None = None
    """The metric at the best epoch, the mean over the splits; for a pruned trial, at the best epoch
    until then."""
    scores: list[float] = field(default_factory=list)
    """The metric on each split of the rows into training and validation rows."""
    loss: float | None = None
    """The validation loss of that epoch; it decides between equal scores."""
    epoch: int = 0
    """The best epoch."""
    epochs_done: int = 0
    seconds: float = 0.0
    bytes: int | None = None
    """The size of the model directory."""
    reason: str = ""
    """Why the trial failed."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values; study files, ``trials.csv`` and JSON call the score ``figure``."""
        return {"figure" if key == "score" else key: value for key, value in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Trial:
        """Build a trial from the values of :meth:`as_dict`."""
        return cls(**{"score" if key == "figure" else key: value for key, value in values.items()})


@dataclass(frozen=True)
class TrialBegin:
    """A trial starts."""

    number: int
    settings: dict[str, Any]
    seconds_left: float | None


@dataclass(frozen=True)
class TrialEnd:
    """A trial is over; ``best`` is the best trial so far, if any has finished."""

    trial: Trial
    best: Trial | None


@dataclass(frozen=True)
class TuneResult:
    """The result of a search."""

    config: Config
    """The settings of the best trial; they train the same model again."""
    best: Trial
    """The simplest of the trials that chance may have put behind the first; see `preferred`."""
    trials: tuple[Trial, ...]
    base: Config
    space: SearchSpace
    interrupted: bool = False
    data: dict[str, Any] = field(default_factory=dict)
    """The source, the number of rows and their digest."""
    validation_fraction: float = 0.0
    """The fraction of the training rows that was held out for validation; 0: a split was used."""
    validation_rows: int = 0
    """The validation rows of one split."""
    splits: int = 1
    """The number of random splits into training and validation rows, with consecutive seeds."""

    @property
    def final(self) -> Config:
        """The settings to train the model for use: ``config``, with a refit on all rows.

        If validation has a split of its own, there are no held-out rows to add, and these settings
        are ``config``.
        """
        if not self.validation_fraction:
            return self.config
        return resolve(self.config.model_dump(), {"trainer": {"refit": True}})

    @property
    def settings(self) -> dict[str, Any]:
        """All settings of ``config`` by their keys, for ``ft.train(data, labels, **settings)``."""
        sections = self.config.model_dump().values()
        return {k: value for section in sections for k, value in section.items() if k != "source"}

    @property
    def score(self) -> float:
        """The score of the best trial, by ``trainer.monitor``."""
        assert self.best.score is not None
        return self.best.score


Callback = Callable[[Event | TrialBegin | TrialEnd], None]


def preferred(trials: Iterable[Trial], metric: Metric, validation_rows: int) -> Trial | None:
    """Return the simplest finished trial within one standard error of the best score.

    The base is the simplest; of the others, the one with the smallest model.

    Args:
        trials: the trials of a search.
        metric: what they are scored by.
        validation_rows: the validation rows of one split.
    """
    order = ranked(trials, metric)
    if not order:
        return None
    close = [trial for trial in order if _is_close(order[0], trial, metric, validation_rows)]
    base = next((trial for trial in close if trial.number == 0), None)
    return base or min(close, key=lambda trial: trial.bytes or 0)


def _is_close(best: Trial, trial: Trial, metric: Metric, validation_rows: int) -> bool:
    """Return whether a trial is as good as the best one within a standard error."""
    assert best.score is not None
    assert trial.score is not None
    difference = abs(best.score - trial.score)
    if len(best.scores) > 1:
        pairs = zip(best.scores, trial.scores, strict=True)
        error = stdev([first - second for first, second in pairs]) / math.sqrt(len(best.scores))
    elif metric.lower_is_better:  # a loss: the rows of one split do not tell its error
        error = 0.0
    else:
        error = math.sqrt(best.score * (1 - best.score) / validation_rows)
    return difference <= error


def ranked(trials: Iterable[Trial], metric: Metric) -> list[Trial]:
    """Return the finished trials, the best first; equal scores go by the loss, then the number."""

    def rank(trial: Trial) -> tuple[float, float, int]:
        assert trial.score is not None
        score = trial.score if metric.lower_is_better else -trial.score
        return score, math.inf if trial.loss is None else trial.loss, trial.number

    return sorted((trial for trial in trials if trial.state == "finished"), key=rank)

"""The search for settings: one training run after another, scored on the validation rows.

choose settings ─► prepare (kept) ─► size ─► train, pruned after epochs ─► the best epoch's figure

Optuna chooses (TPE) and prunes (the median of runs at the same share of their steps). A trial is a
run as ``train`` does it, so its settings train the same model again, with the same figure.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fasttext_app.config.loading import resolve
from fasttext_app.config.metric_name import Metric
from fasttext_app.config.schema import Config
from fasttext_app.data.split import Examples
from fasttext_app.errors import ConfigError, TrainingError
from fasttext_app.training.events import EpochEnd, Event, StepEnd
from fasttext_app.training.run import train_prepared
from fasttext_app.tuning.data_cache import TrialData, model_bytes
from fasttext_app.tuning.default_space import default_space
from fasttext_app.tuning.space import Dimension, SearchSpace, flat_settings, nested_settings
from fasttext_app.tuning.study import StudyFile, as_param, quiet_optuna, suggest
from fasttext_app.tuning.trial import (
    Budget,
    Callback,
    State,
    Trial,
    TrialBegin,
    TrialEnd,
    TuneResult,
    ranked,
)

if TYPE_CHECKING:
    import optuna


RANDOM_TRIALS = 20  # before TPE has something to go by
UNPRUNED = 10  # the first trials, which say what is usual
SHARES = 12  # of a run, at the ends of which runs of unlike numbers of epochs are compared
COMPARED = 5  # trials that have come as far
UNCOMPARED = {"in_memory_mb", "threads", "device"}


class _Pruned(Exception):  # noqa: N818 - it is no error
    """The trial is not worth going on with."""


class _OutOfTime(Exception):  # noqa: N818 - it is no error
    """The time of the search is over amid a trial."""


def base_for_search(config: Config, metric: str | None = None) -> Config:
    """Return a configuration with validation rows, and with the figure to search by.

    Raises:
        ConfigError: there is no such figure.
    """
    layer: dict[str, dict[str, Any]] = {}
    if config.data.validation == 0:
        layer["data"] = {"validation": "auto"}
    layer["trainer"] = {"checkpoint_every": None, "keep_checkpoints": 2}
    if metric is not None:
        layer["trainer"]["monitor"] = metric
    return resolve(config.model_dump(), layer)


def tune(
    base: Config,
    open_examples: Callable[[Config], Examples],
    budget: Budget,
    *,
    space: SearchSpace | None = None,
    max_bytes: int | None = None,
    study: str | Path | None = None,
    callback: Callback | None = None,
    stop: Callable[[], bool] | None = None,
) -> TuneResult:
    """Search for settings. Ctrl-C ends it with the best so far.

    Args:
        base: the settings to start from, which are the first trial; see :func:`base_for_search`.
        open_examples: opens the rows from the start.
        budget: when to end.
        space: what to search; None: what :func:`default_space` says.
        max_bytes: of the model directory; larger ones are not trained.
        study: a file that keeps the trials, and those of an earlier session; None: memory.
        callback: receives the events, those of the trainer among them.
        stop: is asked between two steps, and two trials, whether to end as by Ctrl-C.

    Raises:
        ConfigError: a setting, the budget, or the study is not for this search.
        DataError: the rows cannot be read.
        TrainingError: the base cannot be trained, or no model is within ``max_bytes``.
        KeyboardInterrupt: Ctrl-C came before the first trial was over.
        MissingDependencyError: Optuna is not installed.
    """
    if budget.trials is not None and budget.trials < 1:
        raise ConfigError(f"trials = {budget.trials}: must be at least 1")
    if budget.trials is None and budget.seconds is None:
        raise ConfigError("tune needs an end: a number of trials or a time, or both")
    space = space or default_space(base, small=max_bytes is not None)
    _refuse_unlike_losses(base, space)
    began = time.perf_counter()
    with ExitStack() as stack:
        optuna = stack.enter_context(quiet_optuna())
        data = stack.enter_context(TrialData(open_examples, base.data.in_memory_mb * 2**20))
        rows, held_out = data.fingerprint(base), data.held_out(base)
        file = None
        if study is not None:
            identity = _identity(base, space, rows, max_bytes)
            direction = _direction(base)
            file = stack.enter_context(StudyFile.opened(Path(study), identity, direction))
        search = _Search(optuna, base, space, data, file, max_bytes, callback, stop)
        interrupted = search.run(budget, began)
    best = search.best
    if best is None:
        sizes = [trial.bytes for trial in search.trials if trial.bytes is not None]
        raise TrainingError(
            f"no model of {len(search.trials)} trials is within {max_bytes:,} bytes; the smallest "
            f"has {min(sizes, default=0):,}; search smaller ones (text.min_count, model.dim), or "
            "make one smaller with quantize"
        )
    config = search.config_of(best.settings)
    trials = tuple(search.trials)
    return TuneResult(config, best, trials, base, space, interrupted, rows, held_out)


def _refuse_unlike_losses(base: Config, space: SearchSpace) -> None:
    if base.trainer.monitor == "loss" and "model.loss" in space.settings:
        raise ConfigError(
            "model.loss: losses of unlike kinds do not compare; search by another figure"
        )


def _direction(base: Config) -> Literal["minimize", "maximize"]:
    return "minimize" if Metric.parse(base.trainer.monitor).lower_is_better else "maximize"


def _identity(
    base: Config, space: SearchSpace, rows: dict[str, Any], max_bytes: int | None
) -> dict[str, Any]:
    """Return what must be the same for trials to compare."""
    settings = {
        name: value
        for name, value in flat_settings(base).items()
        if name.split(".")[1] not in UNCOMPARED and value is not None
    }
    dimensions = {f"the search of {name}": entry for name, entry in space.as_dict().items()}
    data = {f"the data's {name}": value for name, value in rows.items()}
    return {**data, **settings, **dimensions, "the largest size": max_bytes}


class _Search:
    """Runs trials, and remembers them."""

    def __init__(
        self,
        optuna: Any,
        base: Config,
        space: SearchSpace,
        data: TrialData,
        file: StudyFile | None,
        max_bytes: int | None,
        callback: Callback | None,
        stop: Callable[[], bool] | None,
    ) -> None:
        self._stop = stop or (lambda: False)
        self._optuna, self._base, self._space, self._data = optuna, base, space, data
        self._file, self._max_bytes = file, max_bytes
        self._emit = callback or (lambda event: None)
        self._metric = Metric.parse(base.trainer.monitor)
        pruner = optuna.pruners.MedianPruner(UNPRUNED, n_min_trials=COMPARED)
        self._study = optuna.create_study(direction=_direction(base), pruner=pruner)
        earlier = file.trials if file else []
        self._study.add_trials(earlier)
        self.trials = [_read_trial(trial) for trial in earlier]

    @property
    def best(self) -> Trial | None:
        """The best trial so far."""
        return next(iter(ranked(self.trials, self._metric)), None)

    def run(self, budget: Budget, began: float) -> bool:
        """Run trials until the budget is spent; return whether Ctrl-C ended it."""
        spent_before = sum(trial.seconds for trial in self.trials)
        end = None if budget.seconds is None else began + budget.seconds - spent_before
        try:
            while budget.trials is None or len(self.trials) < budget.trials:
                if self._stop():
                    raise KeyboardInterrupt
                if end is not None and time.perf_counter() >= end and self.trials:
                    break
                self._run_trial(end)
        except _OutOfTime:
            pass
        except KeyboardInterrupt:
            if self.best is None:
                raise
            return True
        return self._stop()  # a signal that came after the last step

    def config_of(self, settings: dict[str, Any]) -> Config:
        """Return the base with some settings changed."""
        return resolve(self._base.model_dump(), nested_settings(settings))

    def _run_trial(self, end: float | None) -> None:
        number = len(self.trials)
        # The draws go by the trial's number, so a search that was cut goes on as it would have.
        self._study.sampler = self._optuna.samplers.TPESampler(
            n_startup_trials=RANDOM_TRIALS,
            seed=_mixed(self._base.trainer.seed, number),
            multivariate=True,
            group=True,
            constant_liar=False,
        )
        asked, settings = self._asked(first=number == 0)
        left = None if end is None else max(end - time.perf_counter(), 0.0)
        self._emit(TrialBegin(number, settings, left))
        watch = _Watch(asked, self._metric, end if self.trials else None, self._emit)
        trial = self._attempt(number, settings, watch)
        if trial.bytes is not None and self._max_bytes is not None:
            asked.set_constraint("bytes", trial.bytes / self._max_bytes - 1)
        asked.set_user_attr("trial", asdict(trial))
        if trial.state == "finished":
            self._study.tell(asked, trial.figure)
        else:
            self._study.tell(asked, state=self._optuna.trial.TrialState.PRUNED)
        if self._file is not None:
            self._file.add(self._study.get_trials(deepcopy=False)[-1])
        self.trials.append(trial)
        self._emit(TrialEnd(trial, self.best))

    def _asked(self, *, first: bool) -> tuple[optuna.Trial, dict[str, Any]]:
        """Begin a trial, and choose its settings; those of the first are the base's."""
        if not first:
            asked: optuna.Trial = self._study.ask()
            return asked, dict(self._space.choose(self._base, partial(suggest, asked)))
        of_base: list[tuple[Dimension, Any]] = []

        def found(dimension: Dimension) -> Sequence[Any]:
            values = dimension.value_of(flat_settings(self._base))
            of_base.extend((dimension, value) for value in values)
            return values

        self._space.choose(self._base, found)
        self._study.enqueue_trial({d.name: as_param(value) for d, value in of_base})
        asked = self._study.ask()
        for dimension, _ in of_base:
            suggest(asked, dimension)
        return asked, {}

    def _attempt(self, number: int, settings: dict[str, Any], watch: _Watch) -> Trial:
        """Train with some settings, and say what came of it."""
        began, size = time.perf_counter(), None

        def over(state: State, **figures: Any) -> Trial:
            seconds = round(time.perf_counter() - began, 3)
            return Trial(number, settings, state, bytes=size, seconds=seconds, **figures)

        try:
            config = self.config_of(settings)
            prepared = self._data.prepared(config)
            if not prepared.validation:
                raise TrainingError("tune needs validation rows; raise data.validation")
            size = model_bytes(prepared)
            if self._max_bytes is not None and size > self._max_bytes:
                return over("too large")
            trainer = prepared.config.trainer.model_copy(update={"calibrate": False})
            plain = prepared.config.model_copy(update={"trainer": trainer})
            prepared = replace(prepared, config=plain)
            outcome = train_prepared(prepared, watch, stop=self._stop).outcome
            if outcome.interrupted:
                raise KeyboardInterrupt
            record = outcome.history[outcome.best_epoch - 1]
            figure = record.figure(str(self._metric))
            if figure is None or math.isnan(figure):
                raise TrainingError(f"{self._metric} is not defined on the validation rows")
        except _Pruned:
            return over("pruned", figure=watch.best, epochs_done=watch.epochs_done)
        except (ConfigError, TrainingError) as error:
            if number == 0:
                raise
            return over("failed", reason=str(error))
        return over(
            "finished",
            figure=figure,
            loss=record.validation_loss,
            epoch=record.epoch,
            epochs_done=len(outcome.history),
        )


class _Watch:
    """Follows a run: passes its events on, and ends it where it is hopeless or out of time."""

    def __init__(
        self, asked: optuna.Trial, metric: Metric, end: float | None, emit: Callback
    ) -> None:
        self.best: float | None = None
        self.epochs_done = 0
        self._asked, self._metric, self._end, self._emit = asked, metric, end, emit
        self._epochs, self._step, self._latest = 0, 0, math.nan

    def __call__(self, event: Event) -> None:
        """Take one event.

        Raises:
            _Pruned: the run is not worth going on with.
            _OutOfTime: its time is over.
        """
        self._emit(event)
        self._epochs = getattr(event, "epochs", self._epochs)
        if isinstance(event, EpochEnd):
            self._end_epoch(event)
        if self._end is not None and isinstance(event, StepEnd) and time.perf_counter() > self._end:
            raise _OutOfTime

    def _end_epoch(self, event: EpochEnd) -> None:
        figure = event.record.figure(str(self._metric))
        assert figure is not None
        self.epochs_done = event.record.epoch
        if event.best:
            self.best = None if math.isnan(figure) else figure
        step = SHARES * self.epochs_done // self._epochs
        for passed in range(self._step + 1, step):  # without an epoch's end
            if not math.isnan(self._latest):
                self._asked.report(self._latest, passed)
        got_on = step > self._step
        if got_on:
            self._asked.report(figure, step)
        self._step, self._latest = step, figure
        if got_on and self.epochs_done < self._epochs and self._asked.should_prune():
            raise _Pruned


def _mixed(seed: int, number: int) -> int:
    import numpy as np

    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def _read_trial(trial: Any) -> Trial:
    return Trial(**trial.user_attrs["trial"])

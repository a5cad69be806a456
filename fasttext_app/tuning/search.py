"""The search for settings: one training run after another, scored on the validation rows.

    choose settings ─► prepare (cached) ─► size ─► train, pruned after epochs ─► the best score

Optuna chooses (TPE) and prunes (against the median of runs at the same fraction of their steps). A
trial is an ordinary training run, so its settings train the same model again, with that score.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fasttext_app.config.loading import resolve
from fasttext_app.config.metric_name import Metric
from fasttext_app.config.schema import Config
from fasttext_app.data.spec import STDIN
from fasttext_app.data.split import Examples
from fasttext_app.errors import ConfigError, TrainingError
from fasttext_app.training.events import EpochEnd, EpochRecord, Event, StepEnd, TrainOutcome
from fasttext_app.training.prepare import Prepared
from fasttext_app.training.run import train_prepared
from fasttext_app.tuning.data_cache import DataCache, model_bytes
from fasttext_app.tuning.space import (
    Dimension,
    SearchSpace,
    default_space,
    flat_settings,
    nested_settings,
)
from fasttext_app.tuning.study import StudyFile, as_param, quiet_optuna, suggest
from fasttext_app.tuning.trial import (
    Budget,
    Callback,
    State,
    Trial,
    TrialBegin,
    TrialEnd,
    TuneResult,
    preferred,
    ranked,
)

if TYPE_CHECKING:
    import optuna


RANDOM_TRIALS = 20  # before TPE chooses
UNPRUNED_TRIALS = 10  # the first ones, which later trials are compared with
PROGRESS_STEPS = 12  # runs of different lengths are compared at twelfths of a run
COMPARED_TRIALS = 5  # the median is taken of at least this many
VALIDATION_ROWS = 1000  # with fewer, the rows are split several times
MAX_SPLITS = 5
WITHOUT_EFFECT = {"in_memory_mb", "threads", "device"}  # on the trials of a study


class _Pruned(Exception):  # noqa: N818 - it is no error
    """Ends a trial that is not worth continuing."""


class _OutOfTime(Exception):  # noqa: N818 - it is no error
    """Ends a trial when the time of the search is over."""


def base_for_search(config: Config, metric: str | None = None) -> Config:
    """Return a configuration with validation rows, the metric to search by, and no checkpoints.

    Raises:
        ConfigError: there is no such metric, or the data can be read only once.
    """
    source = config.data.source or ()
    if STDIN in ([source] if isinstance(source, str) else source):
        raise ConfigError(
            "data.source: a search may read its data more than once, and standard input can be "
            "read only once; save it to a file"
        )
    layer: dict[str, dict[str, Any]] = {}
    if config.data.validation == 0:
        layer["data"] = {"validation": "auto"}
    layer["trainer"] = {"checkpoint_every": None, "keep_checkpoints": 2, "refit": False}
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
    """Search for settings. Ctrl-C ends the search with the best so far.

    Args:
        base: the settings to start from, which are the first trial; see :func:`base_for_search`.
        open_examples: opens the rows from the start.
        budget: when to end.
        space: the settings to search; None: :func:`default_space`.
        max_bytes: the largest model directory; larger models are not trained.
        study: a file that records the trials of all sessions; None: keep them in memory.
        callback: receives the events of the search and of the trainer.
        stop: called between steps and between trials; True ends the search as Ctrl-C does.

    Raises:
        ConfigError: a setting or the budget is impossible, or the study belongs to another search.
        DataError: the rows cannot be read.
        TrainingError: the base cannot be trained, or no model is within ``max_bytes``.
        KeyboardInterrupt: Ctrl-C before the first trial was over.
        MissingDependencyError: Optuna is not installed.
    """
    if budget.trials is not None and budget.trials < 1:
        raise ConfigError(f"trials = {budget.trials}: must be at least 1")
    if budget.trials is None and budget.seconds is None:
        raise ConfigError("tune needs an end: a number of trials or a time, or both")
    started = time.perf_counter()
    with ExitStack() as stack:
        optuna = stack.enter_context(quiet_optuna())
        data = stack.enter_context(DataCache(open_examples, base.data.in_memory_mb * 2**20))
        rows, validation_fraction = data.fingerprint(base), data.validation_fraction(base)
        prepared = data.prepare(base)
        space = space or default_space(prepared.config, small=max_bytes is not None)
        validation_rows = prepared.statistics.validation_rows
        splits = number_of_splits(validation_rows) if validation_fraction else 1
        if base.trainer.monitor == "loss" and "model.loss" in space.settings:
            raise ConfigError(
                "model.loss: losses of different kinds cannot be compared; search by another metric"
            )
        file = None
        if study is not None:
            identity = _identity(base, space, {**rows, "splits": splits}, max_bytes)
            file = stack.enter_context(StudyFile.opened(Path(study), identity, _direction(base)))
        search = _Search(optuna, base, space, data, splits, file, max_bytes, callback, stop)
        interrupted = search.run(budget, started)
        best = preferred(search.trials, Metric.parse(base.trainer.monitor), validation_rows)
        config = base if best is None else data.prepare(search.config_with(best.settings)).config
    if best is None:
        sizes = [trial.bytes for trial in search.trials if trial.bytes is not None]
        raise TrainingError(
            f"none of the {len(search.trials)} models is within {max_bytes:,} bytes; the smallest "
            f"has {min(sizes, default=0):,}; search smaller ones (text.min_count, model.dim), or "
            "quantize a larger one"
        )
    return TuneResult(
        config=config,
        best=best,
        trials=tuple(search.trials),
        base=base,
        space=space,
        interrupted=interrupted,
        data=rows,
        validation_fraction=validation_fraction,
        validation_rows=validation_rows,
        splits=splits,
    )


def number_of_splits(validation_rows: int) -> int:
    """Return how often to split the rows at random, each time with other validation rows.

    >>> [number_of_splits(rows) for rows in (50, 300, 1000, 20_000)]
    [5, 4, 1, 1]
    """
    return min(math.ceil(VALIDATION_ROWS / max(validation_rows, 1)), MAX_SPLITS)


def _direction(base: Config) -> Literal["minimize", "maximize"]:
    return "minimize" if Metric.parse(base.trainer.monitor).lower_is_better else "maximize"


def _identity(
    base: Config, space: SearchSpace, rows: dict[str, Any], max_bytes: int | None
) -> dict[str, Any]:
    """Return what must be equal for trials to be compared; study files hold these keys."""
    settings = {
        name: value
        for name, value in flat_settings(base).items()
        if name.split(".")[1] not in WITHOUT_EFFECT and value is not None
    }
    dimensions = {f"the search of {name}": entry for name, entry in space.as_dict().items()}
    data = {f"the data's {name}": value for name, value in rows.items()}
    return {**data, **settings, **dimensions, "the largest size": max_bytes}


class _Search:
    """Runs the trials and collects them."""

    def __init__(
        self,
        optuna: Any,
        base: Config,
        space: SearchSpace,
        data: DataCache,
        splits: int,
        file: StudyFile | None,
        max_bytes: int | None,
        callback: Callback | None,
        stop: Callable[[], bool] | None,
    ) -> None:
        self._stop = stop or (lambda: False)
        self._optuna, self._base, self._space, self._data = optuna, base, space, data
        self._splits, self._file, self._max_bytes = splits, file, max_bytes
        self._emit = callback or (lambda event: None)
        self._metric = Metric.parse(base.trainer.monitor)
        pruner = optuna.pruners.MedianPruner(UNPRUNED_TRIALS, n_min_trials=COMPARED_TRIALS)
        self._study = optuna.create_study(direction=_direction(base), pruner=pruner)
        earlier = file.trials if file else []
        self._study.add_trials(earlier)
        self.trials = [Trial.from_dict(trial.user_attrs["trial"]) for trial in earlier]

    @property
    def best(self) -> Trial | None:
        """The trial with the best score so far."""
        return next(iter(ranked(self.trials, self._metric)), None)

    def run(self, budget: Budget, started: float) -> bool:
        """Run trials until the budget is spent; return whether the search was interrupted."""
        earlier_seconds = sum(trial.seconds for trial in self.trials)
        end = None if budget.seconds is None else started + budget.seconds - earlier_seconds
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
        return self._stop()  # a signal may come after the last step

    def config_with(self, settings: dict[str, Any]) -> Config:
        """Return the base with some settings changed."""
        return resolve(self._base.model_dump(), nested_settings(settings))

    def _run_trial(self, end: float | None) -> None:
        number = len(self.trials)
        # The trial's number seeds the sampler, so a search in several sessions makes the same
        # trials as one without a break.
        seeds = np.random.SeedSequence((self._base.trainer.seed, number))
        self._study.sampler = self._optuna.samplers.TPESampler(
            n_startup_trials=RANDOM_TRIALS,
            seed=int(seeds.generate_state(1)[0]),
            multivariate=True,
            group=True,
            constant_liar=False,
        )
        optuna_trial, settings = self._ask_base() if number == 0 else self._ask()
        seconds_left = None if end is None else max(end - time.perf_counter(), 0.0)
        self._emit(TrialBegin(number, settings, seconds_left))
        watch = _Watch(optuna_trial, self._metric, end if self.trials else None, self._emit)
        trial = self._train(number, settings, watch)
        if trial.bytes is not None and self._max_bytes is not None:
            optuna_trial.set_constraint("bytes", trial.bytes / self._max_bytes - 1)
        optuna_trial.set_user_attr("trial", trial.as_dict())
        if trial.state == "finished":
            self._study.tell(optuna_trial, trial.score)
        else:
            self._study.tell(optuna_trial, state=self._optuna.trial.TrialState.PRUNED)
        if self._file is not None:
            self._file.add(self._study.get_trials(deepcopy=False)[-1])
        self.trials.append(trial)
        self._emit(TrialEnd(trial, self.best))

    def _ask(self) -> tuple[optuna.Trial, dict[str, Any]]:
        """Let Optuna choose the settings of a new trial."""
        trial = self._study.ask()
        return trial, dict(self._space.choose(self._base, partial(suggest, trial)))

    def _ask_base(self) -> tuple[optuna.Trial, dict[str, Any]]:
        """Create the trial of the base, so that Optuna learns from its values."""
        base_settings = flat_settings(self._base)
        base_values: list[tuple[Dimension, Any]] = []

        def note_value(dimension: Dimension) -> Sequence[Any]:
            values = dimension.value_in(base_settings)
            base_values.extend((dimension, value) for value in values)
            return values

        self._space.choose(self._base, note_value)
        self._study.enqueue_trial(
            {dimension.name: as_param(value) for dimension, value in base_values}
        )
        trial = self._study.ask()
        for dimension, _ in base_values:
            suggest(trial, dimension)
        return trial, {}

    def _train(self, number: int, settings: dict[str, Any], watch: _Watch) -> Trial:
        """Train with some settings; return the trial in the state that it ended in."""
        started, size = time.perf_counter(), None

        def ended(state: State, **outcome: Any) -> Trial:
            seconds = round(time.perf_counter() - started, 3)
            return Trial(number, settings, state, bytes=size, seconds=seconds, **outcome)

        try:
            config = self.config_with(settings)
            prepared = self._data.prepare(config)
            if not prepared.validation:
                raise TrainingError("tune needs validation rows; raise data.validation")
            size = model_bytes(prepared)
            if self._max_bytes is not None and size > self._max_bytes:
                return ended("too large")
            outcome = self._fit(prepared, watch)
            best_epochs = [self._best_epoch(outcome)]
            for split in range(1, self._splits):
                seed = {"trainer": {"seed": config.trainer.seed + split}}
                other_split = self._data.prepare(resolve(config.model_dump(), seed))
                best_epochs.append(self._best_epoch(self._fit(other_split, watch.without_pruning)))
        except _Pruned:
            return ended("pruned", score=watch.best, epochs_done=watch.epochs_done)
        except (ConfigError, TrainingError) as error:
            if number == 0:
                raise
            return ended("failed", reason=str(error))
        scores = [score for _, score in best_epochs]
        losses = [record.validation_loss for record, _ in best_epochs]
        return ended(
            "finished",
            score=fmean(scores),
            scores=scores,
            loss=fmean(loss for loss in losses if loss is not None) if any(losses) else None,
            epoch=best_epochs[0][0].epoch,
            epochs_done=len(outcome.history),
        )

    def _fit(self, prepared: Prepared, callback: Callable[[Event], None]) -> TrainOutcome:
        outcome = train_prepared(prepared, callback, stop=self._stop).outcome
        if outcome.interrupted:
            raise KeyboardInterrupt
        return outcome

    def _best_epoch(self, outcome: TrainOutcome) -> tuple[EpochRecord, float]:
        """Return the best epoch of a run and its score.

        Raises:
            TrainingError: the metric is not defined on the validation rows.
        """
        record = outcome.history[outcome.best_epoch - 1]
        score = record.score(str(self._metric))
        if score is None or math.isnan(score):
            raise TrainingError(f"{self._metric} is not defined on the validation rows")
        return record, score


class _Watch:
    """Passes on the events of a run, and ends a run that is hopeless or out of time."""

    def __init__(
        self, trial: optuna.Trial, metric: Metric, end: float | None, emit: Callback
    ) -> None:
        self.best: float | None = None
        self.epochs_done = 0
        self._trial, self._metric, self._end, self._emit = trial, metric, end, emit
        self._epochs, self._step, self._latest = 0, 0, math.nan

    def __call__(self, event: Event) -> None:
        """Handle one event.

        Raises:
            _Pruned: the run is not worth continuing.
            _OutOfTime: the time of the search is over.
        """
        self._epochs = getattr(event, "epochs", self._epochs)
        if isinstance(event, EpochEnd):
            self._end_epoch(event)
        self.without_pruning(event)

    def without_pruning(self, event: Event) -> None:
        """Handle an event of a run that continues to its end.

        Raises:
            _OutOfTime: the time of the search is over.
        """
        self._emit(event)
        if self._end is not None and isinstance(event, StepEnd) and time.perf_counter() > self._end:
            raise _OutOfTime

    def _end_epoch(self, event: EpochEnd) -> None:
        score = event.record.score(str(self._metric))
        assert score is not None
        self.epochs_done = event.record.epoch
        if event.best:
            self.best = None if math.isnan(score) else score
        # Report at every twelfth of the run: a twelfth without the end of an epoch repeats the
        # score before it, and of several epochs in one twelfth only the first is reported.
        step = PROGRESS_STEPS * self.epochs_done // self._epochs
        for passed in range(self._step + 1, step):
            if not math.isnan(self._latest):
                self._trial.report(self._latest, passed)
        is_new_step = step > self._step
        if is_new_step:
            self._trial.report(score, step)
        self._step, self._latest = step, score
        if is_new_step and self.epochs_done < self._epochs and self._trial.should_prune():
            raise _Pruned

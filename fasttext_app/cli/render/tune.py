"""The progress and result of a search: a line for each trial on stderr, the best ones on stdout."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasttext_app.cli.render.console import Console, Text, err, new_table, out
from fasttext_app.cli.render.progress import LiveBar
from fasttext_app.core.sizes import format_size
from fasttext_app.tuning.space import flat_settings

if TYPE_CHECKING:
    from fasttext_app.config.metric_name import Metric
    from fasttext_app.config.schema import Config
    from fasttext_app.training.events import Event
    from fasttext_app.tuning.trial import Budget, Trial, TrialBegin, TrialEnd, TuneResult

MAX_TRIALS = 10


class TuneProgress(LiveBar):
    """Show the events of a search: a line for each trial, and a live bar on a terminal."""

    def __init__(self, base: Config, budget: Budget, console: Console = err) -> None:
        super().__init__(console)
        self._base, self._budget = base, budget
        self._deadline: float | None = None
        self._trial, self._epochs, self._best = 0, 0, "none yet"

    def __call__(self, event: Event | TrialBegin | TrialEnd) -> None:
        """Show one event."""
        from fasttext_app.training.events import StepEnd, TrainBegin
        from fasttext_app.tuning.trial import TrialBegin, TrialEnd

        if isinstance(event, TrialBegin):
            self._begin(event)
        elif isinstance(event, TrainBegin):
            self._epochs = event.epochs
        elif isinstance(event, StepEnd):
            self._show_stage(f"epoch {event.epoch}/{self._epochs}")
        elif isinstance(event, TrialEnd):
            if event.best is not None:
                self._best = f"{event.best.score:.4f} (trial {event.best.number})"
            outcome = self._outcome(event.trial, event.best)
            self.say(Text(f"trial {event.trial.number:3}  {outcome}"))

    def _begin(self, event: TrialBegin) -> None:
        self._trial = event.number
        if event.seconds_left is not None:
            self._deadline = time.monotonic() + event.seconds_left
        if self.progress is None:
            from rich.progress import BarColumn, TimeElapsedColumn

            self.start(
                "trial {task.fields[trial]}, {task.fields[stage]}",
                BarColumn(),
                "best {task.fields[best]}",
                TimeElapsedColumn(),
                total=1.0,
                trial=event.number,
                stage="",
                best=self._best,
            )
        self._show_stage("preparing")

    def _show_stage(self, stage: str) -> None:
        """Update the bar; it advances with the trials or the time, whichever ends sooner."""
        spent = self._trial / self._budget.trials if self._budget.trials else 0.0
        if self._deadline is not None and self._budget.seconds:
            spent = max(spent, 1 - (self._deadline - time.monotonic()) / self._budget.seconds)
        self.update(spent, trial=self._trial, stage=stage, best=self._best)

    def _outcome(self, trial: Trial, best: Trial | None) -> str:
        settings = _changes(trial.settings, self._base)
        size = f"{format_size(trial.bytes or 0)}  " if trial.bytes is not None else ""
        if trial.state == "failed":
            return f"failed: {trial.reason}  {settings}"
        if trial.state == "too large":
            return f"too large: {size}{settings}"
        if trial.state == "pruned":
            score = "none" if trial.score is None else f"{trial.score:.4f}"
            return f"pruned after epoch {trial.epochs_done} at {score}  {settings}"
        mark = "  (best)" if best is not None and best.number == trial.number else ""
        score = f"{self._base.trainer.monitor} {trial.score:.4f}"
        return f"{score}  {size}{trial.seconds:.1f} s  {settings}{mark}"


def show_result(result: TuneResult, output: Path) -> None:
    """Show the best trials, the course of the best score, and the command to run next."""
    from fasttext_app.config.metric_name import Metric
    from fasttext_app.tuning.report import state_counts
    from fasttext_app.tuning.trial import ranked

    metric = Metric.parse(result.config.trainer.monitor)
    numeric = ("trial", str(metric), "epoch", "size", "seconds")
    title = f"The best trials, by {metric} on validation rows"
    table = new_table(title, *numeric, "changes to the base", numeric=numeric)
    for trial in ranked(result.trials, metric)[:MAX_TRIALS]:
        table.add_row(
            str(trial.number),
            f"{trial.score:.4f}",
            f"{trial.epoch}/{trial.epochs_done}",
            format_size(trial.bytes or 0),
            f"{trial.seconds:.1f}",
            Text(_changes(trial.settings, result.base)),
        )
    out.print(table)
    counts = ", ".join(f"{count} {state}" for state, count in state_counts(result).items())
    best, final, trials = (output / name for name in ("best.toml", "final.toml", "trials.csv"))
    lines = [
        f"trials: {len(result.trials)} ({counts})",
        f"best so far: {_improvements(result, metric)}",
        _preference(result, metric),
        f"saved the best settings to {best}, and the trials to {trials}",
    ]
    if result.final != result.config:
        lines.append(f"to train on all rows, with none held out: {final}")
    lines.append(f"next: fasttext-app train --config {shlex.quote(str(final))}")
    for line in lines:
        out.print(Text(line))


def _preference(result: TuneResult, metric: Metric) -> str:
    """Say which trial is recommended, and why if it is not the one with the best score."""
    from fasttext_app.tuning.trial import ranked

    first = ranked(result.trials, metric)[0].number
    chosen = f"trial {result.best.number}{' (the base)' * (result.best.number == 0)}"
    if result.best.number == first:
        return f"recommended: {chosen}"
    return f"recommended: {chosen}, which is simpler than trial {first} and within its error"


def _improvements(result: TuneResult, metric: Metric) -> str:
    """Return each score that was the best so far, in the order of the trials."""
    sign = -1 if metric.lower_is_better else 1
    steps: list[str] = []
    best: float | None = None
    for trial in result.trials:
        if trial.state != "finished" or trial.score is None:
            continue
        if best is None or sign * trial.score > sign * best:
            best = trial.score
            steps.append(f"{best:.4f} (trial {trial.number})")
    return " → ".join(steps)


def _changes(settings: Mapping[str, Any], base: Config) -> str:
    """Return the settings that differ from the base, by key (keys are unique over all sections)."""
    before = flat_settings(base)
    changes = [
        f"{name.split('.')[1]}={value:.4g}"
        if isinstance(value, float)
        else f"{name.split('.')[1]}={value}"
        for name, value in settings.items()
        if value != before[name]
    ]
    return " ".join(changes) or "(the base)"

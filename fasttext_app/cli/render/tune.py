"""How a search looks: a line for each trial on stderr, the best trials on stdout."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fasttext_app.cli.render.tables import err, out
from fasttext_app.tuning.space import flat_settings

if TYPE_CHECKING:
    from rich.progress import Progress

    from fasttext_app.config.schema import Config
    from fasttext_app.training.events import Event
    from fasttext_app.tuning.trial import Budget, Trial, TrialBegin, TrialEnd, TuneResult


SHOWN_TRIALS = 10


class TuneProgress:
    """Renders the events of a search: a line for each trial, and a live bar on a terminal."""

    def __init__(self, base: Config, budget: Budget, console: Console = err) -> None:
        self._base, self._budget, self._console = base, budget, console
        self._progress: Progress | None = None
        self._ends: float | None = None
        self._best = "none yet"
        self._epochs = 0

    def __call__(self, event: Event | TrialBegin | TrialEnd) -> None:
        """Show one event."""
        from fasttext_app.training.events import StepEnd, TrainBegin
        from fasttext_app.tuning.trial import TrialBegin, TrialEnd

        if isinstance(event, TrialBegin):
            self._begin(event)
        elif isinstance(event, TrainBegin):
            self._epochs = event.epochs
        elif isinstance(event, StepEnd):
            self._update(f"epoch {event.epoch}/{self._epochs}")
        elif isinstance(event, TrialEnd):
            self._end(event)

    def close(self) -> None:
        """Take the live bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _begin(self, event: TrialBegin) -> None:
        if self._progress is None and self._console.is_terminal:
            self._start_bar(event)
        if event.seconds_left is not None:
            self._ends = time.monotonic() + event.seconds_left
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], trial=event.number)
        self._update("preparing")

    def _start_bar(self, event: TrialBegin) -> None:
        from rich import progress

        self._progress = progress.Progress(
            progress.TextColumn("trial {task.fields[trial]}, {task.fields[stage]}"),
            progress.BarColumn(),
            progress.TextColumn("best {task.fields[best]}"),
            progress.TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._progress.add_task("tune", total=1.0, trial=event.number, stage="", best=self._best)
        self._progress.start()

    def _update(self, stage: str) -> None:
        if self._progress is None:
            return
        task = self._progress.tasks[0]
        done = task.fields["trial"] / self._budget.trials if self._budget.trials else 0.0
        if self._ends is not None and self._budget.seconds:
            done = max(done, 1 - (self._ends - time.monotonic()) / self._budget.seconds)
        self._progress.update(task.id, completed=done, stage=stage, best=self._best)

    def _end(self, event: TrialEnd) -> None:
        trial, best = event.trial, event.best
        if best is not None:
            self._best = f"{best.figure:.4f} (trial {best.number})"
        self._console.print(Text(f"trial {trial.number:3}  {self._outcome(trial, best)}"))

    def _outcome(self, trial: Trial, best: Trial | None) -> str:
        settings = _differing(trial.settings, self._base)
        size = f"{_megabytes(trial)}  " if trial.bytes is not None else ""
        if trial.state == "failed":
            return f"failed: {trial.reason}  {settings}"
        if trial.state == "too large":
            return f"too large: {size}{settings}"
        if trial.state == "pruned":
            figure = "none" if trial.figure is None else f"{trial.figure:.4f}"
            return f"pruned after epoch {trial.epochs_done} at {figure}  {settings}"
        found = "  (best)" if best is not None and best.number == trial.number else ""
        figures = f"{self._base.trainer.monitor} {trial.figure:.4f}  {size}{trial.seconds:.1f} s"
        return f"{figures}  {settings}{found}"


def show_result(result: TuneResult, output: Path) -> None:
    """Show the best trials, how the best figure came up, and what to do next."""
    from fasttext_app.config.metric_name import Metric
    from fasttext_app.tuning.report import state_counts
    from fasttext_app.tuning.trial import ranked

    metric = Metric.parse(result.config.trainer.monitor)
    table = Table(
        title=Text(f"The best trials, by {metric} on validation rows"),
        title_justify="left",
        title_style="bold",
        header_style="bold",
    )
    for column in ("trial", str(metric), "epoch", "size", "seconds"):
        table.add_column(column, justify="right")
    table.add_column("what differs from the base", overflow="fold")
    for trial in ranked(result.trials, metric)[:SHOWN_TRIALS]:
        table.add_row(
            str(trial.number),
            f"{trial.figure:.4f}",
            f"{trial.epoch}/{trial.epochs_done}",
            _megabytes(trial),
            f"{trial.seconds:.1f}",
            Text(_differing(trial.settings, result.base)),
        )
    out.print(table)
    counts = ", ".join(f"{count} {state}" for state, count in state_counts(result).items())
    out.print(Text(f"trials: {len(result.trials)} ({counts})"))
    out.print(Text(f"best so far: {_course(result, metric.lower_is_better)}"))
    best, final = output / "best.toml", output / "final.toml"
    out.print(Text(f"saved the best settings to {best}; the trials are in {output / 'trials.csv'}"))
    if result.final != result.config:
        out.print(Text(f"the same for all rows, none held out: {final}"))
    out.print(Text(f"next: fasttext-app train --config {shlex.quote(str(final))}"))


def _course(result: TuneResult, lower_is_better: bool) -> str:
    """Return the figures that were each the best when they came."""
    steps: list[str] = []
    best: float | None = None
    for trial in result.trials:
        if trial.state != "finished" or trial.figure is None:
            continue
        if best is None or (trial.figure < best if lower_is_better else trial.figure > best):
            best = trial.figure
            steps.append(f"{best:.4f} (trial {trial.number})")
    return " → ".join(steps)


def _megabytes(trial: Trial) -> str:
    return f"{(trial.bytes or 0) / 1e6:,.2f} MB"


def _differing(settings: Mapping[str, Any], base: Config) -> str:
    """Return what differs from the base, by keys, which are unique over all sections."""
    before = flat_settings(base)
    shown = {name.split(".")[1]: value for name, value in settings.items() if value != before[name]}
    return (
        " ".join(
            f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in shown.items()
        )
        or "(the base)"
    )

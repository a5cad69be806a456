"""The progress of a training run on stderr: a live bar on a terminal, and a line for each epoch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fasttext_app.cli import messages
from fasttext_app.cli.render.console import Console, Text, err
from fasttext_app.core.sizes import format_size
from fasttext_app.foreign_text import for_terminal

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

    from fasttext_app.core.meter import Input
    from fasttext_app.training.events import Event, TrainBegin


class LiveBar:
    """A progress bar, shown from :meth:`start` to the end of the ``with`` block."""

    is_shown = False
    """Whether any bar is shown: a terminal has room for one."""

    def __init__(self, console: Console = err) -> None:
        self.console = console
        self.progress: Progress | None = None
        """None while no bar is shown."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def say(self, line: str | Text) -> None:
        """Print a line above the bar, unless ``--quiet`` is given."""
        if not messages.is_quiet:
            self.console.print(line)

    def start(self, *columns: str | ProgressColumn, total: float | None, **fields: Any) -> None:
        """Show the bar on a terminal, with ``fields`` for ``{task.fields[...]}`` of its columns."""
        if messages.is_quiet or not self.console.is_terminal:
            return
        from rich.progress import Progress, TextColumn

        plain = (
            TextColumn(column, markup=False) if isinstance(column, str) else column
            for column in columns
        )
        self.progress = Progress(
            *plain, console=self.console, transient=True, redirect_stdout=False
        )
        self.progress.add_task("", total=total, **_shown(fields))
        self.progress.start()
        LiveBar.is_shown = True

    def update(self, completed: float, **fields: Any) -> None:
        """Change what the bar shows, if it is there; ``fields`` may set its ``total``."""
        if self.progress is not None:
            task = self.progress.tasks[0]
            self.progress.update(task.id, completed=completed, **_shown(fields))

    def close(self) -> None:
        """Remove the bar."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None
            LiveBar.is_shown = False


def _shown(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: for_terminal(value) if isinstance(value, str) else value
        for name, value in fields.items()
    }


def show_reading(bar: LiveBar, entry: Input, rows: int, seconds: float) -> None:
    """Show how far an input is read, with the rate so far.

    Args:
        bar: the bar, shown or not.
        entry: the input.
        rows: the rows read from it.
        seconds: the time since reading began.
    """
    from rich.progress import BarColumn, TimeRemainingColumn

    position = entry.before + entry.position
    done = f"{rows:,} rows"
    if entry.total is not None and entry.unit == "bytes":
        done = f"{format_size(position)} of {format_size(entry.total)}"
    name = "standard input" if entry.name == "-" else Path(entry.name).name
    fields = {
        "name": f"reading {name}",
        "done": f"{done}  {rows / seconds:,.0f} rows/s",
    }
    if bar.progress is None:
        columns = "{task.fields[name]}", BarColumn(20), "{task.fields[done]}", TimeRemainingColumn()
        bar.start(*columns, total=entry.total, **fields)
    bar.update(position, total=entry.total, **fields)


class TrainProgress(LiveBar):
    """Show the events of a training run: a line for each epoch, and a live bar on a terminal."""

    def __init__(self, console: Console = err) -> None:
        super().__init__(console)
        self._run: TrainBegin | None = None

    def __call__(self, event: Event) -> None:
        """Show one event."""
        from fasttext_app.training.events import CheckpointEnd, EpochEnd, StepEnd, TrainBegin
        from fasttext_app.training.progress import epoch_line

        if isinstance(event, TrainBegin):
            self._begin(event)
        elif isinstance(event, StepEnd):
            assert self._run is not None
            self.update(
                (event.epoch - 1) * self._run.texts + event.texts,
                epoch=f"{event.epoch}/{self._run.epochs}",
                loss=event.loss,
                lr=event.lr,
                speed=event.texts_per_second,
            )
        elif isinstance(event, EpochEnd):
            assert self._run is not None
            if not self._run.refit:
                self.say(epoch_line(event, self._run))
        elif isinstance(event, CheckpointEnd):
            if event.problem:
                messages.warn(f"no checkpoint: {event.problem}; training continues")
        else:
            self.close()

    def _begin(self, event: TrainBegin) -> None:
        from rich.progress import BarColumn, TimeRemainingColumn

        from fasttext_app.training.progress import begin_lines

        self._run = event
        for line in begin_lines(event):
            self.say(line)
        self.start(
            "epoch {task.fields[epoch]}",
            BarColumn(),
            "loss {task.fields[loss]:.4f}  lr {task.fields[lr]:.4g}",
            "{task.fields[speed]:,.0f} texts/s",
            TimeRemainingColumn(),
            total=event.texts * event.epochs,
            epoch=f"1/{event.epochs}",
            loss=0.0,
            lr=0.0,
            speed=0.0,
        )

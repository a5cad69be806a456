"""The progress of a training run on stderr: a live bar on a terminal, and a line for each epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rich.console import Console

from fasttext_app.cli import messages
from fasttext_app.cli.render.console import err

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn
    from rich.text import Text

    from fasttext_app.training.events import EpochEnd, Event, TrainBegin


class LiveBar:
    """A progress bar, shown from :meth:`start` to the end of the ``with`` block."""

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
        from rich.progress import Progress

        self.progress = Progress(*columns, console=self.console, transient=True)
        self.progress.add_task("", total=total, **fields)
        self.progress.start()

    def update(self, completed: float, **fields: Any) -> None:
        """Change what the bar shows, if it is there."""
        if self.progress is not None:
            task = self.progress.tasks[0]
            self.progress.update(task.id, completed=completed, **fields)

    def close(self) -> None:
        """Remove the bar."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None


class TrainProgress(LiveBar):
    """Show the events of a training run: a line for each epoch, and a live bar on a terminal."""

    def __init__(self, console: Console = err) -> None:
        super().__init__(console)
        self._epochs, self._texts, self._monitor, self._refit = 0, 0, "", False

    def __call__(self, event: Event) -> None:
        """Show one event."""
        from fasttext_app.training.events import CheckpointEnd, EpochEnd, StepEnd, TrainBegin

        if isinstance(event, TrainBegin):
            self._begin(event)
        elif isinstance(event, StepEnd):
            self.update(
                (event.epoch - 1) * self._texts + event.texts,
                epoch=f"{event.epoch}/{self._epochs}",
                loss=event.loss,
                lr=event.lr,
                speed=event.texts_per_second,
            )
        elif isinstance(event, EpochEnd):
            if not self._refit:
                self.say(self._epoch_line(event))
        elif isinstance(event, CheckpointEnd):
            if event.problem:
                messages.warn(f"no checkpoint: {event.problem}; training continues")
        else:
            self.close()

    def _begin(self, event: TrainBegin) -> None:
        self._epochs, self._texts, self._monitor = event.epochs, event.texts, event.monitor
        self._refit = event.refit
        if event.member > 1:
            self.say(f"model {event.member} of the ensemble")
        self.say(
            f"training the final model on all {event.texts:,} texts, epochs {event.epochs}"
            if event.refit
            else f"training on {event.texts:,} texts, {event.validation_texts:,} held out for "
            f"validation, device {event.device}"
        )
        if event.resumed_from:
            self.say(f"resuming from {event.resumed_from}")
        from rich.progress import BarColumn, TimeRemainingColumn

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

    def _epoch_line(self, event: EpochEnd) -> str:
        record = event.record
        parts = [f"epoch {record.epoch}/{self._epochs}", f"loss {record.train_loss:.4f}"]
        if record.validation_loss is not None:
            parts += [
                f"validation loss {record.validation_loss:.4f}",
                f"accuracy {record.validation_accuracy:.4f}",
                f"macro F1 {record.validation_macro_f1:.4f}",
            ]
        if record.validation_score is not None:
            parts.append(f"{self._monitor} {record.validation_score:.4f}")
        parts.append(f"{record.texts_per_second:,.0f} texts/s")
        if event.best and record.validation_loss is not None:
            parts.append("(best)")
        return "  ".join(parts)

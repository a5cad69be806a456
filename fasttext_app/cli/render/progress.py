"""A training run as it goes, drawn with Rich on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console

from fasttext_app.cli.render.tables import err

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from fasttext_app.training.events import Event


class TrainProgress:
    """Renders the trainer's events: a live bar on a terminal, a line for each epoch elsewhere."""

    def __init__(self, console: Console = err) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._epochs, self._texts, self._monitor = 0, 0, ""

    def __call__(self, event: Event) -> None:
        """Show one event."""
        from fasttext_app.training.events import CheckpointEnd, EpochEnd, StepEnd, TrainBegin

        if isinstance(event, TrainBegin):
            self._begin(event)
        elif isinstance(event, StepEnd):
            self._step(event)
        elif isinstance(event, EpochEnd):
            self._console.print(self._epoch_line(event))
        elif isinstance(event, CheckpointEnd):
            if event.problem:
                self._console.print(f"no checkpoint: {event.problem}; training goes on")
        else:
            self.close()

    def close(self) -> None:
        """Take the live bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _begin(self, event: Any) -> None:
        self._epochs, self._texts = event.epochs, event.texts
        self._monitor = event.monitor
        self._console.print(
            f"training on {event.texts:,} texts, {event.validation_texts:,} held out for "
            f"validation, device {event.device}"
        )
        if event.resumed_from:
            self._console.print(f"going on from {event.resumed_from}")
        if not self._console.is_terminal:
            return
        from rich import progress

        self._progress = progress.Progress(
            progress.TextColumn("epoch {task.fields[epoch]}"),
            progress.BarColumn(),
            progress.TextColumn("loss {task.fields[loss]:.4f}  lr {task.fields[lr]:.4g}"),
            progress.TextColumn("{task.fields[speed]:,.0f} texts/s"),
            progress.TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task(
            "train",
            total=event.texts * event.epochs,
            epoch=f"1/{event.epochs}",
            loss=0.0,
            lr=0.0,
            speed=0.0,
        )
        self._progress.start()

    def _step(self, event: Any) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(
                self._task,
                completed=(event.epoch - 1) * self._texts + event.texts,
                epoch=f"{event.epoch}/{self._epochs}",
                loss=event.loss,
                lr=event.lr,
                speed=event.texts_per_second,
            )

    def _epoch_line(self, event: Any) -> str:
        record = event.record
        line = f"epoch {record.epoch}/{self._epochs}  loss {record.train_loss:.4f}"
        if record.validation_loss is not None:
            line += (
                f"  validation loss {record.validation_loss:.4f}"
                f"  accuracy {record.validation_accuracy:.4f}"
                f"  macro F1 {record.validation_macro_f1:.4f}"
            )
        if record.validation_score is not None:
            line += f"  {self._monitor} {record.validation_score:.4f}"
        line += f"  {record.texts_per_second:,.0f} texts/s"
        return line + ("  (best)" if event.best and record.validation_loss is not None else "")

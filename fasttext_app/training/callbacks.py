"""Callbacks: functions that receive the events of a training run.

A callback takes one :mod:`event <fasttext_app.training.events>`; an exception in it ends the run.

>>> from fasttext_app.training.events import EpochEnd, EpochRecord
>>> losses = []
>>> def keep(event):
...     if isinstance(event, EpochEnd):
...         losses.append(event.record.train_loss)
>>> both = all_of(keep, keep)
>>> both(EpochEnd(EpochRecord(1, 0.5, 1.0, 100.0), best=True))
>>> losses
[0.5, 0.5]
"""

from __future__ import annotations

import threading
from pathlib import Path

from fasttext_app.errors import missing_package
from fasttext_app.training.events import Callback, EpochEnd, Event, StepEnd, TrainBegin, TrainEnd


def all_of(*callbacks: Callback) -> Callback:
    """Return a callback that passes each event to all of ``callbacks``, in order."""

    def call(event: Event) -> None:
        for callback in callbacks:
            callback(event)

    return call


class TensorBoard:
    """Writes the curves of a run for TensorBoard, over the number of training texts seen.

    Args:
        folder: the folder of the log; give each run its own.

    Raises:
        MissingDependencyError: the package ``tensorboard`` is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:
            raise missing_package("a TensorBoard log", "tensorboard", "tensorboard") from None
        _keep_writers_quiet()
        self._writer = SummaryWriter(str(folder))
        self._texts, self._ended = 0, False

    def __call__(self, event: Event) -> None:
        """Write the values of one event."""
        if self._ended:  # these events are of the refit
            return
        if isinstance(event, TrainBegin):
            self._texts = event.texts
        elif isinstance(event, StepEnd):
            texts = (event.epoch - 1) * self._texts + event.texts
            self._write("train", texts, loss=event.loss, lr=event.lr, speed=event.texts_per_second)
        elif isinstance(event, EpochEnd):
            record = event.record
            self._write(
                "validation",
                record.epoch * self._texts,
                loss=record.validation_loss,
                accuracy=record.validation_accuracy,
                macro_f1=record.validation_macro_f1,
                score=record.validation_score,
            )
        elif isinstance(event, TrainEnd):
            self._writer.close()
            self._ended = True

    def _write(self, group: str, texts: int, **values: float | None) -> None:
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(f"{group}/{name}", value, texts)


def _keep_writers_quiet() -> None:
    """Keep TensorBoard's threads from printing errors, which the writer's next call raises."""
    show = threading.excepthook

    def show_others(arguments: threading.ExceptHookArgs) -> None:
        if type(arguments.thread).__name__ != "_AsyncWriterThread":
            show(arguments)

    threading.excepthook = show_others

"""The progress of a run as text: a line for each epoch, and one that is rewritten until then."""

from __future__ import annotations

import sys
from typing import TextIO

from fasttext_app.foreign_text import for_terminal
from fasttext_app.training.events import EpochEnd, Event, StepEnd, TrainBegin

WIDTH = 80


class PrintedProgress:
    """Write the events of a training run to a stream; the lines read well in a notebook too.

    Args:
        stream: the stream; None: standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._begin = TrainBegin(0, 0, 0, "")
        self._width = 0  # of the line that is rewritten

    def __call__(self, event: Event) -> None:
        """Write one event."""
        if isinstance(event, TrainBegin):
            self._begin = event
            for line in begin_lines(event):
                self._write(line)
        elif isinstance(event, StepEnd):
            share = event.texts / max(self._begin.texts, 1)
            self._rewrite(
                f"epoch {event.epoch}/{self._begin.epochs}  {share:4.0%}  loss {event.loss:.4f}  "
                f"{event.texts_per_second:,.0f} texts/s"
            )
        elif isinstance(event, EpochEnd):
            if self._begin.refit:
                self._rewrite("")
            else:
                self._write(epoch_line(event, self._begin))

    def _rewrite(self, line: str) -> None:
        line = for_terminal(line)
        self._stream.write("\r" + line.ljust(self._width) + ("" if line else "\r"))
        self._stream.flush()
        self._width = len(line)

    def _write(self, line: str) -> None:
        self._rewrite(line)
        self._stream.write("\n")
        self._width = 0


def begin_lines(event: TrainBegin) -> list[str]:
    """Return what a run is about to do, in a line or two."""
    lines = [f"model {event.member} of the ensemble"] if event.member > 1 else []
    lines.append(
        f"training the final model on all {event.texts:,} texts, epochs {event.epochs}"
        if event.refit
        else f"training on {event.texts:,} texts, {event.validation_texts:,} held out for "
        f"validation, device {event.device}"
    )
    if event.resumed_from:
        lines.append(f"resuming from {event.resumed_from}")
    return lines


def epoch_line(event: EpochEnd, begin: TrainBegin) -> str:
    """Return the scores of an epoch in one line, as many as fit on a terminal of 80 columns."""
    record = event.record
    parts = [f"epoch {record.epoch}/{begin.epochs}", f"loss {record.train_loss:.4f}"]
    if record.validation_score is not None:
        parts.append(f"{begin.monitor} {record.validation_score:.4f}")
    more, mark = [f"{record.texts_per_second:,.0f} texts/s"], ""
    if record.validation_loss is not None:
        scores = (
            f"val loss {record.validation_loss:.4f}",
            f"accuracy {record.validation_accuracy:.4f}",
            f"F1 {record.validation_macro_f1:.4f}",
        )
        more = [*scores, *more]
        mark = "  (best)" if event.best else ""
    for part in more:
        if len("  ".join([*parts, part])) + len("  (best)") <= WIDTH:
            parts.append(part)
    return "  ".join(parts) + mark

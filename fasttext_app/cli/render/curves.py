"""Learning curves in the terminal, drawn in characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fasttext_app.cli.render.console import Console, Text

if TYPE_CHECKING:
    from fasttext_app.training.history import Curve, Panel

HEIGHT, MAX_WIDTH = 12, 72  # of a panel, in characters
EPOCH_WIDTH = 12  # characters between two epochs, where there is room
MARKERS, COLORS = "ox+#%&", ("cyan", "yellow", "green", "magenta", "blue", "red")
BEST = "*"

Canvas = dict[tuple[int, int], tuple[str, str]]
"""A character and its style for each (row, column) that is not blank."""


def show_curves(panels: Sequence[Panel], console: Console) -> None:
    """Draw panels one below another; ``*`` marks the epoch whose weights were kept."""
    for panel in panels:
        console.print(Text(panel.title, style="bold"))
        for line in _draw(panel, console.width, ascii_only=console.options.ascii_only):
            console.print(line)
        for index, curve in enumerate(panel.curves):
            console.print(_legend(curve, index))
        console.print()


def _draw(panel: Panel, room: int, *, ascii_only: bool) -> Iterator[Text]:
    """Yield the lines of a panel that fits into ``room`` columns."""
    values = [value for curve in panel.curves for value in curve.values]
    epochs = [epoch for curve in panel.curves for epoch in curve.epochs]
    low, high, first, last = min(values), max(values), min(epochs), max(epochs)
    ticks = {HEIGHT // 2: f"{low:.4f}"}
    if high > low:
        ticks = {0: f"{high:.4f}", HEIGHT - 1: f"{low:.4f}"}
    margin = max(map(len, ticks.values()))
    width = max(min(EPOCH_WIDTH * (last - first) + 1, room - margin - 3, MAX_WIDTH), 1)
    bar, corner, line, dot = "|+-." if ascii_only else "│└─·"

    def cell(epoch: float, value: float) -> tuple[int, int]:
        row = round((high - value) / (high - low) * (HEIGHT - 1)) if high > low else HEIGHT // 2
        return row, round((epoch - first) / max(last - first, 1) * (width - 1))

    # Lines first, then markers over them; a later marker never hides the best epoch's.
    canvas: Canvas = {}
    for index, curve in enumerate(panel.curves):
        marker, color = _style(index)
        dense = np.linspace(curve.epochs[0], curve.epochs[-1], 4 * width)
        for point in zip(dense, np.interp(dense, curve.epochs, curve.values), strict=True):
            canvas.setdefault(cell(*point), (dot, color))
        for epoch, value in zip(curve.epochs, curve.values, strict=True):
            position = cell(epoch, value)
            if epoch == curve.best_epoch:
                canvas[position] = BEST, f"bold {color}"
            elif canvas.get(position, (dot, color))[0] != BEST:
                canvas[position] = marker, color
    for row in range(HEIGHT):
        text = Text(f"{ticks.get(row, ''):>{margin}} {bar}")
        for column in range(width):
            text.append(*canvas.get((row, column), (" ", "")))
        text.rstrip()
        yield text
    yield Text(" " * (margin + 1) + corner + line * width)
    end = f"{last:>{width - len(str(first))}}" if last > first else ""
    yield Text(" " * (margin + 2) + f"{first}{end}  epoch")


def _style(index: int) -> tuple[str, str]:
    return MARKERS[index % len(MARKERS)], COLORS[index % len(COLORS)]


def _legend(curve: Curve, index: int) -> Text:
    marker, color = _style(index)
    text = f"{marker} {curve.name}: {curve.values[-1]:.4f} in epoch {curve.epochs[-1]}"
    if curve.best_epoch in curve.epochs:
        best = curve.values[curve.epochs.index(curve.best_epoch)]
        text += f"; {BEST} {best:.4f} in the best epoch, {curve.best_epoch}"
    return Text(text, style=color)

"""Learning curves: in characters on the terminal, or as a picture by matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from fasttext_app.training.history import Curve, Panel


HEIGHT, WIDEST = 12, 72  # of a panel, in characters
EPOCH_WIDTH = 12  # characters from one epoch to the next, where there is room
MARKS, COLORS = "ox+#%&", ("cyan", "yellow", "green", "magenta", "blue", "red")
BEST = "*"

Cells = dict[tuple[int, int], tuple[str, str]]
"""(row, column) to a character and its style."""


# --- the terminal


def show_curves(panels: Sequence[Panel], console: Console) -> None:
    """Draw panels one below another; the epoch whose weights were kept is marked."""
    for panel in panels:
        console.print(Text(panel.title, style="bold"))
        for line in _drawn(panel, console.width, ascii_only=console.options.ascii_only):
            console.print(line)
        for number, curve in enumerate(panel.curves):
            console.print(_legend(curve, number))
        console.print()


def _drawn(panel: Panel, room: int, *, ascii_only: bool) -> Iterator[Text]:
    values = [value for curve in panel.curves for value in curve.values]
    epochs = [epoch for curve in panel.curves for epoch in curve.epochs]
    low, high, first, last = min(values), max(values), min(epochs), max(epochs)
    names = (
        {0: f"{high:.4f}", HEIGHT - 1: f"{low:.4f}"} if high > low else {HEIGHT // 2: f"{low:.4f}"}
    )
    margin = max(map(len, names.values()))
    width = max(min(EPOCH_WIDTH * (last - first) + 1, room - margin - 3, WIDEST), 1)
    bar, corner, line, dot = "|+-." if ascii_only else "│└─·"

    def column(epoch: float) -> int:
        return round((epoch - first) / max(last - first, 1) * (width - 1))

    def row(value: float) -> int:
        return round((high - value) / (high - low) * (HEIGHT - 1)) if high > low else HEIGHT // 2

    cells: Cells = {}
    for number, curve in enumerate(panel.curves):
        mark, color = MARKS[number % len(MARKS)], COLORS[number % len(COLORS)]
        between = np.linspace(curve.epochs[0], curve.epochs[-1], 4 * width)
        for epoch, value in zip(
            between, np.interp(between, curve.epochs, curve.values), strict=True
        ):
            cells.setdefault((row(value), column(epoch)), (dot, color))
        for epoch, value in zip(curve.epochs, curve.values, strict=True):
            best = epoch == curve.best_epoch
            shown = (BEST, f"bold {color}") if best else (mark, color)
            if best or cells.get((row(value), column(epoch)), (dot,))[0] != BEST:
                cells[row(value), column(epoch)] = shown
    for number in range(HEIGHT):
        drawn = Text(f"{names.get(number, ''):>{margin}} {bar}")
        for place in range(width):
            drawn.append(*cells.get((number, place), (" ", "")))
        drawn.rstrip()
        yield drawn
    yield Text(" " * (margin + 1) + corner + line * width)
    ends = f"{last:>{width - len(str(first))}}" if last > first else ""
    yield Text(" " * (margin + 2) + f"{first}{ends}  epoch")


def _legend(curve: Curve, number: int) -> Text:
    mark, color = MARKS[number % len(MARKS)], COLORS[number % len(COLORS)]
    shown = f"{mark} {curve.name}: {curve.values[-1]:.4f} in epoch {curve.epochs[-1]}"
    if curve.best_epoch in curve.epochs:
        value = curve.values[curve.epochs.index(curve.best_epoch)]
        shown += f"; {BEST} {value:.4f} in the best epoch, {curve.best_epoch}"
    return Text(shown, style=color)


# --- a picture

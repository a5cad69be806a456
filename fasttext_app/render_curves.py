"""Learning curves: in characters on the terminal, or as a picture by matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.text import Text

from fasttext_app.errors import MissingDependencyError

if TYPE_CHECKING:
    from fasttext_app.history import Curve, Panel

__all__ = ["save_curves", "show_curves"]

HEIGHT, WIDEST = 12, 72  # of a panel, in characters
EPOCH_WIDTH = 12  # characters from one epoch to the next, where there is room
MARKS, COLOURS = "ox+#%&", ("cyan", "yellow", "green", "magenta", "blue", "red")
BEST = "*"
SIZE = 4.8, 3.4  # inches of a panel
DOTS_PER_INCH = 150
MARKED_EPOCHS = 40  # a picture marks each epoch of a run that has no more

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
        mark, colour = MARKS[number % len(MARKS)], COLOURS[number % len(COLOURS)]
        between = np.linspace(curve.epochs[0], curve.epochs[-1], 4 * width)
        for epoch, value in zip(
            between, np.interp(between, curve.epochs, curve.values), strict=True
        ):
            cells.setdefault((row(value), column(epoch)), (dot, colour))
        for epoch, value in zip(curve.epochs, curve.values, strict=True):
            best = epoch == curve.best_epoch
            shown = (BEST, f"bold {colour}") if best else (mark, colour)
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
    mark, colour = MARKS[number % len(MARKS)], COLOURS[number % len(COLOURS)]
    shown = f"{mark} {curve.name}: {curve.values[-1]:.4f} in epoch {curve.epochs[-1]}"
    if curve.best_epoch in curve.epochs:
        value = curve.values[curve.epochs.index(curve.best_epoch)]
        shown += f"; {BEST} {value:.4f} in the best epoch, {curve.best_epoch}"
    return Text(shown, style=colour)


# --- a picture


def save_curves(panels: Sequence[Panel], file: Path, form: str) -> None:
    """Draw panels side by side into a file; the same curves make the same bytes.

    Args:
        panels: one at least.
        file: where to.
        form: ``png`` or ``svg``.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError(
            "a picture of the curves needs the package 'matplotlib'; pip install matplotlib"
        ) from None
    width, height = SIZE
    with matplotlib.rc_context({"svg.hashsalt": "fasttext_app"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width * len(panels), height), layout="constrained")
        for axes, panel in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            _plot(axes, panel)
        metadata = {"Date": None} if form == "svg" else None
        figure.savefig(file, format=form, dpi=DOTS_PER_INCH, metadata=metadata)


def _plot(axes: Any, panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    for curve in panel.curves:
        mark = "o" if len(curve.epochs) <= MARKED_EPOCHS else ""
        label = _literal(curve.name)
        (line,) = axes.plot(curve.epochs, curve.values, marker=mark, markersize=3, label=label)
        if curve.best_epoch in curve.epochs:
            value = curve.values[curve.epochs.index(curve.best_epoch)]
            axes.plot(curve.best_epoch, value, "*", color=line.get_color(), markersize=12)
    axes.set_title(panel.title)
    axes.set_xlabel(
        "epoch  (★ best)" if any(curve.best_epoch for curve in panel.curves) else "epoch"
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, alpha=0.3)
    axes.legend()


def _literal(name: str) -> str:
    """Return a name that matplotlib shows as it is: no formula, and not left out of the legend."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")

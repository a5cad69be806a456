"""What a search leaves behind: ``best.toml``, ``trials.csv`` and a picture."""

from __future__ import annotations

import csv
import io
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasttext_app._version import __version__
from fasttext_app.config import Config, dump_config
from fasttext_app.errors import DataError
from fasttext_app.objectives import Objective
from fasttext_app.search_space import Dimension, Range, flat_settings
from fasttext_app.study import as_param
from fasttext_app.trials import TuneResult
from fasttext_app.whole_file import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["best_toml", "draw_search", "final_toml", "state_counts", "trials_csv"]

FIGURES = ("number", "state", "figure", "epoch", "epochs_done", "seconds", "bytes", "reason")
COLUMNS = 4  # of small pictures
TICKS = [digit * 10.0**power for power in range(-9, 10) for digit in (1, 3)]  # of a log axis
COLOURS = {"finished": "#1f6fb2", "pruned": "#b8b8b8"}


def best_toml(result: TuneResult) -> str:
    """Return the best configuration as TOML, with what found it as a comment."""
    best, objective = result.best, result.config.trainer.monitor
    base = result.trials[0]
    of_base = f"{base.figure!r}" if base.figure is not None else f"none ({base.state})"
    seconds = sum(trial.seconds for trial in result.trials)
    lines = [
        f"Found by fasttext-app tune {__version__}: trial {best.number} of {len(result.trials)}, "
        f"in {seconds:.0f} s of trials.",
        f"{objective} on validation rows: {best.figure!r}, after epoch {best.epoch}.",
        f"{objective} of the base settings: {of_base}.",
        f"Rows: {result.data['source']}, {result.data['rows']:,}, digest {result.data['digest']}.",
        f"Searched: {', '.join(result.space.settings)}.",
        "The same model, with the same rows held out: fasttext-app train --config best.toml",
    ]
    return _commented(lines, result.config)


def final_toml(result: TuneResult) -> str:
    """Return the settings for the model to use as TOML; see ``TuneResult.final``."""
    lines = [f"Found by fasttext-app tune {__version__}: best.toml has the figure."]
    if result.final != result.config:
        lines.append("It trains on all rows, those that the search held out as well.")
    return _commented(lines, result.final)


def _commented(lines: list[str], config: Config) -> str:
    # A path or a label may have characters that a comment may not.
    shown = ("".join(filter(str.isprintable, line)) for line in lines)
    comment = "".join(f"# {line}\n" for line in shown)
    return f"{comment}\n{dump_config(config)}"


def state_counts(result: TuneResult) -> dict[str, int]:
    """Return how many trials ended in which way."""
    states = [trial.state for trial in result.trials]
    return {state: states.count(state) for state in dict.fromkeys(states)}


def trials_csv(result: TuneResult) -> str:
    """Return all trials as CSV: their figures, then all settings that were searched."""
    base, text = flat_settings(result.base), io.StringIO()
    searched = result.space.settings
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*FIGURES, *searched])
    for trial in result.trials:
        values = [getattr(trial, name) for name in FIGURES]
        settings = [trial.settings.get(name, base[name]) for name in searched]
        writer.writerow([*values, *map(as_param, settings)])
    return text.getvalue()


def draw_search(result: TuneResult, path: Path) -> bool:
    """Draw the figures of the trials, as they came and by each setting.

    Returns:
        False where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    dimensions = result.space.dimensions
    rows = -(-len(dimensions) // COLUMNS)
    figure = Figure(figsize=(11, 4 + 2.4 * rows), layout="constrained")
    grid = figure.add_gridspec(1 + rows, COLUMNS, height_ratios=[1.6, *[1] * rows])
    _draw_course(figure.add_subplot(grid[0, :]), result)
    for number, dimension in enumerate(dimensions):
        axes = figure.add_subplot(grid[1 + number // COLUMNS, number % COLUMNS])
        _draw_setting(axes, result, dimension)
    with replacing(path, DataError) as partial:
        figure.savefig(partial, dpi=110, format="png")
    return True


def _draw_course(axes: Axes, result: TuneResult) -> None:
    """Draw the figure of each trial, and the best so far."""
    monitor = result.config.trainer.monitor
    best_of = min if Objective.parse(monitor).lower_is_better else max
    for state, colour in COLOURS.items():
        points = [
            (t.number, t.figure) for t in result.trials if t.state == state and t.figure is not None
        ]
        if points:
            numbers, figures = zip(*points, strict=True)
            axes.scatter(numbers, figures, s=16, color=colour, label=state, zorder=2)
    finished = [t for t in result.trials if t.state == "finished"]
    so_far = list(accumulate((t.figure or 0.0 for t in finished), best_of))
    axes.step([t.number for t in finished], so_far, where="post", color="#d1495b", label="best")
    _look_closely(axes, result)
    axes.set(xlabel="trial", ylabel=f"{monitor} on validation rows")
    axes.legend(loc="lower right", fontsize=8)


def _draw_setting(axes: Axes, result: TuneResult, dimension: Dimension) -> None:
    """Draw the figures of the trials by what was chosen of one dimension."""
    points = []
    for trial in result.trials:
        settings = flat_settings(result.base) | trial.settings
        value = dimension.value_of(settings) if dimension.applies(settings) else ()
        if value and trial.figure is not None:
            points.append((value[0], trial.figure, COLOURS[trial.state]))
    figures, colours = [figure for _, figure, _ in points], [colour for *_, colour in points]
    if isinstance(dimension.of, Range):
        axes.scatter([value for value, *_ in points], figures, s=12, c=colours)
        if dimension.of.log:
            axes.set_xscale("log")
            ticks = [t for t in TICKS if dimension.of.low <= t <= dimension.of.high]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.set_xticks([], minor=True)
        elif isinstance(dimension.of.low, int):
            axes.locator_params(axis="x", integer=True)
    else:
        places = [dimension.of.values.index(value) for value, *_ in points]
        axes.scatter(places, figures, s=12, c=colours)
        names = [_choice_name(value) for value in dimension.of.values]
        axes.set_xticks(range(len(names)), names)
    _look_closely(axes, result)
    axes.set_title(dimension.name, fontsize=9)
    axes.tick_params(labelsize=7, which="both")


def _choice_name(value: Any) -> str:
    return ", ".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def _look_closely(axes: Axes, result: TuneResult) -> None:
    """Show the better half of the figures; the worst ones would press them together."""
    figures = sorted(t.figure for t in result.trials if t.figure is not None)
    lower = Objective.parse(result.config.trainer.monitor).lower_is_better
    best, middle = (figures if lower else figures[::-1])[0], figures[len(figures) // 2]
    reach = abs(best - middle)
    if reach > 0:
        low, high = (best, best + 3 * reach) if lower else (best - 3 * reach, best)
        axes.set_ylim(low - reach * 0.15, high + reach * 0.15)

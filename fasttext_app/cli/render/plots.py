"""Plots in .png and .svg files, drawn by matplotlib: learning curves, reliability, a search."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasttext_app.config.metric_name import Metric
from fasttext_app.core.atomic_file import atomic_file
from fasttext_app.errors import DataError, missing_package
from fasttext_app.foreign_text import for_terminal
from fasttext_app.pages.palette import LIGHT
from fasttext_app.tuning.space import Dimension, Range, flat_settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fasttext_app.model.calibration import Calibration
    from fasttext_app.training.history import Panel
    from fasttext_app.tuning.trial import TuneResult

FORMATS = (".png", ".svg")
DPI = 150
PANEL_SIZE = 4.8, 3.4  # inches
MAX_MARKED_EPOCHS = 40  # a curve with more epochs has no markers
SEARCH_COLUMNS = 4  # plots of single settings beside one another
LOG_TICKS = [digit * 10.0**power for power in range(-9, 10) for digit in (1, 3)]
STYLE: dict[Any, Any] = {
    "axes.edgecolor": LIGHT.muted,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": LIGHT.line,
    "legend.frameon": False,
    "text.color": LIGHT.text,
    **dict.fromkeys(("axes.labelcolor", "xtick.color", "ytick.color"), LIGHT.text),
}
DASHES = ("-", "--", "-.", ":")  # when the colors are used up
STATE_COLORS = {"finished": LIGHT.series[0], "pruned": LIGHT.muted}


def check_plot_path(path: Path) -> None:
    """Refuse a file that no plot could be saved in, before the work whose result it shows.

    Raises:
        DataError: the name ends in neither .png nor .svg, or there is no such folder.
        MissingDependencyError: matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"{path}: the name of a plot must end in {' or '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}")
    _new_figure(1, 1)


def draw_curves(panels: Sequence[Panel], path: Path) -> None:
    """Draw panels of learning curves side by side; the same curves give the same bytes.

    Raises:
        DataError: the file cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    width, height = PANEL_SIZE
    with _saved_figure(path, width * len(panels), height) as figure:
        for axes, panel in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            _draw_panel(axes, panel)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    for curve in panel.curves:
        marker = "o" if len(curve.epochs) <= MAX_MARKED_EPOCHS else ""
        label = _legend_name(curve.name)
        (line,) = axes.plot(curve.epochs, curve.values, marker=marker, markersize=3, label=label)
        if curve.best_epoch in curve.epochs:
            score = curve.values[curve.epochs.index(curve.best_epoch)]
            axes.plot(curve.best_epoch, score, "*", color=line.get_color(), markersize=12)
    has_best = any(curve.best_epoch for curve in panel.curves)
    axes.set(title=panel.title, xlabel="epoch  (★ best)" if has_best else "epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True)
    axes.legend()


def _legend_name(name: str) -> str:
    """Return a name that matplotlib does not leave out of a legend."""
    return f" {name}" if name.startswith("_") else name


def draw_reliability(calibration: Calibration, path: Path) -> None:
    """Draw the reliability diagram: the fraction of correct predictions by mean probability.

    The area of a point is proportional to the number of predictions in its bin.

    Raises:
        DataError: the file cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    of_pairs = calibration["over"] == "pairs"
    bins = [row for row in calibration["bins"] if row["count"]]
    most = max((row["count"] for row in bins), default=1)
    x, y = [row["confidence"] for row in bins], [row["share"] for row in bins]
    sizes = [10 + 190 * row["count"] / most for row in bins]
    with _saved_figure(path, 5, 5) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=LIGHT.muted, linestyle="--", label="perfectly calibrated")
        axes.plot(x, y, color="C0", linewidth=1)
        axes.scatter(x, y, sizes, color="C0", clip_on=False)
        axes.set(
            xlim=(0, 1),
            ylim=(0, 1),
            aspect="equal",
            xlabel=f"mean probability of the {'label' if of_pairs else 'predicted label'}",
            ylabel=f"share that is {'true' if of_pairs else 'correct'}",
            title=f"ECE {calibration['ece']:.4f}, {calibration['count']:,} {calibration['over']}",
        )
        axes.legend(loc="upper left")


def draw_search(result: TuneResult, path: Path) -> None:
    """Draw the scores of the trials in order, and over each setting that was searched.

    Raises:
        DataError: the file cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    dimensions = result.space.dimensions
    rows = -(-len(dimensions) // SEARCH_COLUMNS)
    with _saved_figure(path, 11, 4 + 2.4 * rows) as figure:
        grid = figure.add_gridspec(1 + rows, SEARCH_COLUMNS, height_ratios=[1.6, *[1] * rows])
        _draw_course(figure.add_subplot(grid[0, :]), result)
        for index, dimension in enumerate(dimensions):
            row, column = divmod(index, SEARCH_COLUMNS)
            _draw_setting(figure.add_subplot(grid[1 + row, column]), result, dimension)


def _draw_course(axes: Axes, result: TuneResult) -> None:
    """Draw the score of each trial, and the best score so far."""
    monitor = result.config.trainer.monitor
    best_of = min if Metric.parse(monitor).lower_is_better else max
    for state, color in STATE_COLORS.items():
        points = [
            (t.number, t.score) for t in result.trials if t.state == state and t.score is not None
        ]
        if points:
            numbers, scores = zip(*points, strict=True)
            axes.scatter(numbers, scores, s=16, color=color, label=state, zorder=2)
    finished = [t for t in result.trials if t.state == "finished"]
    best_so_far = list(accumulate((t.score or 0.0 for t in finished), best_of))
    axes.step(
        [t.number for t in finished], best_so_far, where="post", color=LIGHT.series[1], label="best"
    )
    _zoom_to_better_half(axes, result)
    axes.set(xlabel="trial", ylabel=f"{monitor} on validation rows")
    axes.legend(loc="lower right", fontsize=8)


def _draw_setting(axes: Axes, result: TuneResult, dimension: Dimension) -> None:
    """Draw the scores of the trials over the values of one setting."""
    values, scores, colors = [], [], []
    for trial in result.trials:
        settings = flat_settings(result.base) | trial.settings
        value = dimension.value_in(settings) if dimension.applies(settings) else ()
        if value and trial.score is not None:
            values.append(value[0])
            scores.append(trial.score)
            colors.append(STATE_COLORS[trial.state])
    if isinstance(dimension.domain, Range):
        axes.scatter(values, scores, s=12, c=colors)
        if dimension.domain.log:
            axes.set_xscale("log")
            ticks = [t for t in LOG_TICKS if dimension.domain.low <= t <= dimension.domain.high]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.set_xticks([], minor=True)
        elif isinstance(dimension.domain.low, int):
            axes.locator_params(axis="x", integer=True)
    else:
        choices = dimension.domain.values
        axes.scatter([choices.index(value) for value in values], scores, s=12, c=colors)
        axes.set_xticks(range(len(choices)), [_choice_name(choice) for choice in choices])
    _zoom_to_better_half(axes, result)
    axes.set_title(dimension.name, fontsize=9)
    axes.tick_params(labelsize=7, which="both")


def _choice_name(choice: Any) -> str:
    name = ", ".join(map(str, choice.values())) if isinstance(choice, dict) else str(choice)
    return for_terminal(name)


def _zoom_to_better_half(axes: Axes, result: TuneResult) -> None:
    """Limit the y axis to the better half of the scores, which a few bad ones would squeeze."""
    scores = sorted(t.score for t in result.trials if t.score is not None)
    lower_is_better = Metric.parse(result.config.trainer.monitor).lower_is_better
    best, median = scores[0 if lower_is_better else -1], scores[len(scores) // 2]
    reach = abs(best - median)
    if reach > 0:
        low, high = (best, best + 3 * reach) if lower_is_better else (best - 3 * reach, best)
        axes.set_ylim(low - reach * 0.15, high + reach * 0.15)


@contextmanager
def _saved_figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Yield a figure, sized in inches, and save it in the format of the file's suffix.

    Raises:
        DataError: the file cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    figure = _new_figure(width, height)
    import matplotlib
    from cycler import cycler
    from matplotlib.text import Text

    form = path.suffix.lower().removeprefix(".")
    metadata = {"Date": None} if form == "svg" else None
    # The same ids each time, and a dollar sign in a name begins no formula.
    fixed: dict[Any, Any] = {"svg.hashsalt": "fasttext_app", "text.parse_math": False}
    curves = cycler(linestyle=DASHES) * cycler(color=LIGHT.series)
    with matplotlib.rc_context({**STYLE, "axes.prop_cycle": curves, **fixed}):
        yield figure
        for text in figure.findobj(Text):
            text.set_text(for_terminal(text.get_text()))
        with atomic_file(path, DataError) as partial, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(partial, format=form, dpi=DPI, metadata=metadata)


def _new_figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_package("a plot", "matplotlib", "plots") from None
    return Figure(figsize=(width, height), layout="constrained")

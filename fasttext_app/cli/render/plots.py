"""Pictures of figures, drawn by matplotlib."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasttext_app.config.metric_name import Metric
from fasttext_app.core.atomic_file import atomic_file
from fasttext_app.errors import DataError
from fasttext_app.tuning.report import COLUMNS
from fasttext_app.tuning.space import Dimension, Range, flat_settings
from fasttext_app.tuning.trial import TuneResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes


import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fasttext_app.errors import MissingDependencyError

if TYPE_CHECKING:
    from fasttext_app.training.history import Panel


from fasttext_app.model.calibration import Calibration

FORMATS = (".png", ".svg")


def check_plot(path: Path) -> None:
    """Refuse a picture that could not be drawn, before the work that it shows.

    Raises:
        DataError: the name ends in neither .png nor .svg, or there is no such folder.
        MissingDependencyError: matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"{path}: a picture's name ends in {' or '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            "a picture needs matplotlib; install it with: pip install matplotlib "
            "(the extra fasttext-app[plots])"
        ) from None


def draw_reliability(calibration: Calibration, path: Path) -> None:
    """Draw the reliability diagram: the share that is right against the mean probability.

    The area of a point goes with the number of answers in its bin.

    Raises:
        DataError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    pairs = calibration["over"] == "pairs"
    rows = [row for row in calibration["bins"] if row["count"]]
    most = max((row["count"] for row in rows), default=1)
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="as it should be")
    x, y = [row["confidence"] for row in rows], [row["share"] for row in rows]
    axes.plot(x, y, color="C0", linewidth=1)
    axes.scatter(x, y, [10 + 190 * row["count"] / most for row in rows], color="C0", clip_on=False)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
        xlabel="mean probability of the label" if pairs else "mean probability of the best label",
        ylabel="share that is true" if pairs else "share that is right",
        title=f"ECE {calibration['ece']:.4f}, {calibration['count']:,} {calibration['over']}",
    )
    axes.legend(loc="upper left")
    with atomic_file(path, DataError) as partial:
        figure.savefig(partial, format=path.suffix.lower()[1:], dpi=150)


SIZE = 4.8, 3.4  # inches of a panel


DOTS_PER_INCH = 150


MARKED_EPOCHS = 40  # a picture marks each epoch of a run that has no more


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


TICKS = [digit * 10.0**power for power in range(-9, 10) for digit in (1, 3)]  # of a log axis


COLORS = {"finished": "#1f6fb2", "pruned": "#b8b8b8"}


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
    with atomic_file(path, DataError) as partial:
        figure.savefig(partial, dpi=110, format="png")
    return True


def _draw_course(axes: Axes, result: TuneResult) -> None:
    """Draw the figure of each trial, and the best so far."""
    monitor = result.config.trainer.monitor
    best_of = min if Metric.parse(monitor).lower_is_better else max
    for state, color in COLORS.items():
        points = [
            (t.number, t.figure) for t in result.trials if t.state == state and t.figure is not None
        ]
        if points:
            numbers, figures = zip(*points, strict=True)
            axes.scatter(numbers, figures, s=16, color=color, label=state, zorder=2)
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
            points.append((value[0], trial.figure, COLORS[trial.state]))
    figures, colors = [figure for _, figure, _ in points], [color for *_, color in points]
    if isinstance(dimension.of, Range):
        axes.scatter([value for value, *_ in points], figures, s=12, c=colors)
        if dimension.of.log:
            axes.set_xscale("log")
            ticks = [t for t in TICKS if dimension.of.low <= t <= dimension.of.high]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.set_xticks([], minor=True)
        elif isinstance(dimension.of.low, int):
            axes.locator_params(axis="x", integer=True)
    else:
        places = [dimension.of.values.index(value) for value, *_ in points]
        axes.scatter(places, figures, s=12, c=colors)
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
    lower = Metric.parse(result.config.trainer.monitor).lower_is_better
    best, middle = (figures if lower else figures[::-1])[0], figures[len(figures) // 2]
    reach = abs(best - middle)
    if reach > 0:
        low, high = (best, best + 3 * reach) if lower else (best - 3 * reach, best)
        axes.set_ylim(low - reach * 0.15, high + reach * 0.15)

"""Pictures of figures, drawn by matplotlib."""

from __future__ import annotations

from pathlib import Path

from fasttext_app.calibration import Calibration
from fasttext_app.errors import DataError, MissingDependencyError
from fasttext_app.whole_file import replacing

__all__ = ["check_plot", "draw_reliability"]

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
    with replacing(path, DataError) as partial:
        figure.savefig(partial, format=path.suffix.lower()[1:], dpi=150)

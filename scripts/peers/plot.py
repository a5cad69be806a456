"""A plot of test accuracy against training seconds."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from peers.contenders import OURS


def spread(values: list[float], gap: float) -> list[float]:
    """Move values up until neighbors are at least `gap` apart, so that labels do not overlap.

    >>> spread([1.0, 1.1, 5.0], 0.5)
    [1.0, 1.5, 5.0]
    """
    moved = list(values)
    order = sorted(range(len(values)), key=values.__getitem__)
    for below, above in pairwise(order):
        moved[above] = max(moved[above], moved[below] + gap)
    return moved


def draw(points: list[tuple[str, float, float]], path: Path) -> None:
    """Draw a labeled point for every (recipe, seconds, accuracy); equal points give equal bytes."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    seconds, accuracies = [x for _, x, _ in points], [y for _, _, y in points]
    low, high = min(accuracies), max(accuracies)
    height = max(high - low, 0.5)
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    for (name, x, y), label_y in zip(points, spread(accuracies, height / 14), strict=True):
        is_ours = name.startswith(OURS)
        color = "#D55E00" if is_ours else "#0072B2"
        axes.plot([x], [y], "o", color=color, markersize=8 if is_ours else 6)
        axes.annotate(
            name,
            (x, y),
            xytext=(x * 1.07, label_y),
            color=color,
            va="center",
            fontweight="bold" if is_ours else "normal",
        )
    axes.set_xscale("log")
    axes.set_xlim(min(seconds) / 1.5, max(seconds) * 5)
    axes.set_ylim(low - 0.15 * height, high + 0.25 * height)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("seconds of training, whole process on two cores (log scale)")
    axes.set_ylabel("test accuracy, %")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "peers"}):
        figure.savefig(path, format="svg", metadata={"Date": None})

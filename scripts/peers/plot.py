"""The picture: test accuracy against seconds of training."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from peers.contenders import OURS


def spread(values: list[float], gap: float) -> list[float]:
    """Move values up until any two are `gap` apart, in their order; for labels that would overlap.

    >>> spread([1.0, 1.1, 5.0], 0.5)
    [1.0, 1.5, 5.0]
    """
    placed = list(values)
    order = sorted(range(len(values)), key=values.__getitem__)
    for below, above in pairwise(order):
        placed[above] = max(placed[above], placed[below] + gap)
    return placed


def draw(points: list[tuple[str, float, float]], path: Path) -> None:
    """Draw one labeled point for every (recipe, seconds, accuracy); equal points, equal bytes."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    seconds, accuracies = [at for _, at, _ in points], [share for _, _, share in points]
    low, high = min(accuracies), max(accuracies)
    height = max(high - low, 0.5)
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    for (name, at, share), label_at in zip(points, spread(accuracies, height / 14), strict=True):
        own = name.startswith(OURS)
        color = "#D55E00" if own else "#0072B2"
        axes.plot([at], [share], "o", color=color, markersize=8 if own else 6)
        axes.annotate(
            name,
            (at, share),
            xytext=(at * 1.07, label_at),
            color=color,
            va="center",
            fontweight="bold" if own else "normal",
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

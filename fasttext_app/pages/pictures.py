"""Charts as SVG in a page, whose colors are those of the style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from markupsafe import Markup

from fasttext_app.foreign_text import for_html

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 40  # pixels around the area of the curves
SERIES = 4  # colors; more curves are dashed


@dataclass(frozen=True)
class Line:
    """A curve."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    marked: float | None = None
    """The x of a point to mark."""


@dataclass(frozen=True)
class Axis:
    """What an axis shows, and from where to where."""

    name: str
    low: float = 0.0
    high: float = 1.0
    whole: bool = False
    """Whether the ticks are whole numbers."""

    def ticks(self, count: int = 5) -> Sequence[float]:
        """Return where the axis has numbers."""
        ticks = nice_ticks(self.low, self.high, count)
        return [tick for tick in ticks if tick == int(tick)] if self.whole else ticks


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers from ``low`` to ``high``, about ``count`` of them.

    >>> nice_ticks(0.0, 1.0), nice_ticks(3.0, 17.0)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [5.0, 10.0, 15.0])
    """
    rough = (high - low) / max(count, 1)
    if rough <= 0:
        return [low]
    power = float(10.0 ** np.floor(np.log10(rough)))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [round(number * step, 10) for number in range(first, last + 1)]


class _Chart:
    """A picture with two axes, to which curves, points and bars are added."""

    def __init__(self, title: str, x: Axis, y: Axis, width: int, height: int) -> None:
        self.title, self.x, self.y, self.width, self.height = title, x, y, width, height
        self.parts: list[str] = []

    def at(self, x: float, y: float) -> tuple[str, str]:
        """Return the place of a point."""
        across = (x - self.x.low) / ((self.x.high - self.x.low) or 1)
        up = (y - self.y.low) / ((self.y.high - self.y.low) or 1)
        left = LEFT + across * (self.width - LEFT - RIGHT)
        top = self.height - BOTTOM - up * (self.height - TOP - BOTTOM)
        return f"{left:.1f}", f"{top:.1f}"

    def frame(self, names: Sequence[str] = ()) -> _Chart:
        """Draw the axes; ``names`` stand between the whole numbers of x, in place of numbers."""
        few = self.width < WIDTH
        for tick in self.y.ticks(3 if few else 6):
            (x1, y), (x2, _) = self.at(self.x.low, tick), self.at(self.x.high, tick)
            self.parts.append(f'<path class="grid" d="M{x1} {y}H{x2}"/>')
            self._letters(LEFT - 6, float(y) + 4, _short(tick), "end")
        ticks = [(tick, f"{tick:g}") for tick in self.x.ticks(3 if few else 6)]
        if names:
            ticks = [(index + 0.5, name) for index, name in enumerate(names)]
        for tick, name in ticks:
            x, y = self.at(tick, self.y.low)
            self._letters(float(x), float(y) + 16, name)
        (x1, y1), (x2, y2) = self.at(self.x.low, self.y.low), self.at(self.x.high, self.y.high)
        self.parts.append(f'<path class="axis" d="M{x1} {y2}V{y1}H{x2}"/>')
        self._letters((LEFT + self.width - RIGHT) / 2, self.height - 6, self.x.name)
        down = (TOP + self.height - BOTTOM) / 2
        self._letters(12, down, self.y.name, turned=f' transform="rotate(-90 12 {down:g})"')
        return self

    def _letters(
        self, x: float, y: float, text: str, anchor: str = "middle", turned: str = ""
    ) -> None:
        self.parts.append(
            f'<text class="muted" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turned}>'
            f"{for_html(text)}</text>"
        )

    def curve(self, x: Sequence[float], y: Sequence[float], css: str) -> None:
        """Add a curve through points."""
        places = " ".join(",".join(self.at(*point)) for point in zip(x, y, strict=True))
        self.parts.append(f'<polyline class="curve {css}" points="{places}"/>')

    def dot(self, x: float, y: float, radius: float, css: str, title: str) -> None:
        """Add a point."""
        left, top = self.at(x, y)
        inner = f"<title>{for_html(title)}</title>"
        self.parts.append(
            f'<circle class="{css}" cx="{left}" cy="{top}" r="{radius:.1f}">{inner}</circle>'
        )

    def markup(self) -> Markup:
        """Return the chart."""
        title = for_html(self.title)
        return Markup(
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{title}">'
            + "".join(self.parts)
            + "</svg>"
        )


def line_chart(
    title: str, lines: Sequence[Line], x: Axis, y: Axis, width: int = WIDTH, height: int = HEIGHT
) -> Markup:
    """Draw curves; :func:`series_css` tells their colors, for a legend."""
    chart = _Chart(title, x, y, width, height).frame()
    for index, line in enumerate(lines):
        chart.curve(line.x, line.y, series_css(index))
        few = len(line.x) <= 40
        for px, py in zip(line.x, line.y, strict=True) if few else ():
            marked = px == line.marked
            css = f"fill-{index % SERIES + 1}"
            chart.dot(px, py, 5 if marked else 2.5, css, f"{line.name}: {py:.4g} at {px:g}")
    return chart.markup()


def series_css(index: int) -> str:
    """Return the CSS classes of a curve."""
    dashed = " dashed" if index >= SERIES else ""
    return f"stroke-{index % SERIES + 1}{dashed}"


def reliability_chart(
    title: str, points: Sequence[tuple[float, float, int]], x_name: str, y_name: str
) -> Markup:
    """Draw a reliability diagram.

    Args:
        title: what a screen reader says.
        points: mean probability, share of right predictions, and number of predictions.
        x_name: what the probability is of.
        y_name: what the share is of.
    """
    chart = _Chart(title, Axis(x_name), Axis(y_name), WIDTH, 300).frame()
    chart.curve([0, 1], [0, 1], "axis dashed")
    most = max((count for _, _, count in points), default=1)
    chart.curve([x for x, _, _ in points], [y for _, y, _ in points], "stroke-1")
    for x, y, count in points:
        title = f"{count:,} with mean probability {x:.3f}: {y:.3f} right"
        chart.dot(x, y, 2.5 + 7 * sqrt(count / most), "fill-1", title)
    return chart.markup()


def bar_chart(title: str, names: Sequence[str], values: Sequence[int], x_name: str) -> Markup:
    """Draw upright bars, such as a histogram; each has its name below."""
    x, y = Axis(x_name, 0, len(values)), Axis("rows", 0, max([*values, 1]), whole=True)
    chart = _Chart(title, x, y, WIDTH, HEIGHT).frame(names)
    for index, (name, value) in enumerate(zip(names, values, strict=True)):
        (left, top), (right, bottom) = chart.at(index + 0.08, value), chart.at(index + 0.92, 0)
        size = f'width="{float(right) - float(left):.1f}" height="{float(bottom) - float(top):.1f}"'
        inner = f"<title>{for_html(name)}: {value:,}</title>"
        chart.parts.append(f'<rect class="fill-1" x="{left}" y="{top}" {size}>{inner}</rect>')
    return chart.markup()


def _short(number: float) -> str:
    """Return a number of at most four characters or so.

    >>> _short(1500.0), _short(2e6), _short(40.0)
    ('1.5k', '2M', '40')
    """
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"

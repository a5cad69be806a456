"""The colors of pages, pictures and plots, on a light and on a dark page.

They follow Okabe and Ito (https://jfly.uni-koeln.de/color/), darkened or lightened until letters
have a contrast of 4.5 and lines one of 3 to what is behind them (WCAG 2.2, AA).
"""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """Colors as ``#rrggbb``."""

    page: str
    surface: str
    """Behind boxes, table heads and fields on the page."""
    text: str
    muted: str
    """Letters of secondary text."""
    line: str
    """Borders and grids."""
    series: tuple[str, str, str, str]
    """Curves and bars, in this order; links and buttons have the first."""
    shade: float
    """Opacity of the strongest color behind letters, which stay readable on it."""

    @property
    def speaks_for(self) -> str:
        """The color behind words that speak for a label."""
        return self.series[0]

    @property
    def speaks_against(self) -> str:
        """The color behind words that speak against a label."""
        return self.series[1]


LIGHT = Palette(
    page="#ffffff",
    surface="#f5f7f9",
    text="#1b2127",
    muted="#55606b",
    line="#d5dce3",
    series=("#0072b2", "#d55e00", "#005a3c", "#c0609a"),
    shade=0.55,
)
DARK = Palette(
    page="#11161b",
    surface="#1a2129",
    text="#e6ecf2",
    muted="#a1adb9",
    line="#35404b",
    series=("#56b4e9", "#f08a4b", "#8ee6c0", "#d67fb4"),
    shade=0.45,
)


def rgb(color: str) -> RGB:
    """Return red, green and blue of a color, 0 to 255.

    >>> rgb("#0072b2")
    (0, 114, 178)
    """
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


def css_variables(palette: Palette) -> str:
    """Return a palette as declarations of CSS variables, which ``style.css`` uses."""
    values = {name: getattr(palette, name) for name in ("page", "surface", "text", "muted", "line")}
    for number, color in enumerate(palette.series, 1):
        values[f"series-{number}"] = color
        values[f"series-{number}-rgb"] = " ".join(map(str, rgb(color)))
    values["shade"] = str(palette.shade)
    return " ".join(f"--{name}: {value};" for name, value in values.items())

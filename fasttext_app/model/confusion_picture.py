"""The confusion matrix as an SVG picture, which needs no library."""

from __future__ import annotations

from collections.abc import Sequence

from fasttext_app.foreign_text import for_html
from fasttext_app.pages.palette import LIGHT

MAX_LABELS = 25
"""Labels in a picture; of more, those with the most rows."""
CELL, HEAD, FONT = 44, 110, 12  # pixels: a cell, the room for names, the letters
SLANT = 80  # pixels to the right of the cells, for the slanted name of the last column
MAX_NAME = 16  # characters of a name


def confusion_picture(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> str:
    """Draw a confusion matrix: rows are true labels, columns are predicted ones.

    The darker a cell, the larger its share of the rows of its true label. The same matrix gives the
    same bytes. On a page with the style sheet of all pages, it takes the colors of the page.

    Args:
        labels: the names, [C].
        matrix: the numbers of rows, [C][C].
    """
    most = sorted(range(len(labels)), key=lambda label: -sum(matrix[label]))[:MAX_LABELS]
    shown = sorted(most)
    top, side = HEAD + 2 * FONT, CELL * len(shown)
    width, height = HEAD + side + SLANT, top + side + FONT
    of_all = f", the {len(shown)} labels with the most rows" if len(shown) < len(labels) else ""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="{FONT}" fill="{LIGHT.text}" text-anchor="middle">',
        "<title>Confusion matrix</title>",
        f'<rect width="100%" height="100%" class="ground" fill="{LIGHT.page}"/>',
        f'<text x="{width / 2:g}" y="{FONT * 1.5:g}">rows: true, columns: predicted{of_all}</text>',
    ]
    for place, label in enumerate(shown):
        name, middle = _short(labels[label]), HEAD + CELL * (place + 0.5)
        parts.append(
            f'<text x="{HEAD - 6}" y="{top - HEAD + middle + 4:g}" text-anchor="end">{name}</text>'
        )
        turned = f'transform="rotate(-45 {middle:g} {top - 8})"'
        parts.append(
            f'<text x="{middle:g}" y="{top - 8}" text-anchor="start" {turned}>{name}</text>'
        )
        total = max(sum(matrix[label]), 1)
        for column, predicted in enumerate(shown):
            rows = matrix[label][predicted]
            x, y = HEAD + CELL * column, top + CELL * place
            parts.append(_cell(x, y, rows, rows / total))
    return "\n".join([*parts, "</svg>", ""])


def _cell(x: int, y: int, rows: int, share: float) -> str:
    square = (
        f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" class="shaded" '
        f'fill="{LIGHT.series[0]}" '
        f'fill-opacity="{share * LIGHT.shade:.2f}" stroke="{LIGHT.line}" '
        f'style="--share: {share:.2f}"/>'
    )
    if not rows:
        return square
    middle = f'x="{x + CELL / 2:g}" y="{y + CELL / 2 + 4:g}"'
    return f"{square}<text {middle}>{rows}</text>"


def _short(name: str) -> str:
    return for_html(name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…")

"""The two consoles and the shape of a table: results go to stdout, progress to stderr."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import rich.console
import rich.table
import rich.text
from rich.segment import Segment

from fasttext_app.foreign_text import for_terminal


class Text(rich.text.Text):
    """A line of text; no name in it can control a terminal or begin another line."""

    def __init__(self, text: str = "", *arguments: Any, **named: Any) -> None:
        super().__init__(for_terminal(text), *arguments, **named)


class Console(rich.console.Console):
    """A console that shows every string as it is: no markup, no emoji codes, no control characters.

    Strings become :class:`Text`; whatever reaches the console in another way is escaped too.
    """

    def __init__(self, **named: Any) -> None:
        super().__init__(highlight=False, soft_wrap=True, markup=False, emoji=False, **named)

    def render_str(self, text: str, *, style: Any = "", **named: Any) -> rich.text.Text:
        """Return a string as text without markup."""
        layout = {name: named.get(name) for name in ("justify", "overflow")}
        return Text(text, style, **layout)

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        """Render an object into pieces of text, each of which is safe."""
        for segment in super().render(renderable, options):
            text = for_terminal(segment.text, lines=True)
            if segment.control or text == segment.text:
                yield segment
            else:
                yield Segment(text, segment.style)


out = Console()
err = Console(stderr=True)


MAX_CELL = 10_000
"""Characters of a cell that are shown: wrapping takes far longer than reading."""


class Table(rich.table.Table):
    """A table in which no cell fills many screens."""

    def add_row(self, *cells: Any, **named: Any) -> None:
        """Add a row; a long cell is cut, and ends with an ellipsis."""
        super().add_row(*map(_shortened, cells), **named)


def _shortened(cell: Any) -> Any:
    if isinstance(cell, str | Text) and len(cell) > MAX_CELL:
        return cell[:MAX_CELL] + "…"
    return cell


MAX_NAMES = 10
SCREEN_ROWS = 20
"""Rows of a table that fit on a screen, with what is around it."""

Item = TypeVar("Item")


def on_a_screen(items: Sequence[Item], *, show_all: bool) -> Sequence[Item]:
    """Return as many items as fit on a screen, or all."""
    return items if show_all else items[:SCREEN_ROWS]


def say_rest(items: Sequence[object], what: str, *, show_all: bool, option: str = "--all") -> None:
    """Say how many of the items are not shown, if any."""
    rest = len(items) - len(on_a_screen(items, show_all=show_all))
    if rest:
        out.print(Text(f"and {rest:,} more {what}; {option} shows them"))


def some_names(names: Sequence[str], *, show_all: bool) -> str:
    """Return names in a row, and how many there are beyond those that fit on a line or two.

    >>> some_names([str(number) for number in range(300)], show_all=False)
    '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 290 others'
    """
    shown = names if show_all else names[:MAX_NAMES]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest:,} others" if rest else "")


def new_table(title: str, *columns: str, numeric: Sequence[str] = ()) -> Table:
    """Return an empty table whose ``numeric`` columns are right-aligned."""
    table = Table(title=Text(title), title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        right = column in numeric
        table.add_column(
            Text(_shortened(column)), justify="right" if right else "left", overflow="fold"
        )
    return table


def pairs_table(title: str, values: Mapping[str, object], columns: int = 1) -> Table:
    """Return a table of names and values, which fill ``columns`` pairs of columns one by one."""
    table = Table(title=Text(title), title_justify="left", title_style="bold", show_header=False)
    for _ in range(columns):
        table.add_column(style="cyan")
        table.add_column(overflow="fold")
    cells = [(name, Text(format_value(value))) for name, value in values.items()]
    height = -(-len(cells) // columns)
    for row in range(height):
        table.add_row(*(cell for pair in cells[row::height] for cell in pair))
    return table


def format_value(value: object) -> str:
    """Return a value for a person: integers with separators, floats with four digits.

    >>> format_value(12345), format_value(0.5), format_value(True)
    ('12,345', '0.5000', 'True')
    """
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4f}" if isinstance(value, float) else str(value)


def quoted(name: str) -> str:
    """Return a name as it is; one with blanks around it, or with no letters to see, in quotes.

    >>> quoted("sci-fi"), quoted("sci-fi ")
    ('sci-fi', "'sci-fi '")
    """
    return name if name == name.strip() and name.isprintable() else repr(name)


def readable(key: str) -> str:
    """Return the name of a value by its key.

    >>> readable("validation_macro_f1")
    'validation macro F1'
    """
    return key.replace("_f1", " F1").replace("_", " ")

"""The two consoles and the shape of a table: results go to stdout, progress to stderr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


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
        table.add_column(Text(column), justify="right" if right else "left", overflow="fold")
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

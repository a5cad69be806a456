"""Rows, lengths and label balance: ``data``, and ``train --dry-run``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fasttext_app.cli.render.console import (
    Text,
    new_table,
    on_a_screen,
    out,
    pairs_table,
    quoted,
    readable,
    say_rest,
)
from fasttext_app.core.sizes import format_size

MAX_TEXT = 200  # characters of a row's text


def show_data(description: Mapping[str, Any], *, show_all: bool = False) -> None:
    """Show the description of one split of a dataset; see ``describe_data``."""
    words = description["words"]
    values = {
        "split": description["split"],
        "splits": ", ".join(description["splits"]) or "one file",
        "rows": description["rows"],
        "empty texts": description["empty_texts"],
        "words": words["total"],
        "words per text": f"mean {words['mean']:.1f}, median {words['median']:.0f}, "
        f"longest {words['longest']:,}",
    }
    out.print(pairs_table(f"Data {description['source']}", values))
    show_balance(description["labels"], show_all=show_all)
    table = new_table("First rows", "label", "text")
    for row in description["first_rows"]:
        text = " ".join(row["text"].split())
        shown = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
        table.add_row(Text(quoted(row["label"])), Text(shown))
    out.print(table)
    for finding in description["findings"]:
        out.print(Text(f"• {finding['message']}"))


def show_statistics(statistics: Mapping[str, Any], dim: int) -> None:
    """Show the statistics of prepared training data."""
    values = dict(statistics)
    labels = values.pop("labels")
    values["table"] = f"{format_size(values['table_rows'] * dim * 4)} at dim {dim}"
    names = {readable(key): value for key, value in values.items()}
    out.print(pairs_table("Training data", names))
    show_balance(labels, option="--json")


def show_balance(
    labels: Mapping[str, int],
    title: str = "Labels",
    *,
    show_all: bool = False,
    option: str = "--all",
) -> None:
    """Show how many rows each label has: the most frequent ones, if not all fit on a screen.

    Args:
        labels: the rows of each label.
        title: the title of the table.
        show_all: whether to show all labels.
        option: the option of the command that shows all.
    """
    total = max(sum(labels.values()), 1)
    table = new_table(title, "label", "rows", "share", numeric=("rows", "share"))
    rows = list(labels.items())
    if len(on_a_screen(rows, show_all=show_all)) < len(rows):
        rows.sort(key=lambda row: -row[1])
    for name, count in on_a_screen(rows, show_all=show_all):
        table.add_row(Text(quoted(name)), f"{count:,}", f"{count / total:.1%}")
    out.print(table)
    say_rest(rows, "labels", show_all=show_all, option=option)

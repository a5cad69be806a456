"""Explanations: words colored by what they add to a logit, and a table of what adds up to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.color import Color
from rich.style import Style

from fasttext_app.cli.render.console import Console, Table, Text
from fasttext_app.inference.explain import Explanation, LabelFeature
from fasttext_app.pages.palette import LIGHT, rgb

MAX_UNKNOWN = 20


# --- the content, for both forms


def _title(explanation: Explanation) -> str:
    title = f"Why {explanation.label}"
    if explanation.against is not None:
        title += f" rather than {explanation.against}"
    return f"{title} (probability of {explanation.label}: {explanation.probability:.4f})"


def _rows(explanation: Explanation, top: int) -> Iterator[tuple[str, str, str, str]]:
    """Yield the rows whose values add up to the logit, and the logit itself."""
    totals = explanation.totals()
    largest = [total for total in totals[:top] if total.value > 0]
    largest += [total for total in totals[: -top - 1 : -1] if total.value < 0]
    for total in largest:
        yield total.name, total.kind, str(total.count), f"{total.value:+.4f}"
    others = len(totals) - len(largest)
    if others:
        rest = sum(total.value for total in totals) - sum(total.value for total in largest)
        yield f"{others} other{'s' * (others != 1)}", "", "", f"{rest:+.4f}"
    yield "bias", "", "", f"{explanation.bias:+.4f}"
    name = "logit" if explanation.against is None else "difference of logits"
    yield name, "", "", f"{explanation.logit:+.4f}"


def _unknown(explanation: Explanation) -> str:
    names = explanation.unknown()
    if not names:
        return ""
    rest = f" and {len(names) - MAX_UNKNOWN} more" if len(names) > MAX_UNKNOWN else ""
    return f"Unknown, add nothing: {' | '.join(names[:MAX_UNKNOWN])}{rest}"


# --- the terminal


def show_explanation(explanation: Explanation, top: int, console: Console) -> None:
    """Show one text with its words in color, and the features that add most and least."""
    pieces = (_colored(text, share) for text, _, share in explanation.shaded_pieces())
    console.print(Text.assemble(*pieces))
    table = _table(_title(explanation), "feature", "kind", "times", "adds")
    *parts, logit = _rows(explanation, top)
    for name, *cells in parts:
        table.add_row(_one_line(name), *cells)
    table.add_section()
    table.add_row(*logit)
    console.print(table)
    if unknown := _unknown(explanation):
        console.print(_one_line(unknown))
    console.print()


def show_label_features(
    features: Sequence[LabelFeature], title: str, counted: str, console: Console
) -> None:
    """Show the strongest features of a label, and where they were counted."""
    shared = any(feature.sharing for feature in features)
    table = _table(title, "feature", "kind", "times", "adds alone", *(["sharing"] * shared))
    for feature in features:
        cells = [f"{feature.count:,}", f"{feature.value:+.3f}", f"{feature.sharing:,}"]
        table.add_row(_one_line(feature.name), feature.kind, *cells[: 2 + shared])
    console.print(table)
    console.print(Text(counted))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=Text(title), title_justify="left", title_style="bold", header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index > 1 else "left", overflow="fold")
    return table


def _one_line(text: str) -> Text:
    return Text("".join(" " if letter.isspace() else letter for letter in text))


def _colored(piece: str, share: float) -> Text:
    text = _one_line(piece)
    if share:
        color = rgb(LIGHT.speaks_for if share > 0 else LIGHT.speaks_against)
        paled = (round(255 + (part - 255) * abs(share) * LIGHT.shade) for part in color)
        text.stylize(Style(color="black", bgcolor=Color.from_rgb(*paled)))
    return text


# --- HTML


def html_page(explanations: Iterable[Explanation], title: str, top: int) -> Iterator[str]:
    """Yield the parts of one self-contained page, an explanation at a time."""
    from fasttext_app.pages.templates import page

    sections = (_section(explanation, top) for explanation in explanations)
    return page("cli/render/explanation.html", title=title, explanations=sections)


def _section(explanation: Explanation, top: int) -> dict[str, Any]:
    *parts, (name, _, _, logit) = _rows(explanation, top)
    return {
        "pieces": explanation.shaded_pieces(),
        "title": _title(explanation),
        "parts": parts,
        "sum_name": name,
        "sum": logit,
        "unknown": _unknown(explanation),
    }

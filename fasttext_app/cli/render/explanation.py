"""Explanations: words colored by what they add to a logit, and a table of what adds up to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.color import Color
from rich.style import Style
from rich.table import Table

from fasttext_app.cli.render.console import Console, Text
from fasttext_app.foreign_text import for_html
from fasttext_app.inference.explain import Explanation, LabelFeature

RGB = tuple[int, int, int]

FOR: RGB = (59, 130, 246)  # blue and orange, which most color-blind people can tell apart
AGAINST: RGB = (249, 115, 22)
MIN_STRENGTH = 0.05  # weaker pieces are not colored
MAX_OPACITY = 0.5  # of a color on the page's own background
MAX_UNKNOWN = 20

STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.6 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.2rem; }
section { border-top: 1px solid #8888; padding: 1rem 0; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 1.1rem; }
.text span, .key span { border-radius: 0.2em; padding: 0 0.1em; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: 0.1rem 1.2rem 0.1rem 0; overflow-wrap: anywhere; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.sum td { border-top: 1px solid #8888; }
"""


# --- the content, for both forms


def _title(explanation: Explanation) -> str:
    title = f"Why {explanation.label}"
    if explanation.against is not None:
        title += f" rather than {explanation.against}"
    return f"{title} (probability of {explanation.label}: {explanation.probability:.4f})"


def _strengths(explanation: Explanation) -> Iterator[tuple[str, float | None, float]]:
    """Yield the pieces of the text with their value, and that value as a share of the largest."""
    pieces = explanation.pieces()
    largest = max((abs(value) for _, value in pieces if value is not None), default=0.0)
    for text, value in pieces:
        strength = value / largest if value is not None and largest else 0.0
        yield text, value, strength if abs(strength) >= MIN_STRENGTH else 0.0


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
    pieces = (_colored(text, strength) for text, _, strength in _strengths(explanation))
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


def _colored(piece: str, strength: float) -> Text:
    text = _one_line(piece)
    if strength:
        color = FOR if strength > 0 else AGAINST
        paled = (round(255 + (part - 255) * abs(strength)) for part in color)
        text.stylize(Style(color="black", bgcolor=Color.from_rgb(*paled)))
    return text


# --- HTML


def html_page(explanations: Iterable[Explanation], title: str, top: int) -> Iterator[str]:
    """Yield the parts of one self-contained page; every text is escaped."""
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{for_html(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{for_html(title)}</h1>\n"
        f'<p class="key">Words in <span style="{_css(1)}">blue</span> speak for the label, words '
        f'in <span style="{_css(-1)}">orange</span> against it; an n-gram counts for its words '
        "in equal parts.</p>\n"
    )
    for explanation in explanations:
        yield _html_section(explanation, top)
    yield "</body>\n</html>\n"


def _html_section(explanation: Explanation, top: int) -> str:
    pieces = "".join(_html_piece(*piece) for piece in _strengths(explanation))
    *parts, (name, _, _, logit) = _rows(explanation, top)
    rows = "".join(
        f"<tr><td>{for_html(feature)}</td><td>{kind}</td>"
        f'<td class="number">{count}</td><td class="number">{value}</td></tr>\n'
        for feature, kind, count, value in parts
    )
    unknown = _unknown(explanation)
    return (
        f'<section>\n<p class="text">{pieces}</p>\n<p>{for_html(_title(explanation))}</p>\n'
        '<table>\n<tr><th>feature</th><th>kind</th><th class="number">times</th>'
        f'<th class="number">adds</th></tr>\n{rows}'
        f'<tr class="sum"><td colspan="3">{name}</td><td class="number">{logit}</td></tr>\n'
        "</table>\n" + (f"<p>{for_html(unknown)}</p>\n" if unknown else "") + "</section>\n"
    )


def _html_piece(text: str, value: float | None, strength: float) -> str:
    if value is None:
        return for_html(text)
    style = f' style="{_css(strength)}"' if strength else ""
    return f'<span title="{value:+.4f}"{style}>{for_html(text)}</span>'


def _css(strength: float) -> str:
    red, green, blue = FOR if strength > 0 else AGAINST
    return f"background: rgb({red} {green} {blue} / {abs(strength) * MAX_OPACITY:.2f})"

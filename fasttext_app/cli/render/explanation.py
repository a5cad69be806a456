"""Explanations for a person: words colored by what they add, and a table that adds up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from fasttext_app.inference.explain import Explanation, LabelFeature, Total

RGB = tuple[int, int, int]

FOR: RGB = (59, 130, 246)  # blue and orange, which most color-blind people tell apart
AGAINST: RGB = (249, 115, 22)
FAINT = 0.05  # what adds less than this part of the largest is not colored
DEEPEST = 0.5  # how much of the page's own background the strongest color covers
MOST_UNKNOWN = 20

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


@dataclass(frozen=True)
class _Sum:
    """The rows of the table that adds up to the logit."""

    largest: Sequence[Total]
    """Those that add most, then those that take most away."""
    others: int
    rest: float

    @classmethod
    def of(cls, explanation: Explanation, top: int) -> _Sum:
        totals = explanation.totals()
        largest = [total for total in totals[:top] if total.value > 0]
        largest += [total for total in totals[: -top - 1 : -1] if total.value < 0]
        known = sum(total.value for total in totals) - sum(total.value for total in largest)
        return cls(largest, len(totals) - len(largest), known)

    def rows(self, explanation: Explanation) -> Iterator[tuple[str, str, str, float]]:
        for total in self.largest:
            yield total.name, total.kind, str(total.count), total.value
        if self.others:
            yield f"{self.others} other{'s' * (self.others != 1)}", "", "", self.rest
        yield "bias", "", "", explanation.bias


def _title(explanation: Explanation) -> str:
    shown = f"Why {explanation.label}"
    if explanation.against is not None:
        shown += f" rather than {explanation.against}"
    return f"{shown} (probability of {explanation.label}: {explanation.probability:.4f})"


def _logit_name(explanation: Explanation) -> str:
    return "logit" if explanation.against is None else "difference of logits"


def _unknown(explanation: Explanation) -> str:
    names = explanation.unknown()
    if not names:
        return ""
    rest = f" and {len(names) - MOST_UNKNOWN} more" if len(names) > MOST_UNKNOWN else ""
    return f"Unknown, add nothing: {' | '.join(names[:MOST_UNKNOWN])}{rest}"


def _strengths(explanation: Explanation) -> Iterator[tuple[str, float | None, float]]:
    """Yield the pieces of the text, each with its value as a part of the largest, -1 to 1."""
    pieces = explanation.pieces()
    largest = max((abs(value) for _, value in pieces if value is not None), default=0.0)
    for shown, value in pieces:
        strength = value / largest if value is not None and largest else 0.0
        yield shown, value, strength if abs(strength) >= FAINT else 0.0


# --- the terminal


def show_explanation(explanation: Explanation, top: int, console: Console) -> None:
    """Show one text: its words in color, and what adds most to the logit and takes most away."""
    console.print(Text.assemble(*map(_colored, _strengths(explanation))))
    table = _table(_title(explanation), "feature", "kind", "times", "adds")
    for name, kind, count, value in _Sum.of(explanation, top).rows(explanation):
        table.add_row(_plain(name), kind, count, f"{value:+.4f}")
    table.add_section()
    table.add_row(_logit_name(explanation), "", "", f"{explanation.logit:+.4f}")
    console.print(table)
    if unknown := _unknown(explanation):
        console.print(_plain(unknown))
    console.print()


def show_label_features(
    features: Sequence[LabelFeature], title: str, counted: str, console: Console
) -> None:
    """Show what speaks most for a label."""
    shared = any(feature.sharing for feature in features)
    table = _table(title, "feature", "kind", "times", "adds alone", *(["sharing"] * shared))
    for feature in features:
        figures = (f"{feature.count:,}", f"{feature.value:+.3f}", f"{feature.sharing:,}")
        table.add_row(_plain(feature.name), feature.kind, *figures[: 2 + shared])
    console.print(table)
    console.print(Text(counted))


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=_plain(title), title_justify="left", title_style="bold", header_style="bold"
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number > 1 else "left", overflow="fold")
    return table


def _plain(text: str) -> Text:
    """Return text that cannot command the terminal: what is not printable becomes a space."""
    return Text("".join(letter if letter.isprintable() else " " for letter in text))


def _colored(piece: tuple[str, float | None, float]) -> Text:
    shown, _, strength = piece
    text = _plain(shown)
    if strength:
        base = FOR if strength > 0 else AGAINST
        paled = (round(255 + (part - 255) * abs(strength)) for part in base)
        text.stylize(Style(color="black", bgcolor=Color.from_rgb(*paled)))
    return text


# --- HTML


def html_page(explanations: Iterable[Explanation], title: str, top: int) -> Iterator[str]:
    """Yield the parts of one self-contained page; nothing of a text is taken as HTML."""
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n"
        f'<p class="key"><span style="{_css(1)}">blue</span> words speak for the label, '
        f'<span style="{_css(-1)}">orange</span> ones against it; an n-gram counts for its words '
        "in equal parts.</p>\n"
    )
    for explanation in explanations:
        yield _html_section(explanation, top)
    yield "</body>\n</html>\n"


def _html_section(explanation: Explanation, top: int) -> str:
    text = "".join(map(_html_piece, _strengths(explanation)))
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{kind}</td>"
        f'<td class="number">{count}</td><td class="number">{value:+.4f}</td></tr>\n'
        for name, kind, count, value in _Sum.of(explanation, top).rows(explanation)
    )
    unknown = _unknown(explanation)
    return (
        f'<section>\n<p class="text">{text}</p>\n<p>{escape(_title(explanation))}</p>\n'
        '<table>\n<tr><th>feature</th><th>kind</th><th class="number">times</th>'
        f'<th class="number">adds</th></tr>\n{rows}'
        f'<tr class="sum"><td colspan="3">{_logit_name(explanation)}</td>'
        f'<td class="number">{explanation.logit:+.4f}</td></tr>\n</table>\n'
        + (f"<p>{escape(unknown)}</p>\n" if unknown else "")
        + "</section>\n"
    )


def _html_piece(piece: tuple[str, float | None, float]) -> str:
    shown, value, strength = piece
    if value is None:
        return escape(shown)
    style = f' style="{_css(strength)}"' if strength else ""
    return f'<span title="{value:+.4f}"{style}>{escape(shown)}</span>'


def _css(strength: float) -> str:
    red, green, blue = FOR if strength > 0 else AGAINST
    return f"background: rgb({red} {green} {blue} / {abs(strength) * DEEPEST:.2f})"

"""A review as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fasttext_app._version import __version__
from fasttext_app.pages.templates import page
from fasttext_app.reviewing.review import Review, Suspect

SHOWN = 50
"""Rows of a section."""
CONFUSIONS = 10
CHARACTERS = 800
"""Of a text; the rest is left out."""
TITLES = {
    "label": "Likely mislabeled",
    "duplicate": "Near-duplicates with other labels",
    "unlabeled": "Label these first",
}
NOTES = {
    "label": "Confident learning: the probabilities contradict the label. Most suspect first.",
    "duplicate": "A row with another label has most of the same words.",
    "unlabeled": "The model is unsure about them, and they differ from one another.",
}


def review_page(review: Review, name: str) -> Iterator[str]:
    """Yield the parts of the page of a review of the rows that ``name`` says."""
    figures = [
        ("Labeled rows", f"{review.rows:,}"),
        ("Likely mislabeled", f"{len(review.of('label')):,}"),
        ("Near-duplicates", f"{len(review.of('duplicate')):,}"),
        ("Unlabeled rows", f"{review.unlabeled:,}"),
    ]
    sections = []
    for reason in ("label", "duplicate", "unlabeled"):
        rows = review.of(reason)
        if rows:
            more = f" The first {SHOWN} of {len(rows):,}." if len(rows) > SHOWN else ""
            sections.append(
                {
                    "id": reason,
                    "title": TITLES[reason],
                    "note": NOTES[reason] + more,
                    "confusions": label_confusions(review) if reason == "label" else [],
                    "rows": [case(suspect, review.kept.names) for suspect in rows[:SHOWN]],
                }
            )
    return page(
        "reviewing/page.html",
        title=f"Review of {name}",
        version=__version__,
        figures=figures,
        not_judged=f"{review.not_judged:,}" if review.not_judged else "",
        sections=sections,
    )


def label_confusions(review: Review) -> list[dict[str, Any]]:
    """Return the most frequent pairs of a label and the one that is likely right."""
    most = max(review.confusions.values(), default=1)
    return [
        {"label": label, "suggested": suggested, "rows": f"{rows:,}", "share": rows / most}
        for (label, suggested), rows in list(review.confusions.items())[:CONFUSIONS]
    ]


def case(suspect: Suspect, kept: Sequence[str]) -> dict[str, Any]:
    """Return a row as ``cases.html`` shows it."""
    values = ("" if value is None else str(value) for value in suspect.kept)
    return {
        "row": f"{suspect.row:,}",
        "reason": suspect.reason,
        "label": suspect.label,
        "own": _probability(suspect.label_probability),
        "suggested": suspect.suggested or "no label",
        "probability": _probability(suspect.probability),
        "like": "" if suspect.like is None else f"{suspect.like:,}",
        "kept": list(zip(kept, values, strict=True)),
        "text": shortened(suspect.text, CHARACTERS),
    }


def shortened(text: str, most: int) -> str:
    """Return at most so many characters of a text, with a sign that some are missing.

    >>> shortened("abc", 3), shortened("abcd", 3)
    ('abc', 'abc …')
    """
    return text if len(text) <= most else f"{text[:most]} …"


def _probability(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"

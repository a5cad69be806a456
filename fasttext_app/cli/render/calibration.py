"""What is shown to a person of probabilities: can they be trusted, and where to cut them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from fasttext_app.cli.render.tables import new_table, out, pairs_table
from fasttext_app.model.calibration import Calibration

WIDTH = 20  # of a bar, in characters
FIGURES = {
    "ece": "expected calibration error",
    "mce": "maximum calibration error",
    "nll": "negative log-likelihood",
    "brier": "Brier score",
}


def show_reliability(calibration: Calibration) -> None:
    """Show the reliability diagram: for each bin, the share that is right as a bar, `|` its ideal.

    Empty bins are left out.
    """
    what = "pairs of text and label" if calibration["over"] == "pairs" else "texts"
    right = "true" if calibration["over"] == "pairs" else "right"
    title = f"Reliability ({calibration['count']:,} {what}; a bar should end at its |)"
    numbers = ("count", "mean probability", right)
    table = new_table(title, "probability", *numbers, "", numbers=numbers)
    for row in calibration["bins"]:
        if row["count"]:
            table.add_row(
                f"{row['low']:.2f}-{row['high']:.2f}",
                f"{row['count']:,}",
                f"{row['confidence']:.3f}",
                f"{row['share']:.3f}",
                Text(_bar(row["share"], row["confidence"])),
            )
    out.print(table)


def _bar(share: float, ideal: float) -> str:
    """Draw a bar with a mark in it.

    >>> _bar(0.25, 0.5)
    '█████    |'
    """
    filled = round(share * WIDTH)
    mark = max(round(ideal * WIDTH) - 1, 0)
    cells = ["█" if place < filled else " " for place in range(WIDTH)]
    cells[mark] = "|"
    return "".join(cells).rstrip()


def show_calibrated(record: Mapping[str, Any]) -> None:
    """Show a model's record: what its temperature did, and its thresholds."""
    if "temperature" in record:
        found = record["temperature"]
        title = f"Calibrated on {found['rows']:,} rows of {found['source']}"
        table = new_table(title, "", "before", "after", numbers=("before", "after"))
        table.add_row("temperature", "1", f"{found['value']:.4f}")
        for name, label in FIGURES.items():
            cells = (f"{found[side][name]:.4f}" for side in ("before", "after"))
            table.add_row(label, *cells)
        out.print(table)
    if "thresholds" in record:
        _show_thresholds(record["thresholds"])


def _show_thresholds(fitted: Mapping[str, Any]) -> None:
    title = f"Thresholds for {fitted['goal']}, on {fitted['rows']:,} rows of {fitted['source']}"
    table = new_table(title, "label", "threshold", numbers=("threshold",))
    for name, value in fitted["values"].items():
        table.add_row(Text(name), f"{value:.4f}")
    out.print(table)
    for key, why in (
        ("without_positives", "no row has it, so its threshold is 0.5"),
        ("unreached", f"no threshold reaches {fitted['goal']}, so its own is the nearest"),
    ):
        if fitted[key]:
            out.print(Text(f"{', '.join(fitted[key])}: {why}"))


def show_cut(cut: Mapping[str, Any]) -> None:
    """Show from which probability on the wanted share of texts is kept."""
    rows = {
        "texts": cut["texts"],
        f"threshold of {cut['label']}": repr(cut["threshold"]),
        "keeps": f"{cut['kept']:,} ({cut['kept'] / cut['texts']:.2%})",
    }
    out.print(pairs_table(f"The likeliest {100 * cut['keep']:g}% of {cut['input']}", rows))
    if cut["kept"] > cut["wanted"]:
        out.print(
            Text(
                f"{cut['ties']:,} texts have exactly this probability, so {cut['wanted']:,} cannot "
                f"be kept alone; from {cut['above_threshold']!r} on, {cut['above']:,} are"
            )
        )

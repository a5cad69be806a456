"""Tables of ``calibrate`` and ``threshold``: the temperature, the thresholds, the cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fasttext_app.cli.render.console import (
    Text,
    new_table,
    on_a_screen,
    out,
    pairs_table,
    say_rest,
    some_names,
)

MEASURES = {
    "ece": "expected calibration error",
    "mce": "maximum calibration error",
    "nll": "negative log-likelihood",
    "brier": "Brier score",
}


def show_calibrated(record: Mapping[str, Any], *, show_all: bool = False) -> None:
    """Show the calibration record of a model: the effect of its temperature, its thresholds."""
    if "temperature" in record:
        fit = record["temperature"]
        title = f"Calibrated on {fit['rows']:,} rows of {fit['source']}"
        table = new_table(title, "", "before", "after", numeric=("before", "after"))
        table.add_row("temperature", "1", f"{fit['value']:.4f}")
        for key, name in MEASURES.items():
            table.add_row(name, f"{fit['before'][key]:.4f}", f"{fit['after'][key]:.4f}")
        out.print(table)
    if "thresholds" in record:
        _show_thresholds(record["thresholds"], show_all=show_all)


def _show_thresholds(fit: Mapping[str, Any], *, show_all: bool) -> None:
    title = f"Thresholds for {fit['goal']}, on {fit['rows']:,} rows of {fit['source']}"
    table = new_table(title, "label", "threshold", numeric=("threshold",))
    rows = list(fit["values"].items())
    for name, value in on_a_screen(rows, show_all=show_all):
        table.add_row(Text(name), f"{value:.4f}")
    out.print(table)
    say_rest(rows, "labels", show_all=show_all)
    for key, reason in (
        ("without_positives", "no row has this label; its threshold is 0.5"),
        ("unreached", f"no threshold reaches {fit['goal']}; the nearest one is used"),
    ):
        if fit[key]:
            out.print(Text(f"{some_names(fit[key], show_all=show_all)}: {reason}"))


def show_cut(cut: Mapping[str, Any]) -> None:
    """Show the threshold that keeps a share of the texts, and how many texts tie at it."""
    values = {
        "texts": cut["texts"],
        f"threshold of {cut['label']}": repr(cut["threshold"]),
        "kept": f"{cut['kept']:,} ({cut['kept'] / cut['texts']:.2%})",
    }
    out.print(pairs_table(f"The most likely {100 * cut['keep']:g}% of {cut['input']}", values))
    if cut["kept"] > cut["wanted"]:
        out.print(
            Text(
                f"{cut['ties']:,} texts have exactly this probability, so {cut['wanted']:,} cannot "
                f"be kept alone; a threshold of {cut['above_threshold']!r} keeps {cut['above']:,}"
            )
        )

"""The scores of ``evaluate``: summary, per-label table, confusions, reliability table.

What fits on a screen comes first: the labels with the lowest F1, the most frequent confusions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from fasttext_app.cli.render.console import (
    Text,
    new_table,
    on_a_screen,
    out,
    pairs_table,
    quoted,
    say_rest,
    some_names,
)
from fasttext_app.model.calibration import Calibration
from fasttext_app.model.metrics import LabelScores, MultiLabelScores, Scores

MAX_MATRIX = 5  # labels of a confusion matrix that is shown whole
MAX_CONFUSIONS = 5  # that are shown of a larger one
BAR_WIDTH = 20


def show_scores(scores: Scores | MultiLabelScores, *, show_all: bool = False) -> None:
    """Show the scores of an evaluation: as much as fits on a screen, or all."""
    out.print(pairs_table("Evaluation", _summary(scores), columns=2))
    _show_labels(scores["per_label"], show_all=show_all)
    if "confusions" in scores:
        _show_confusions(cast("Scores", scores), show_all=show_all)
    unknown = scores["unknown_labels"]
    if unknown:
        names = some_names(
            [f"{name} ({count:,})" for name, count in unknown.items()], show_all=show_all
        )
        out.print(
            Text(f"Labels the model does not know, so that all their rows are errors: {names}")
        )
    if count := scores.get("unknown_texts"):
        out.print(
            f"Texts without a word or n-gram that the model knows: {count:,}; "
            "they all get the same prediction"
        )


def _summary(scores: Scores | MultiLabelScores) -> dict[str, object]:
    summary: dict[str, object] = {"examples": scores["examples"]}
    if "accuracy" in scores:
        summary |= {
            "accuracy": cast("Scores", scores)["accuracy"],
            "macro F1": scores["macro_f1"],
            "micro F1": scores["micro_f1"],
        }
    else:
        summary |= {
            "exact match": scores["exact_match"],
            "micro F1": scores["micro_f1"],
            "micro P / R": (f"{scores['micro_precision']:.4f} / {scores['micro_recall']:.4f}"),
            "macro F1": scores["macro_f1"],
            "sample F1": scores["sample_f1"],
            "threshold": scores.get("threshold", 0.5),
            "LRAP": scores.get("ranking_precision", 0.0),
            "R-precision": scores.get("r_precision", 0.0),
        }
    for k, precision in scores["precision_at_k"].items():
        summary[f"P@{k} / R@{k}"] = f"{precision:.4f} / {scores['recall_at_k'][k]:.4f}"
    if "calibration" in scores:
        nll = scores["calibration"]["nll"]  # None if the model knows none of the rows' labels
        summary |= {"ECE": scores["calibration"]["ece"], "NLL": "-" if nll is None else nll}
    return summary


def _show_labels(per_label: Mapping[str, LabelScores], *, show_all: bool) -> None:
    def badness(row: tuple[str, LabelScores]) -> tuple[bool, float, int]:
        return row[1]["support"] == 0, row[1]["f1"], -row[1]["support"]

    rows = sorted(per_label.items(), key=badness)
    numeric = ("precision", "recall", "F1", "support")
    table = new_table("Per label, the lowest F1 first", "label", *numeric, numeric=numeric)
    for name, row in on_a_screen(rows, show_all=show_all):
        ratios = (row["precision"], row["recall"], row["f1"])
        table.add_row(
            Text(quoted(name)), *(f"{ratio:.4f}" for ratio in ratios), f"{row['support']:,}"
        )
    out.print(table)
    say_rest(rows, "labels", show_all=show_all)


def _show_confusions(scores: Scores, *, show_all: bool) -> None:
    """Show a small confusion matrix whole, and the most frequent confusions of a large one."""
    labels, confusions = scores["labels"], scores["confusions"]
    if len(labels) > MAX_MATRIX:
        if confusions:
            out.print(Text("Most frequent confusions (true → predicted: rows)", style="bold"))
        shown = confusions if show_all else confusions[:MAX_CONFUSIONS]
        for confusion in shown:
            out.print(
                Text(f"  {confusion['true']} → {confusion['predicted']}: {confusion['rows']:,}")
            )
        return
    table = new_table("Confusion matrix (rows: true, columns: predicted)", "")
    for label in labels:
        table.add_column(Text(label), justify="right")
    for row, counts in enumerate(scores["confusion_matrix"]):
        cells = (
            Text(f"{count:,}", style="bold" if row == column else "")
            for column, count in enumerate(counts)
        )
        table.add_row(Text(labels[row]), *cells)
    out.print(table)


def show_reliability(calibration: Calibration) -> None:
    """Show the reliability table: a row for each bin of probabilities that is not empty.

    The bar is the fraction of correct predictions; ``|`` marks the mean probability, where the bar
    of a perfectly calibrated model would end.
    """
    over = "pairs of text and label" if calibration["over"] == "pairs" else "texts"
    correct = "true" if calibration["over"] == "pairs" else "correct"
    title = f"Reliability ({calibration['count']:,} {over}; a bar should end at its |)"
    numeric = ("count", "mean probability", correct)
    table = new_table(title, "probability", *numeric, "", numeric=numeric)
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
    """Draw a bar with a mark at its ideal end.

    >>> _bar(0.25, 0.5)
    '█████    |'
    """
    cells = list(f"{'█' * round(share * BAR_WIDTH):{BAR_WIDTH}}")
    cells[max(round(ideal * BAR_WIDTH) - 1, 0)] = "|"
    return "".join(cells).rstrip()

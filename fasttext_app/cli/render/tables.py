"""All that is shown to a person, drawn with Rich. Results go to stdout, progress to stderr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fasttext_app.model.calibration import describe

if TYPE_CHECKING:
    from fasttext_app.inference.classifier import TextClassifier
    from fasttext_app.inference.inspect import Inspection, TextStages
    from fasttext_app.model.metrics import MultiLabelScores, Scores


out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

SHOWN_LABELS = 30  # a confusion matrix wider than this is left to --json


def new_table(title: str, *columns: str, numbers: Sequence[str] = ()) -> Table:
    """Return a table; the columns that are ``numbers`` go to the right."""
    table = Table(title=Text(title), title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        right = column in numbers
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    return table


def pairs_table(title: str, rows: Mapping[str, object]) -> Table:
    """Return a table of names and values."""
    table = Table(title=Text(title), title_justify="left", title_style="bold", show_header=False)
    table.add_column(style="cyan")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, Text(_shown(value)))
    return table


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4f}" if isinstance(value, float) else str(value)


def show_statistics(statistics: Mapping[str, Any], dim: int) -> None:
    """Show what the training data came to (``train --dry-run``)."""
    rows = dict(statistics)
    labels = rows.pop("labels")
    rows["table"] = f"{rows['table_rows'] * dim * 4 / 1e6:,.1f} MB at dim {dim}"
    out.print(pairs_table("Training data", {name.replace("_", " "): v for name, v in rows.items()}))
    show_balance(labels)


def show_balance(labels: Mapping[str, int], title: str = "Labels") -> None:
    """Show how many rows each label has."""
    total = max(sum(labels.values()), 1)
    table = new_table(title, "label", "rows", "share", numbers=("rows", "share"))
    for name, count in labels.items():
        table.add_row(Text(name), f"{count:,}", f"{count / total:.1%}")
    out.print(table)


def show_scores(scores: Scores) -> None:
    """Show the scores of an evaluation."""
    summary: dict[str, object] = {
        "examples": scores["examples"],
        "accuracy": scores["accuracy"],
        "macro F1": scores["macro_f1"],
        "micro F1": scores["micro_f1"],
    }
    _show_figures(summary, scores)
    _show_confusion(scores["labels"], scores["confusion_matrix"])
    _show_unknown(scores["unknown_labels"])


def show_multi_label_scores(scores: MultiLabelScores) -> None:
    """Show the scores of an evaluation where rows may have several labels."""
    summary: dict[str, object] = {
        "examples": scores["examples"],
        "exact match": scores["exact_match"],
        "micro F1": scores["micro_f1"],
        "micro precision / recall": (
            f"{scores['micro_precision']:.4f} / {scores['micro_recall']:.4f}"
        ),
        "macro F1": scores["macro_f1"],
        "sample F1": scores["sample_f1"],
        "threshold": scores.get("threshold", 0.5),
        "label ranking precision": scores.get("ranking_precision", 0.0),
        "R-precision": scores.get("r_precision", 0.0),
    }
    _show_figures(summary, scores)
    _show_unknown(scores["unknown_labels"])


def _show_figures(summary: dict[str, object], scores: Scores | MultiLabelScores) -> None:
    for k, value in scores["precision_at_k"].items():
        summary[f"P@{k} / R@{k}"] = f"{value:.4f} / {scores['recall_at_k'][k]:.4f}"
    if "calibration" in scores:
        measured = scores["calibration"]
        nll = measured["nll"]  # of rows whose labels the model knows
        summary["ECE"], summary["NLL"] = measured["ece"], "-" if nll is None else nll
    out.print(pairs_table("Evaluation", summary))
    numbers = ("precision", "recall", "F1", "support")
    table = new_table("Per label", "label", *numbers, numbers=numbers)
    for name, row in scores["per_label"].items():
        figures = (row["precision"], row["recall"], row["f1"])
        table.add_row(Text(name), *(f"{figure:.4f}" for figure in figures), f"{row['support']:,}")
    out.print(table)


def _show_unknown(unknown: Mapping[str, int]) -> None:
    if unknown:
        named = ", ".join(f"{name} ({count})" for name, count in unknown.items())
        rows = sum(unknown.values())
        out.print(
            Text(f"{rows} rows have labels that the model does not know, each an error: {named}")
        )


def _show_confusion(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> None:
    if len(labels) > SHOWN_LABELS:
        if matrix:
            out.print(f"The confusion matrix of {len(labels)} labels is in the output of --json.")
        return
    names, columns = list(labels), list(labels)
    if sum(len(name) + 3 for name in names) + max(map(len, names)) + 4 > out.width:
        columns = [str(number) for number in range(1, len(names) + 1)]
        names = [f"{number} {name}" for number, name in enumerate(names, start=1)]
    table = new_table("Confusion matrix (rows: true, columns: predicted)", "")
    for column in columns:
        table.add_column(Text(column), justify="right")
    for row, (name, counts) in enumerate(zip(names, matrix, strict=True)):
        cells = [
            Text(f"{count:,}", style="bold" if row == column else "")
            for column, count in enumerate(counts)
        ]
        table.add_row(Text(name), *cells)
    out.print(table)


def show_info(model: TextClassifier, path: str, size_bytes: int) -> None:
    """Show what a model is made of."""
    from fasttext_app.inference.inspect import known_settings, origin

    artifact, text = model.artifact, model.config.text
    table = artifact.table
    out.print(
        pairs_table(
            f"Model {path}",
            {
                "size on disk": f"{size_bytes / 1e6:,.1f} MB",
                "tokenizer": text.tokenizer,
                "vocabulary": f"{len(artifact.vocabulary):,} words",
                "n-grams": f"words up to {text.word_ngrams}, characters {text.minn}-{text.maxn}, "
                f"{table.shape[0] - len(artifact.vocabulary):,} rows",
                "table": f"{table.shape[0]:,} rows x {table.shape[1]} ({table.dtype})",
                "labels": f"{len(model.labels):,}",
                **origin(artifact),
                **describe(artifact.calibration),
                **{name.replace("_", " "): value for name, value in artifact.metrics.items()},
            },
        )
    )
    show_balance(dict(zip(model.labels, artifact.labels.counts, strict=True)), "Training labels")
    words = artifact.vocabulary.words.slice(0, 10).to_pylist()
    counts = artifact.vocabulary.counts[:10].tolist()
    frequent = ", ".join(f"{word} ({count:,})" for word, count in zip(words, counts, strict=True))
    out.print(Text(f"most frequent words: {frequent}"))
    settings = {
        f"{section}.{key}": value
        for section, values in known_settings(artifact).items()
        for key, value in values.items()
        if value is not None
    }
    out.print(pairs_table("Configuration", {name: str(value) for name, value in settings.items()}))


def show_quantized(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Show the figures of a model before and after it was made smaller."""
    table = new_table("Quantized", "", "before", "after", numbers=("before", "after"))
    for name, label in (("bytes", "size on disk"), ("table_bytes", "table")):
        table.add_row(label, *(f"{figures[name] / 1e6:,.1f} MB" for figures in (before, after)))
    for name in ("rows", "examples", "accuracy", "exact_match", "macro_f1"):
        if name in after:
            label = name.replace("_f1", " F1").replace("_", " ")
            table.add_row(label, *(_shown(figures[name]) for figures in (before, after)))
    out.print(table)


def show_data(description: Mapping[str, Any]) -> None:
    """Show the rows, lengths, balance and first rows of a data set."""
    words = description["words"]
    out.print(
        pairs_table(
            f"Data {description['source']}",
            {
                "split": description["split"],
                "splits": ", ".join(description["splits"]) or "one file",
                "rows": description["rows"],
                "empty texts": description["empty_texts"],
                "words": words["total"],
                "words a text": f"mean {words['mean']:.1f}, median {words['median']:.0f}, "
                f"longest {words['longest']:,}",
            },
        )
    )
    show_balance(description["labels"])
    table = new_table("First rows", "label", "text")
    for row in description["first_rows"]:
        text = " ".join(row["text"].split())
        table.add_row(Text(row["label"]), Text(text if len(text) <= 200 else text[:199] + "…"))
    out.print(table)


def show_inspection(inspection: Inspection) -> None:
    """Show every stage from text to logits."""
    for number, stages in enumerate(inspection.texts):
        _show_stages(number, stages, inspection)
    bags, size, bucket = inspection.bags, inspection.vocabulary_size, inspection.bucket
    out.print(
        pairs_table(
            "The batch that EmbeddingBag gets",
            {
                f"indices [{len(bags.indices)}]": _numbers(bags.indices.tolist()),
                f"offsets [{len(bags.offsets)}]": _numbers(bags.offsets.tolist()),
                "bag sizes": _numbers(bags.lengths.tolist()),
                "rows": f"words in [0, {size:,}), n-grams in [{size:,}, {size + bucket:,})",
            },
        )
    )
    if inspection.logits is None or inspection.probabilities is None:
        return
    columns = [f"text {number}" for number in range(len(inspection.texts))]
    table = new_table("Logits (probability)", "label", *columns, numbers=columns)
    for column, label in enumerate(inspection.labels):
        cells = [
            f"{logits[column]:+.3f} ({proba[column]:.3f})"
            for logits, proba in zip(inspection.logits, inspection.probabilities, strict=True)
        ]
        table.add_row(Text(label), *cells)
    out.print(table)


def _show_stages(number: int, stages: TextStages, inspection: Inspection) -> None:
    out.print(Text(f"Text {number}: {' '.join(stages.text.split())}", style="bold"))
    table = new_table("", "stage", "result")
    words = [
        f"{token}→{'unknown' if row is None else row}"
        for token, row in zip(stages.tokens, stages.word_rows, strict=True)
    ]
    table.add_row(f"tokens ({len(stages.tokens)})", Text(_listed(stages.tokens)))
    table.add_row("word rows", Text(_listed(words)))
    if inspection.bucket:
        ngrams = [f"{ngram}→{row}" for ngram, row in stages.ngrams]
        table.add_row(f"n-gram rows ({len(ngrams)})", Text(_listed(ngrams)))
    out.print(table)


def _listed(items: Sequence[str], most: int = 60) -> str:
    rest = f" … and {len(items) - most} more" if len(items) > most else ""
    return " | ".join(items[:most]) + rest if items else "(none)"


def _numbers(values: Sequence[int], most: int = 120) -> str:
    rest = f", … and {len(values) - most} more" if len(values) > most else ""
    return "[" + ", ".join(map(str, values[:most])) + rest + "]"

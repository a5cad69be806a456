"""A model's parts and sizes: ``info`` and ``quantize``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fasttext_app.cli.render.console import (
    Text,
    format_value,
    new_table,
    out,
    pairs_table,
    readable,
)
from fasttext_app.cli.render.data import show_balance
from fasttext_app.config.schema import Config
from fasttext_app.core.sizes import format_size
from fasttext_app.model.calibration import describe

if TYPE_CHECKING:
    from fasttext_app.inference.classifier import TextClassifier

FREQUENT_WORDS = 10


def show_info(model: TextClassifier, path: str, size_bytes: int, *, show_all: bool = False) -> None:
    """Show what a model consists of, and the settings it was trained with.

    Args:
        model: the model.
        path: its path.
        size_bytes: its size on disk.
        show_all: whether to show all labels, and settings that are as by default.
    """
    from fasttext_app.inference.inspect import known_settings, origin

    artifact, text = model.artifact, model.config.text
    rows, dim = artifact.table.shape
    words = len(artifact.vocabulary)
    values: dict[str, object] = {
        "size on disk": format_size(size_bytes),
        "tokenizer": text.tokenizing,
        "vocabulary": f"{words:,} words",
        "n-grams": f"words up to {text.word_ngrams}, characters {text.minn}-{text.maxn}, "
        f"{rows - words:,} rows",
        "table": f"{rows:,} rows x {dim} ({artifact.table.dtype})",
        "labels": f"{len(model.labels):,}",
        **origin(artifact),
        **describe(artifact.calibration),
        **{readable(key): value for key, value in artifact.metrics.items()},
    }
    out.print(pairs_table(f"Model {path}", values))
    counts = dict(zip(model.labels, artifact.labels.counts, strict=True))
    show_balance(counts, "Training labels", show_all=show_all)
    frequent = zip(
        artifact.vocabulary.words.slice(0, FREQUENT_WORDS).to_pylist(),
        artifact.vocabulary.counts[:FREQUENT_WORDS].tolist(),
        strict=True,
    )
    shown = ", ".join(f"{word} ({count:,})" for word, count in frequent)
    out.print(Text(f"most frequent words: {shown}"))
    defaults = Config().model_dump(mode="json")
    settings = {
        f"{section}.{key}": (value, value == defaults[section][key])
        for section, values in known_settings(artifact).items()
        for key, value in values.items()
        if value is not None
    }
    rows = {name: str(value) for name, (value, same) in settings.items() if show_all or not same}
    out.print(pairs_table("Settings" if show_all else "Settings that are not the default", rows))
    if len(rows) < len(settings):
        out.print(f"and {len(settings) - len(rows)} defaults; --all shows them")


def show_quantized(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Show the size and scores of a model before and after quantization."""
    table = new_table("Quantized", "", "before", "after", numeric=("before", "after"))
    for key, name in (("bytes", "size on disk"), ("table_bytes", "table")):
        table.add_row(name, *(format_size(values[key]) for values in (before, after)))
    for key in ("rows", "examples", "accuracy", "exact_match", "macro_f1"):
        if key in after:
            table.add_row(readable(key), *(format_value(values[key]) for values in (before, after)))
    out.print(table)

"""The stages of ``inspect``: tokens and rows of each text, the batch, the logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fasttext_app.cli.render.console import Text, new_table, on_a_screen, out, pairs_table, say_rest

if TYPE_CHECKING:
    from fasttext_app.inference.inspect import Inspection, TextStages

MAX_ITEMS = 60  # tokens or n-grams of a text
MAX_IDS = 120


def show_inspection(inspection: Inspection, *, show_all: bool = False) -> None:
    """Show every stage from the texts to their logits."""
    for number, stages in enumerate(inspection.texts):
        _show_stages(number, stages, has_ngrams=inspection.bucket > 0)
    bags, words = inspection.bags, inspection.vocabulary_size
    batch = {
        f"indices [{len(bags.indices)}]": _format_ids(bags.indices.tolist()),
        f"offsets [{len(bags.offsets)}]": _format_ids(bags.offsets.tolist()),
        "bag sizes": _format_ids(bags.lengths.tolist()),
        "rows": f"words in [0, {words:,}), n-grams in [{words:,}, {words + inspection.bucket:,})",
    }
    out.print(pairs_table("The batch that EmbeddingBag receives", batch))
    if inspection.logits is None or inspection.probabilities is None:
        return
    columns = [f"text {number}" for number in range(len(inspection.texts))]
    table = new_table("Logits (probability)", "label", *columns, numeric=columns)
    ranked = list(range(len(inspection.labels)))
    if len(on_a_screen(ranked, show_all=show_all)) < len(ranked):
        ranked = (-inspection.probabilities.max(axis=0)).argsort(kind="stable").tolist()
    for column in on_a_screen(ranked, show_all=show_all):
        cells = (
            f"{logits[column]:+.3f} ({probabilities[column]:.3f})"
            for logits, probabilities in zip(
                inspection.logits, inspection.probabilities, strict=True
            )
        )
        table.add_row(Text(inspection.labels[column]), *cells)
    out.print(table)
    say_rest(ranked, "labels", show_all=show_all)


def _show_stages(number: int, stages: TextStages, *, has_ngrams: bool) -> None:
    out.print(Text(f"Text {number}: {' '.join(stages.text.split())}", style="bold"))
    table = new_table("", "stage", "result")
    word_rows = [
        f"{token}→{'unknown' if row is None else row}"
        for token, row in zip(stages.tokens, stages.word_rows, strict=True)
    ]
    table.add_row(f"tokens ({len(stages.tokens)})", Text(_format_items(stages.tokens)))
    table.add_row("word rows", Text(_format_items(word_rows)))
    if has_ngrams:
        ngram_rows = [f"{ngram}→{row}" for ngram, row in stages.ngrams]
        table.add_row(f"n-gram rows ({len(ngram_rows)})", Text(_format_items(ngram_rows)))
    out.print(table)


def _format_items(items: Sequence[str]) -> str:
    rest = f" … and {len(items) - MAX_ITEMS} more" if len(items) > MAX_ITEMS else ""
    return " | ".join(items[:MAX_ITEMS]) + rest if items else "(none)"


def _format_ids(ids: Sequence[int]) -> str:
    rest = f", … and {len(ids) - MAX_IDS} more" if len(ids) > MAX_IDS else ""
    return "[" + ", ".join(map(str, ids[:MAX_IDS])) + rest + "]"

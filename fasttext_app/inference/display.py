"""What a model and a prediction look like in a session: a line of text, or a table of HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fasttext_app.core.sizes import format_size
from fasttext_app.foreign_text import for_html, for_terminal
from fasttext_app.model.artifact import Artifact

SHOWN_LABELS = 5
SHOWN_CHARACTERS = 30  # of a label


def model_facts(artifact: Artifact) -> dict[str, str]:
    """Return what there is to say about a model, by name."""
    rows, dim = artifact.table.shape
    size = sum(tensor.nbytes for tensor in artifact.tensors.values())
    facts = {
        "labels": f"{len(artifact.labels):,} labels ({_shown_labels(artifact.labels.names)})",
        "table": f"{rows:,} rows x {dim}",
        "size": format_size(size),
    }
    if "train_rows" in artifact.data:
        facts["training"] = f"{artifact.data['train_rows']:,} texts"
    accuracy = artifact.metrics.get("validation_accuracy")
    if accuracy is not None:
        facts["validation"] = f"accuracy {accuracy:.4f}"
    return facts


def one_line(kind: str, facts: Mapping[str, str]) -> str:
    """Return facts in one line.

    >>> one_line("Model", {"labels": "2 labels (a, b)", "size": "8 kB"})
    '<Model: 2 labels (a, b), 8 kB>'
    """
    return for_terminal(f"<{kind}: {', '.join(facts.values())}>")


def _shown_labels(names: Sequence[str]) -> str:
    shown = [
        name if len(name) <= SHOWN_CHARACTERS else name[: SHOWN_CHARACTERS - 3] + "..."
        for name in names[:SHOWN_LABELS]
    ]
    return ", ".join(shown + ["..."] * (len(names) > SHOWN_LABELS))


def html_table(title: str, facts: Mapping[str, str]) -> str:
    """Return facts as a table in HTML.

    >>> html_table("Model", {"labels": "a<b"})
    '<table><caption>Model</caption><tr><th>labels</th><td>a&lt;b</td></tr></table>'
    """
    rows = (
        f"<tr><th>{for_html(name)}</th><td>{for_html(value)}</td></tr>"
        for name, value in facts.items()
    )
    return f"<table><caption>{for_html(title)}</caption>{''.join(rows)}</table>"

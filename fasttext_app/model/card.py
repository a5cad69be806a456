"""The model card: a model's settings, training data and validation metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fasttext_app._version import __version__
from fasttext_app.foreign_text import for_markdown
from fasttext_app.model.calibration import describe

if TYPE_CHECKING:
    from fasttext_app.model.artifact import Artifact


def model_card(artifact: Artifact, manifest: str) -> str:
    """Return the model card in Markdown.

    Args:
        artifact: the model.
        manifest: name of the file with the checksums.
    """
    text, model = artifact.config.text, artifact.config.model
    table, words = artifact.table, len(artifact.vocabulary)
    labels = "\n".join(
        f"| {for_markdown(name)} | {count:,} |"
        for name, count in zip(artifact.labels.names, artifact.labels.counts, strict=True)
    )
    origin = for_markdown(str(artifact.data.get("source", "texts given in Python")))
    if "train_rows" in artifact.data:
        origin += f", {artifact.data['train_rows']:,} rows"
    metrics = "\n".join(
        f"- {for_markdown(name.replace('_', ' '))}: {value:.4f}"
        if isinstance(value, float)
        else f"- {for_markdown(f'{name}: {value}')}"
        for name, value in artifact.metrics.items()
    )
    if metrics and "refit_rows" in artifact.data:
        metrics = (
            "Of the model before it was trained again on all rows, the "
            f"{artifact.data['validation_rows']:,} validation rows included:\n\n{metrics}"
        )
    fitted = "".join(
        f"\n- {name}: {for_markdown(line)}" for name, line in describe(artifact.calibration).items()
    )
    from_where = "imported from" if artifact.imported else "trained on"
    how = "imported from a fastText file" if artifact.imported else "trained"
    return f"""# Text classifier {how} with fasttext_app {__version__}

A bag of embeddings ({model.mode}) of words, word n-grams up to {text.word_ngrams} and character
n-grams {text.minn}-{text.maxn}, under an output layer (`{model.loss}`).

- tokenizer: {for_markdown(text.tokenizing)}
- vocabulary: {words:,} words, {len(table) - words:,} rows of n-grams
- table: {table.shape[0]:,} rows of {table.shape[1]} numbers ({table.nbytes / 1e6:,.1f} MB)
- {from_where}: {origin}{fitted}

## Validation metrics

{metrics or "Not measured."}

## Labels

| label | training rows |
|---|---:|
{labels}

## Use

    fasttext-app predict THIS_FOLDER "some text"

    import fasttext_app as ft
    ft.load("THIS_FOLDER").predict("some text")

The model knows the languages and topics of its training data; expect it to do worse on others. The
files are listed with their checksums in `{manifest}`; none of them contains code.
"""

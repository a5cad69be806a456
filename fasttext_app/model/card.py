"""The model card: a model's settings, training data, metrics and metadata for the hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from fasttext_app._version import __version__
from fasttext_app.errors import ArtifactError
from fasttext_app.foreign_text import for_markdown, for_terminal
from fasttext_app.model.calibration import describe
from fasttext_app.model.confusion_picture import confusion_picture
from fasttext_app.model.documents import CARD, PICTURE

if TYPE_CHECKING:
    from fasttext_app.model.artifact import Artifact

EVALUATION = "## Evaluation"
METRICS = {
    "accuracy": ("accuracy", "Accuracy"),
    "exact_match": ("exact_match", "Exact match"),
    "micro_f1": ("f1", "Micro F1"),
    "macro_f1": ("f1", "Macro F1"),
}
"""Metrics that the hub lists: the key of ours, the hub's type, and a name."""

_front_matter = re.compile(r"---\n(.*?)^---\n", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """A text to try a model on, with the probabilities of its labels."""

    text: str
    labels: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class CardDetails:
    """What a card says that the model itself does not know."""

    name: str = "Text classifier"
    place: str = "THIS_FOLDER"
    """What names the model in a command: a folder, or its id on the hub."""
    license: str | None = None
    languages: tuple[str, ...] = ()
    scores: Mapping[str, Any] | None = None
    """Scores of ``evaluate``."""
    examples: tuple[Example, ...] = ()

    @property
    def picture(self) -> str | None:
        """The confusion matrix of the scores as an SVG picture; None if they have none."""
        scores = self.scores or {}
        matrix = scores.get("confusion_matrix")
        return confusion_picture(scores["labels"], matrix) if matrix else None


NO_DETAILS = CardDetails()


def card_files(artifact: Artifact, manifest: str, details: CardDetails) -> dict[str, str]:
    """Return the card and its picture, if it has one, by the names of their files."""
    picture = {} if details.picture is None else {PICTURE: details.picture}
    return {CARD: model_card(artifact, manifest, details), **picture}


def model_card(
    artifact: Artifact,
    manifest: str,
    details: CardDetails = NO_DETAILS,
) -> str:
    """Return the model card in Markdown, after its metadata in YAML.

    Args:
        artifact: the model.
        manifest: name of the file with the checksums.
        details: what else the card says.
    """
    text, model = artifact.config.text, artifact.config.model
    table, words = artifact.table, len(artifact.vocabulary)
    labels = "\n".join(
        f"| {for_markdown(name)} | {count:,} |"
        for name, count in zip(artifact.labels.names, artifact.labels.counts, strict=True)
    )
    origin = for_markdown(_source(artifact))
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
    return f"""{_yaml(card_metadata(artifact, details))}
# Text classifier {how} with fasttext_app {__version__}

A bag of embeddings ({model.mode}) of words, word n-grams up to {text.word_ngrams} and character
n-grams {text.minn}-{text.maxn}, under an output layer (`{model.loss}`).

- tokenizer: {for_markdown(text.tokenizing)}
- vocabulary: {words:,} words, {len(table) - words:,} rows of n-grams
- table: {table.shape[0]:,} rows of {table.shape[1]} numbers ({table.nbytes / 1e6:,.1f} MB)
- {from_where}: {origin}{fitted}

## Validation metrics

{metrics or "Not measured."}
{_evaluation(details)}
## Labels

| label | training rows |
|---|---:|
{labels}

## Use

    fasttext-app predict {details.place} "some text"

    import fasttext_app as ft
    ft.load("{details.place}").predict("some text")

The model knows the languages and topics of its training data; expect it to do worse on others. The
files are listed with their checksums in `{manifest}`; none of them contains code.
"""


def _source(artifact: Artifact) -> str:
    return str(artifact.data.get("source", "texts given in Python"))


def _evaluation(details: CardDetails) -> str:
    """Return the section of scores that are given with the card, between blank lines."""
    scores = details.scores
    if scores is None:
        return ""
    lines = [f"- {name}: {scores[key]:.4f}" for key, (_, name) in METRICS.items() if key in scores]
    picture = f"\n![Confusion matrix]({PICTURE})\n" if details.picture is not None else ""
    return (
        f"\n## Evaluation\n\nOn {scores['examples']:,} rows:\n\n"
        + "\n".join(lines)
        + f"\n{picture}"
    )


def card_metadata(artifact: Artifact, details: CardDetails) -> dict[str, Any]:
    """Return the metadata of a card, by the keys of the hub."""
    metadata: dict[str, Any] = {
        "library_name": "fasttext_app",
        "pipeline_tag": "text-classification",
        "tags": ["fasttext"],
    }
    if details.license is not None:
        metadata["license"] = details.license
    if details.languages:
        metadata["language"] = list(details.languages)
    if details.examples:
        metadata["widget"] = [
            {
                "text": example.text,
                "output": [
                    {"label": label, "score": round(score, 4)} for label, score in example.labels
                ],
            }
            for example in details.examples
        ]
    validation = {
        name.removeprefix("validation_"): value for name, value in artifact.metrics.items()
    }
    results = [
        _result(f"{_source(artifact)}, validation rows", "validation", validation),
        _result("rows of an evaluation", "test", details.scores or {}),
    ]
    if any(results):
        metadata["model-index"] = [
            {"name": details.name, "results": [result for result in results if result]}
        ]
    return metadata


def _result(dataset: str, split: str, scores: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return scores as an entry of ``model-index``; None if there are none."""
    metrics = [
        {"type": kind, "name": name, "value": round(scores[key], 4)}
        for key, (kind, name) in METRICS.items()
        if isinstance(scores.get(key), float) and isfinite(scores[key])
    ]
    if not metrics:
        return None
    return {
        "task": {"type": "text-classification", "name": "Text classification"},
        "dataset": {"type": "other", "name": dataset, "split": split},
        "metrics": metrics,
    }


def completed_card(card: str, artifact: Artifact, details: CardDetails) -> str:
    """Add to a card that a person has edited: metadata that it lacks, and the evaluation.

    Args:
        card: the card, with or without metadata of its own.
        artifact: the model.
        details: what else the card says; the license and the languages replace those of the card.

    Raises:
        ArtifactError: its metadata are not YAML.
    """
    import yaml

    head = _front_matter.match(card)
    try:
        own = (yaml.safe_load(head[1]) if head else None) or {}
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{CARD}: its metadata are not YAML; correct them: {reason}") from None
    if not isinstance(own, dict):
        raise ArtifactError(f"{CARD}: its metadata are not keys with values; correct them")
    metadata = card_metadata(artifact, details)
    stated = ("license", "language", *(["model-index"] if details.scores else []))
    replaced = {key: metadata[key] for key in stated if key in metadata}
    text = card[head.end() if head else 0 :]
    if details.scores is not None and EVALUATION not in text:
        text = f"{text.rstrip()}\n{_evaluation(details)}"
    return _yaml({**metadata, **own, **replaced}) + text


def _yaml(metadata: Mapping[str, Any]) -> str:
    """Return metadata as the first lines of a card; strings from strangers stay strings."""
    import yaml

    class Dumper(yaml.SafeDumper):  # type: ignore[misc, unused-ignore]
        """Escapes strings with line breaks or with characters that control a terminal."""

        def represent_str(self, text: str) -> Any:
            style = None if for_terminal(text) == text else '"'
            return self.represent_scalar("tag:yaml.org,2002:str", text, style)

    Dumper.add_representer(str, Dumper.represent_str)
    body = yaml.dump(dict(metadata), None, Dumper, allow_unicode=True, sort_keys=False, width=100)
    return f"---\n{for_terminal(body, lines=True)}---\n"

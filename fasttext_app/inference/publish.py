"""Put a model on the hub, or into a folder as the hub has it: with a card that says more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fasttext_app.core import arguments
from fasttext_app.core.checksummed_dir import MANIFEST
from fasttext_app.errors import ConfigError
from fasttext_app.hub import ModelId, upload
from fasttext_app.inference.explain import label_features
from fasttext_app.model.card import (
    METRICS,
    CardDetails,
    Example,
    card_files,
    completed_card,
    model_card,
)
from fasttext_app.model.directory import MODEL_FILES, save_artifact
from fasttext_app.model.documents import CARD

if TYPE_CHECKING:
    from fasttext_app.inference.predictor import Predictor

EXAMPLES, WORDS = 3, 4
"""Texts to try the model on: their number, and the words of each."""


def repository(repo: object, revision: str | None = None) -> ModelId:
    """Return the repository that a call or a command names.

    Raises:
        ConfigError: it is not in the form ``owner/name`` or ``owner/name@branch``, or the branch is
            given twice.
    """
    model = ModelId.parse(arguments.string("repo", repo))
    if model is None:
        raise ConfigError(f"{repo}: must be the id of a repository: owner/name, owner/name@branch")
    revision = arguments.optional_string("revision", revision)
    if revision is None:
        return model
    if model.revision is not None:
        raise ConfigError(f"revision: {repo} names a branch already; give one of the two")
    return ModelId(model.repo, revision)


def card_details(
    model: Predictor,
    name: str,
    license: str | None,  # noqa: A002 - the hub's word
    language: str | Sequence[str] | None,
    scores: Mapping[str, Any] | None,
) -> CardDetails:
    """Return what the card of a model says that the model itself does not know.

    Raises:
        ConfigError: an argument is of the wrong type.
    """
    if scores is not None and not (isinstance(scores, Mapping) and _are_scores(scores)):
        raise ConfigError("scores: must be what `evaluate` returns, or `evaluate --json` prints")
    languages: Sequence[object] = [] if language is None else [language]
    if isinstance(language, list | tuple):
        languages = language
    return CardDetails(
        name,
        license=arguments.optional_string("license", license),
        languages=tuple(arguments.string("language", code) for code in languages),
        scores=scores,
        examples=_examples(model),
    )


def _are_scores(scores: Mapping[str, Any]) -> bool:
    """Return whether a card can show them: a person may have edited their file."""
    labels, matrix = scores.get("labels"), scores.get("confusion_matrix", [])
    if not isinstance(labels, list) or not isinstance(matrix, list):
        return False
    counts = [count for row in matrix if isinstance(row, list) for count in row]
    return (
        type(scores.get("examples")) is int
        and all(type(scores.get(key, 0.0)) in (int, float) for key in METRICS)
        and all(isinstance(label, str) for label in labels)
        and len(matrix) in (0, len(labels))
        and all(isinstance(row, list) and len(row) == len(labels) for row in matrix)
        and all(type(count) is int and count >= 0 for count in counts)
    )


def _examples(model: Predictor) -> tuple[Example, ...]:
    """Return texts of the words that count most for a label, for the first labels."""
    examples = []
    for label in model.labels[:EXAMPLES]:
        try:
            features = label_features(model, label, WORDS)
        except ConfigError:  # the loss has no additive logits
            break
        text = " ".join(feature.name for feature in features)
        best = model.predict(text, top_k=EXAMPLES)
        if text and best.labels[:1] == (label,):
            scores = zip(best.labels, map(float, best.probabilities), strict=True)
            examples.append(Example(text, tuple(scores)))
    return tuple(examples)


def push(
    model: Predictor,
    target: ModelId,
    details: CardDetails,
    *,
    folder: Path | None = None,
    private: bool | None = None,
    message: str | None = None,
    token: str | None = None,
) -> ModelId:
    """Upload a model.

    Args:
        model: the model.
        target: the repository and the branch.
        details: what else the card says.
        folder: the directory that the model was loaded from, whose files go up as they are, with
            its card if a person has edited it; None: they are written anew.
        private: see ``hub.upload``.
        message: see ``hub.upload``.
        token: see ``hub.upload``.

    Returns:
        The repository with the commit as the revision.

    Raises:
        ArtifactError: the hub refuses it or cannot be reached; or the edited card has metadata that
            are not YAML.
        MissingDependencyError: huggingface_hub is not installed.
    """
    artifact, details = model.artifact, replace(details, place=str(target))
    with TemporaryDirectory(prefix="fasttext_app-") as temporary:
        if folder is None:
            folder = Path(temporary, "model")
            save_artifact(artifact, folder)
        names = sorted(name for name in MODEL_FILES if (folder / name).is_file())
        files: dict[str, Path | bytes] = {name: folder / name for name in names}
        card = card_files(artifact, MANIFEST, details)
        own = (folder / CARD).read_text("utf-8", "replace") if CARD in files else ""
        if own and own != model_card(artifact, MANIFEST):
            card[CARD] = completed_card(own, artifact, details)
        files |= {name: text.encode() for name, text in card.items()}
        return upload(files, target, private=private, message=message, token=token)

"""Inspection: the result of each stage for a few texts, and the settings of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import F32, F64
from fasttext_app.core.ragged import Ragged
from fasttext_app.inference.predictor import Predictor
from fasttext_app.model.artifact import FASTTEXT, Artifact
from fasttext_app.text.chunks import as_chunks
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.features import WORD, text_features
from fasttext_app.text.tokenizers import tokenizer_from_config
from fasttext_app.text.vocabulary import Vocabulary

FASTTEXT_SETTINGS = {
    "data": ("label_prefix", "label_separator"),
    "text": (
        *("tokenizer", "lowercase", "replace"),
        *("min_count", "word_ngrams", "minn", "maxn", "bucket", "prune"),
    ),
    "model": ("dim", "mode", "loss", "negatives", "probabilities", "bias"),
    "trainer": ("epochs",),
}
"""Settings that a fastText file determines; the others are defaults and say nothing about it."""


@dataclass(frozen=True)
class TextStages:
    """One text with its tokens and n-grams, and their rows of the table."""

    text: str
    tokens: list[str]
    word_rows: list[int | None]
    """Row of each token; None for a word outside the vocabulary."""
    ngrams: list[tuple[str, int | None]]
    """Character n-grams, then word n-grams, with their rows; None if the hash bucket has no row."""


@dataclass(frozen=True)
class Inspection:
    """All texts, and the flat arrays of the whole batch."""

    texts: list[TextStages]
    bags: Ragged
    vocabulary_size: int
    bucket: int
    logits: F32 | None = None  # [B, C]
    probabilities: F64 | None = None  # [B, C]
    labels: Sequence[str] = ()


def origin(artifact: Artifact) -> dict[str, object]:
    """Return the origin of a model for display: its training run, or its fastText file."""
    data = artifact.data
    if not artifact.imported:
        rows = f" ({data['train_rows']:,} rows)" if "train_rows" in data else ""
        epoch = artifact.history.get("best_epoch", 0)
        return {"trained on": f"{data.get('source')}{rows}", "best epoch": epoch}
    others = ", ".join(f"{name} {value:g}" for name, value in data[FASTTEXT].items())
    return {
        "imported from": data["source"],
        "tokens of its training": data["tokens"],
        "other settings of its file": others,
    }


def known_settings(artifact: Artifact) -> dict[str, dict[str, Any]]:
    """Return the settings of a model by section; for an import, those its file determines."""
    sections: dict[str, dict[str, Any]] = artifact.config.model_dump(mode="json")
    if not artifact.imported:
        return sections
    return {
        section: {name: sections[section][name] for name in names}
        for section, names in FASTTEXT_SETTINGS.items()
    }


def standalone_encoder(config: Config, texts: Sequence[str]) -> TextEncoder:
    """Return an encoder with a vocabulary built from the texts themselves; it needs no model."""
    text = config.text
    tokenizer = tokenizer_from_config(text)
    vocabulary = Vocabulary.build(map(tokenizer, as_chunks(texts)), text.min_count, text.max_size)
    return TextEncoder.from_config(text, tokenizer, vocabulary)


def inspect_texts(
    texts: Sequence[str], encoder: TextEncoder, model: Predictor | None = None
) -> Inspection:
    """Return every stage for these texts; with a model, also its logits and probabilities."""
    tokens = encoder.tokenizer.split(list(texts))
    stages = [_stages(text, words, encoder) for text, words in zip(texts, tokens, strict=True)]
    bags = encoder.encode(texts)
    size, bucket = len(encoder.vocabulary), encoder.bucket
    if model is None:
        return Inspection(stages, bags, size, bucket)
    logits, proba = model.logits(texts), model.predict_proba(texts)
    return Inspection(stages, bags, size, bucket, logits, proba, model.labels)


def _stages(text: str, tokens: list[str], encoder: TextEncoder) -> TextStages:
    features = text_features(tokens, encoder)
    ngrams = [(feature.name, feature.row) for feature in features if feature.kind != WORD]
    rows = [feature.row for feature in features if feature.kind == WORD]
    return TextStages(text, tokens, rows, ngrams)

"""``WarmStart``: the trained model or the pretrained vectors that a run starts from, if any.

A run extends a model: known words and labels keep their places, and all rows keep their vectors;
new words and labels come after them. Rows of hashed n-grams follow the words, so new words shift
them as one block. Words that only pretrained vectors have come last.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import F32, I32, I64
from fasttext_app.data.labels import Labels
from fasttext_app.errors import ConfigError
from fasttext_app.model.artifact import FASTTEXT, Artifact
from fasttext_app.model.directory import load_artifact, weights_digest
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.tokenizers import Tokenizer, tokenizer_from_config
from fasttext_app.text.vocabulary import Vocabulary, WordCounts
from fasttext_app.training.pretrained import pretrained_digest, pretrained_words

FIXED_SETTINGS = {
    "text": (
        "tokenizer",
        "lowercase",
        "replace",
        "word_ngrams",
        "minn",
        "maxn",
        "bucket",
        "prune",
        "term_weighting",
        "char_share",
    ),
    "model": ("dim", "mode", "loss", "bias", "probabilities"),
}
"""Settings that decide what a row of the table means."""


class WarmStart:
    """What a run starts from; without a model, every method passes on what is new.

    Args:
        config: the run's settings; ``model.start_from`` names the model, ``model.pretrained`` the
            file of vectors.

    Raises:
        ArtifactError: the model cannot be read.
        ConfigError: the model is quantized, or its settings do not match the run.
    """

    def __init__(self, config: Config) -> None:
        self.artifact: Artifact | None = None
        self._config = config
        if config.model.start_from is not None:
            self.artifact = load_artifact(config.model.start_from)
            _check(self.artifact, config)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the run."""
        asset = self.artifact.tokenizer_asset if self.artifact else None
        return tokenizer_from_config(self._config.text, asset)

    @cached_property
    def model_name(self) -> str | None:
        """The path of the model and its digest."""
        path = self._config.model.start_from
        return None if path is None else f"{path} (sha256 {weights_digest(path)})"

    @cached_property
    def vectors_name(self) -> str | None:
        """The path of the pretrained vectors and their digest."""
        path = self._config.model.pretrained
        return None if path is None else f"{path} (sha256 {pretrained_digest(path)})"

    @property
    def imported(self) -> dict[str, Any]:
        """The entries of the model's ``data.json`` that come from a fastText file."""
        data = self.artifact.data if self.artifact else {}
        return {name: data[name] for name in ("label_prefix", FASTTEXT) if name in data}

    def label_order(self, order: Sequence[str] | None) -> Sequence[str] | None:
        """Return the names of the first classes: the model's, then those in ``order``."""
        if self.artifact is None:
            return order
        return list(dict.fromkeys([*self.artifact.labels.names, *(order or ())]))

    def add_counts(self, labels: Labels) -> Labels:
        """Add the rows that the model was trained on to the counts of the new rows."""
        if self.artifact is None:
            return labels
        old_counts = dict(zip(self.artifact.labels.names, self.artifact.labels.counts, strict=True))
        counts = zip(labels.names, labels.counts, strict=True)
        return Labels(
            labels.names, tuple(count + old_counts.get(name, 0) for name, count in counts)
        )

    def vocabulary(self, counted: WordCounts) -> Vocabulary:
        """Build the vocabulary of the run from the words of the new rows."""
        min_count, max_size = self._config.text.min_count, self._config.text.max_size
        if self.artifact is None:
            return Vocabulary.of_counts(counted, min_count, max_size, self._pretrained_words)
        new = Vocabulary.of_counts(counted)
        return self.artifact.vocabulary.extended(new, min_count, max_size)

    @cached_property
    def _pretrained_words(self) -> pa.StringArray | None:
        """The words that get a row because they have a pretrained vector."""
        model = self._config.model
        if model.pretrained is None or model.pretrained_words == "training":
            return None
        words = pretrained_words(model, tokens=self._config.text.yields_subwords)
        return self.tokenizer.possible_tokens(words)

    def buckets(self, used: I32) -> I32:
        """Return the buckets that get a row: the model's, and those that the new rows use."""
        if self.artifact is None:
            return used
        return np.union1d(self.artifact.tensors["buckets"], used).astype(np.int32)

    def row_map(self, encoder: TextEncoder) -> I64 | None:
        """Return the row of the run's table for each row of the model's, [V of the model]."""
        if self.artifact is None:
            return None
        words = np.arange(len(self.artifact.vocabulary))
        buckets = self.artifact.tensors.get("buckets")
        if buckets is None:
            buckets = np.arange(self._config.text.bucket_count)
        if encoder.buckets.ids is not None:
            buckets = encoder.buckets.ids.searchsorted(buckets)
        return np.concatenate((words, len(encoder.vocabulary) + buckets))

    def merge_idf(self, idf: F32 | None, row_map: I64 | None) -> F32 | None:
        """Overwrite ``idf`` with the model's own weights, where its rows are now."""
        if self.artifact is not None and idf is not None:
            idf[row_map] = self.artifact.tensors["idf"]
        return idf


def _check(artifact: Artifact, config: Config) -> None:
    path = config.model.start_from
    if artifact.tensors.get("table", np.empty(0, np.int8)).dtype != np.float32:
        raise ConfigError(
            f"{path} is quantized and cannot be trained further; use the model it was made from"
        )
    loss = artifact.config.model.loss
    if loss in ("hs", "adaptive"):
        raise ConfigError(
            f'{path} cannot be trained further: model.loss = "{loss}" orders its outputs by the '
            "counts of the labels; train a new model on all the data"
        )
    for section, names in FIXED_SETTINGS.items():
        for name in names:
            old = getattr(getattr(artifact.config, section), name)
            if name == "dim":
                old = max(old, artifact.dim)  # an ensemble can have more columns
            new = getattr(getattr(config, section), name)
            if old != new:
                raise ConfigError(
                    f"{section}.{name} is {new!r}, but the model {path} has {old!r}; "
                    "leave it as the model has it"
                )

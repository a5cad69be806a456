"""What a run begins with: nothing, or a finished model, to whose words, labels and rows it adds.

Old words and labels keep their places, and all old rows their vectors; new ones come after them.
Rows of hashed n-grams go with their bucket: with new words before them, they move as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import I32, I64
from fasttext_app.data.labels import Labels
from fasttext_app.errors import ConfigError
from fasttext_app.model.artifact import FASTTEXT, Artifact
from fasttext_app.model.directory import load_artifact, weights_digest
from fasttext_app.text.buckets import HashSpace
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.tokenizers import Tokenizer, load_tokenizer
from fasttext_app.text.tokens import Tokens
from fasttext_app.text.vocabulary import Vocabulary

KEPT = {
    "text": ("tokenizer", "word_ngrams", "minn", "maxn", "bucket", "prune", "term_weighting"),
    "model": ("dim", "mode", "loss", "bias", "probabilities"),
}
"""Settings that decide what a row means."""


class WarmStart:
    """The model that a run begins with, if any.

    Args:
        config: the run's settings; ``model.start_from`` names the model.

    Raises:
        ArtifactError: the model cannot be read.
        ConfigError: it is quantized, or its settings do not go with those of the run.
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
        return load_tokenizer(self._config.text.tokenizer, asset)

    @cached_property
    def name(self) -> str | None:
        """The path of the model, and its digest."""
        path = self._config.model.start_from
        return None if path is None else f"{path} (sha256 {weights_digest(path)})"

    @property
    def of_file(self) -> dict[str, Any]:
        """What a fastText file, if the model came of one, says beside its settings."""
        known = self.artifact.data if self.artifact else {}
        return {name: known[name] for name in ("label_prefix", FASTTEXT) if name in known}

    def label_order(self, order: Sequence[str] | None) -> Sequence[str] | None:
        """Return the names of the first classes; ``order`` is the one that the data gives."""
        if self.artifact is None:
            return order
        return list(dict.fromkeys([*self.artifact.labels.names, *(order or ())]))

    def counted(self, labels: Labels) -> Labels:
        """Add the rows that the model was trained on to the counts of new ones."""
        if self.artifact is None:
            return labels
        before = dict(zip(self.artifact.labels.names, self.artifact.labels.counts, strict=True))
        added = zip(labels.names, labels.counts, strict=True)
        return Labels(labels.names, tuple(count + before.get(name, 0) for name, count in added))

    def vocabulary(self, tokens: Iterable[Tokens]) -> Vocabulary:
        """Return the words that get a row."""
        least, most = self._config.text.min_count, self._config.text.max_size
        if self.artifact is None:
            return Vocabulary.build(tokens, least, most)
        return self.artifact.vocabulary.grown(Vocabulary.build(tokens), least, most)

    def buckets(self, found: I32) -> I32:
        """Return the buckets that get a row, where training found these."""
        if self.artifact is None:
            return found
        return np.union1d(self.artifact.tensors["buckets"], found).astype(np.int32)

    def places(self, encoder: TextEncoder) -> I64 | None:
        """Return the row that each row of the model has in the table of ``encoder``, [rows]."""
        if self.artifact is None:
            return None
        words = len(self.artifact.vocabulary)
        kept = self.artifact.tensors.get("buckets")
        old = HashSpace(self._config.text.bucket_count, words, kept)
        buckets = np.arange(len(old)) if kept is None else kept
        hashed = buckets
        if encoder.hashed.kept is not None:
            hashed = encoder.hashed.kept.searchsorted(buckets)
        return np.concatenate((np.arange(words), len(encoder.vocabulary) + hashed))

    def weights(self, idf: Any, places: I64 | None) -> Any:
        """Put the model's own idf weights into those of the new table, [rows]."""
        if self.artifact is not None and idf is not None:
            idf[places] = self.artifact.tensors["idf"]
        return idf


def _check(artifact: Artifact, config: Config) -> None:
    where = config.model.start_from
    if artifact.tensors.get("table", np.empty(0, np.int8)).dtype != np.float32:
        raise ConfigError(f"{where}: is quantized; train on from the model that it was made from")
    loss = artifact.config.model.loss
    if loss in ("hs", "adaptive"):
        raise ConfigError(
            f'{where}: model.loss = "{loss}" orders its outputs by the counts of the labels, so it '
            "cannot be trained on; train anew on all the data"
        )
    for section, names in KEPT.items():
        for name in names:
            old = getattr(getattr(artifact.config, section), name)
            new = getattr(getattr(config, section), name)
            if old != new:
                raise ConfigError(
                    f"{section}.{name} is {new!r}, and {old!r} in {where}; a model can only be "
                    "trained on with its own"
                )

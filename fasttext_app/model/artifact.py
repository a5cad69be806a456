"""``Artifact``: everything in a model directory, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import Array
from fasttext_app.data.labels import Labels
from fasttext_app.model.heads import HEADS, Head, build_head
from fasttext_app.model.product_quantizer import Coded
from fasttext_app.model.tensor_file import Tensors
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.tokenizers import tokenizer_from_config
from fasttext_app.text.vocabulary import Vocabulary

OUTPUT = "weight_"
"""Prefix of the tensors of a linear layer in product codes."""

FASTTEXT = "fasttext"
"""Key of ``Artifact.data`` for settings of a fastText file that the configuration lacks."""


@dataclass(frozen=True)
class Artifact:
    """A trained model with everything that its directory holds.

    Attributes:
        config: the resolved configuration.
        vocabulary: the words; word ``i`` is row ``i`` of the table.
        labels: names and counts of the classes.
        tensors: the weights, by the names of ``model/directory.py``.
        metrics: validation metrics of the best epoch.
        history: metrics, seconds and speed of each epoch.
        data: what the model was trained on.
        calibration: the record of ``inference/calibrate.py``; empty for an uncalibrated model.
        tokenizer_asset: contents of ``tokenizer.json``, for ``hf:`` tokenizers.
        run: settings, data, versions and seed of the training run; None for an imported model.
        sealed: whether it was loaded, so that its maker may be a stranger: it imports no optional
            package, and reads nothing.
    """

    config: Config
    vocabulary: Vocabulary
    labels: Labels
    tensors: Tensors
    metrics: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    tokenizer_asset: bytes | None = None
    run: Mapping[str, Any] | None = None
    sealed: bool = False

    @property
    def dim(self) -> int:
        """The number of columns of the table: ``model.dim``, unless models were folded into it."""
        weight = self.tensors.get("weight", np.empty(0))
        return weight.shape[1] if weight.ndim == 2 else self.config.model.dim

    @property
    def table(self) -> Array | Coded:
        """The embedding table, [V, D]: an array, or product codes that are decoded on access."""
        if "codes" not in self.tensors:
            return self.tensors["table"]
        return Coded.from_tensors(self.tensors, self.dim)

    @property
    def weight(self) -> Array | Coded:
        """The weights of the linear layer, [C, D]: an array, or product codes."""
        if "weight" in self.tensors:
            return self.tensors["weight"]
        return Coded.from_tensors(self.tensors, self.dim, OUTPUT)

    @property
    def is_linear(self) -> bool:
        """Whether the top layer is linear; if not, it is an adaptive softmax."""
        return HEADS[self.config.model.loss].linear

    @property
    def is_quantized(self) -> bool:
        """Whether the table is in 8-bit integers or product codes."""
        return "table" not in self.tensors or "scale" in self.tensors

    @property
    def imported(self) -> bool:
        """Whether the model comes from a fastText file and was not trained here."""
        return FASTTEXT in self.data and "train_rows" not in self.data

    def encoder(self) -> TextEncoder:
        """Return the encoder that maps texts to rows of the table."""
        text = self.config.text
        tokenizer = tokenizer_from_config(text, self.tokenizer_asset, sealed=self.sealed)
        return TextEncoder.from_config(
            text, tokenizer, self.vocabulary, self.tensors.get("buckets")
        )

    def head(self) -> Head:
        """Return the output head, which maps outputs of the top layer to probabilities."""
        return build_head(self.config.model, self.labels.counts)

"""``Artifact``: all that a model directory holds, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import Array
from fasttext_app.data.labels import Labels
from fasttext_app.model.product_quantizer import Coded
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.tokenizers import load_tokenizer
from fasttext_app.text.vocabulary import Vocabulary

OUTPUT = "weight_"  # begins the names of the tensors of a linear layer in codes


FASTTEXT = "fasttext"
"""Where ``data`` keeps the settings of a fastText file that have no place in the configuration."""


Tensors = dict[str, Array]


@dataclass(frozen=True)
class Artifact:
    """All that a model directory holds."""

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

    @property
    def table(self) -> Array | Coded:
        """The table, [V, D]: an array, or codes that give its rows when they are asked for."""
        if "codes" not in self.tensors:
            return self.tensors["table"]
        return Coded.from_tensors(self.tensors, self.config.model.dim)

    def encoder(self) -> TextEncoder:
        """Return the encoder that turns texts into rows of the table."""
        text = self.config.text
        tokenizer = load_tokenizer(text.tokenizer, self.tokenizer_asset)
        return TextEncoder.from_config(
            text, tokenizer, self.vocabulary, self.tensors.get("buckets")
        )

    @property
    def imported(self) -> bool:
        """Whether it comes from a fastText file, and was not trained here."""
        return FASTTEXT in self.data and "train_rows" not in self.data

    @property
    def is_linear(self) -> bool:
        """Whether the layer on top is a linear one; else it is an adaptive softmax."""
        return self.config.model.loss != "adaptive"

    @property
    def weight(self) -> Array | Coded:
        """The linear layer, [C, D]; in codes where it was quantized too."""
        if "weight" in self.tensors:
            return self.tensors["weight"]
        return Coded.from_tensors(self.tensors, self.config.model.dim, OUTPUT)

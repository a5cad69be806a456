"""Small models with random weights, of any kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from fasttext_app.config.schema import Config
from fasttext_app.core.arrow import string_array
from fasttext_app.data.labels import Labels
from fasttext_app.model.adaptive_softmax import tensor_shapes
from fasttext_app.model.artifact import Artifact, Tensors
from fasttext_app.model.product_quantizer import CODES
from fasttext_app.model.quantize import quantize_rows
from fasttext_app.text.rewriting import PATTERNS
from fasttext_app.text.vocabulary import Vocabulary
from tests.helpers import make_config

WORDS = "the", "team", "won", "日本語", "café", "😀", "can", "'", "t", "."
DIM, CLASSES = 8, 7
COUNTS = 40, 3, 9, 21, 5, 5, 1
CLUSTERS: dict[str, Any] = {"cutoffs": [2, 4], "div_value": 2.0}

NGRAMS: dict[str, Any] = {"word_ngrams": 3, "minn": 2, "maxn": 4, "bucket": 500}
REWRITING: dict[str, Any] = {"lowercase": True, "replace": list(PATTERNS)}
TOKENIZERS = "basic_english", "unicode", "whitespace", "fasttext", "fasttext:__class__"


def random_model(table: str = "floats", classes: int = CLASSES, **settings: Any) -> Artifact:
    """Return a model with a ``table`` of ``floats``, ``int8`` or ``codes``."""
    if settings.get("loss") == "adaptive":
        settings = CLUSTERS | settings
    if settings.get("mode") == "max":
        settings = {"sparse": False} | settings
    config = make_config(**{"dim": DIM, "prune": False} | settings)
    words = Vocabulary(string_array(WORDS), np.ones(len(WORDS), np.int64))
    names = tuple(f"label {number}" for number in range(classes))
    labels = Labels(names, (COUNTS * classes)[:classes])
    return Artifact(config, words, labels, _tensors(config, table, classes))


def _tensors(config: Config, table: str, classes: int) -> Tensors:
    draw = np.random.default_rng(1)
    buckets = config.text.bucket_count
    rows, tensors = len(WORDS) + buckets, Tensors()
    if config.text.prune and buckets:
        tensors["buckets"] = np.sort(draw.choice(buckets, buckets // 2, replace=False)).astype("i4")
        rows = len(WORDS) + buckets // 2
    if table == "codes":  # three parts, the last one of two values
        tensors["codes"] = draw.integers(0, CODES, (rows, 3), np.uint8)
        tensors["centroids"] = draw.normal(size=(3, CODES, 3)).astype("f4")
        tensors["norm_codes"] = draw.integers(0, CODES, rows, np.uint8)
        tensors["norm_centroids"] = draw.random(CODES, np.float32)
    else:
        tensors["table"] = draw.normal(size=(rows, DIM)).astype("f4")
    if table == "int8":
        tensors["table"], tensors["scale"] = quantize_rows(tensors["table"])
    if config.text.term_weighting == "tfidf":
        tensors["idf"] = draw.random(rows, np.float32) + 1
    shapes: dict[str, tuple[int, ...]] = {"weight": (classes, DIM), "bias": (classes,)}
    if config.model.cutoffs is not None:
        shapes = tensor_shapes(DIM, classes, config.model.cutoffs, config.model.div_value)
    return tensors | {name: draw.normal(size=shapes[name]).astype("f4") for name in shapes}

"""Smaller models: rows of 8-bit numbers, and only the rows that count most.

A row ``e`` of the table becomes ``round(e / s)``, whole numbers from -127 to 127, with the scale
``s = max |e| / 127`` of its own; so a number is off by ``s / 2`` at most. A row takes D + 4 bytes
instead of 4 D.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import F32, I8
from fasttext_app.errors import ConfigError
from fasttext_app.model.artifact import OUTPUT, Artifact
from fasttext_app.model.product_quantizer import CODES, encode_rows
from fasttext_app.text.fasttext_tokenizer import END
from fasttext_app.text.vocabulary import Vocabulary

LARGEST = 127
OUTPUT_WIDTH = 2
BLOCK = 1 << 16  # rows that are turned at a time

Retrain = Callable[[Artifact], Artifact]


def quantize(artifact: Artifact, cutoff: int = 0, *, retrain: Retrain | None = None) -> Artifact:
    """Return a model with its table in 8-bit numbers.

    Args:
        artifact: a model of 32-bit floats.
        cutoff: keep no more than this many rows, those with the largest norms; 0: all.
        retrain: what trains the model on once rows were left out.

    Raises:
        ConfigError: the model is quantized already, or its rows cannot be left out.
    """
    check_whole(artifact)
    smaller = keep_largest_rows(artifact, cutoff) if cutoff else artifact
    if retrain is not None and smaller is not artifact:
        smaller = retrain(smaller)
    artifact = smaller
    table, scale = quantize_rows(artifact.tensors["table"])
    tensors = {**artifact.tensors, "table": table, "scale": scale}
    data = {**artifact.data, "vocabulary": len(artifact.vocabulary), "table_rows": len(table)}
    return replace(artifact, tensors=tensors, data=data, metrics={})  # those were the original's


def product_quantize(
    artifact: Artifact,
    cutoff: int = 0,
    *,
    width: int = 2,
    norms: bool = False,
    output: bool = False,
    retrain: Retrain | None = None,
    seed: int = 0,
) -> Artifact:
    """Return a model with its table in product codes; see ``model/product_quantizer.py``.

    Args:
        artifact: a model of 32-bit floats.
        cutoff: keep no more than this many rows, those with the largest norms; 0: all.
        width: how many numbers share a code.
        norms: whether the norms of rows are coded by themselves.
        output: whether the linear layer is put into codes too, of two numbers each as in fastText.
        retrain: what trains the model on once rows were left out.
        seed: for the k-means.

    Raises:
        ConfigError: the model is quantized already, or has fewer rows or labels than there are
            codes.
        MissingDependencyError: scikit-learn is not installed.
    """
    check_whole(artifact)
    if width < 1:
        raise ConfigError(f"dsub = {width}: must be at least 1")
    smaller = keep_largest_rows(artifact, cutoff) if cutoff else artifact
    rows = len(smaller.tensors["table"])
    if rows < CODES:
        raise ConfigError(f"product codes need {CODES} rows, and the table has {rows}")
    if output and not artifact.is_linear:
        raise ConfigError('qout: model.loss = "adaptive" has no linear layer to put into codes')
    if output and len(artifact.labels) < CODES:
        raise ConfigError(
            f"qout needs {CODES} labels, and the model has {len(artifact.labels)}; leave it out: "
            "codes of so few rows would be larger than the rows"
        )
    if retrain is not None and smaller is not artifact:
        smaller = retrain(smaller)
    artifact, table = smaller, smaller.tensors["table"]
    tensors = {name: value for name, value in artifact.tensors.items() if name != "table"}
    tensors |= encode_rows(table, width, norms=norms, seed=seed).tensors()
    if output:
        weight = tensors.pop("weight")
        tensors |= encode_rows(weight, OUTPUT_WIDTH, norms=norms, seed=seed).tensors(OUTPUT)
    data = {**artifact.data, "vocabulary": len(artifact.vocabulary), "table_rows": len(table)}
    return replace(artifact, tensors=tensors, data=data, metrics={})


def check_whole(artifact: Artifact) -> None:
    """Refuse a model that is quantized already.

    Raises:
        ConfigError: it is.
    """
    if artifact.is_quantized:
        raise ConfigError("the model is quantized already; start from the original")


def quantize_rows(table: F32) -> tuple[I8, F32]:
    """Return rows of whole numbers [V, D] and what they are multiplied by [V].

    >>> numbers, scale = quantize_rows(np.array([[31.6, -63.5], [0, 0]], np.float32))
    >>> numbers.tolist(), scale.tolist()
    ([[63, -127], [0, 0]], [0.5, 0.0])
    """
    numbers = np.empty(table.shape, np.int8)
    scale = np.empty(len(table), np.float32)
    for start in range(0, len(table), BLOCK):
        rows = table[start : start + BLOCK]
        steps = np.abs(rows).max(axis=1) / LARGEST  # 0 too for numbers that are next to nothing
        scale[start : start + BLOCK] = steps
        divisor = np.where(steps > 0, steps, 1)[:, None]
        numbers[start : start + BLOCK] = np.rint(rows / divisor).clip(-LARGEST, LARGEST)
    return numbers, scale


def keep_largest_rows(artifact: Artifact, rows: int) -> Artifact:
    """Return a model with at most ``rows`` rows, words and n-grams alike.

    As in fastText's ``-cutoff``, those with the largest norms stay; with tf-idf a norm counts as
    often as the row's weight. The others become unknown words, and n-grams never seen. The word
    that ends a line stays in any case.

    Raises:
        ConfigError: fewer than one row is wanted, or ``model.padding_idx`` names a row by number.
    """
    if rows < 1:
        raise ConfigError(f"cutoff = {rows}: at least one row must stay")
    if artifact.config.model.padding_idx is not None:
        raise ConfigError("cutoff: model.padding_idx names a row by its number, which would change")
    table, words = artifact.tensors["table"], len(artifact.vocabulary)
    if rows >= len(table):
        return artifact
    importance = np.linalg.norm(table, axis=1) * artifact.tensors.get("idf", np.float32(1))
    end = artifact.vocabulary.row(END)
    if end >= 0:
        importance[end] = np.inf  # else a text without another known word would have no answer
    kept = np.sort(np.argsort(-importance, kind="stable")[:rows])
    kept_words, kept_ngrams = kept[kept < words], kept[kept >= words] - words
    vocabulary = Vocabulary(
        artifact.vocabulary.words.take(pa.array(kept_words)), artifact.vocabulary.counts[kept_words]
    )
    tensors = {**artifact.tensors, "table": table[kept]}
    if "idf" in tensors:
        tensors["idf"] = tensors["idf"][kept]
    if artifact.config.text.bucket_count:
        buckets = tensors.get("buckets")
        chosen = kept_ngrams if buckets is None else buckets[kept_ngrams]
        tensors["buckets"] = chosen.astype(np.int32)
    return replace(artifact, vocabulary=vocabulary, tensors=tensors)

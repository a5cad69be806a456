"""Quantization: tables of 8-bit integers or product codes, with only the most important rows.

A row ``e`` of the table becomes ``round(e / s)``, integers from -127 to 127, with its own scale
``s = max |e| / 127``. The error of a value is at most ``s / 2``, and a row takes D + 4 bytes
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
BLOCK = 1 << 16  # rows that are quantized at a time

Retrain = Callable[[Artifact], Artifact]
"""Trains a model further, after rows were dropped and before the rest are quantized."""


def quantize(artifact: Artifact, cutoff: int = 0, *, retrain: Retrain | None = None) -> Artifact:
    """Return a model with its table in 8-bit integers.

    Args:
        artifact: a model of 32-bit floats.
        cutoff: keep at most this many rows, those with the largest norms; 0: all.
        retrain: trains the model further if rows were dropped.

    Raises:
        ConfigError: the model is already quantized, or its rows cannot be dropped.
    """
    check_not_quantized(artifact)
    pruned = keep_largest_rows(artifact, cutoff) if cutoff else artifact
    if retrain is not None and pruned is not artifact:
        pruned = retrain(pruned)
    artifact = pruned
    table, scale = quantize_rows(artifact.tensors["table"])
    tensors = {**artifact.tensors, "table": table, "scale": scale}
    data = {**artifact.data, "vocabulary": len(artifact.vocabulary), "table_rows": len(table)}
    return replace(
        artifact, tensors=tensors, data=data, metrics={}
    )  # the metrics were those of the original


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
        cutoff: keep at most this many rows, those with the largest norms; 0: all.
        width: values per code.
        norms: encode the norms of rows separately.
        output: encode the linear layer too, with two values per code as in fastText.
        retrain: trains the model further if rows were dropped.
        seed: seed of k-means.

    Raises:
        ConfigError: the model is already quantized, or has fewer rows or labels than codes.
        MissingDependencyError: scikit-learn is not installed.
    """
    check_not_quantized(artifact)
    if width < 1:
        raise ConfigError(f"dsub = {width}: must be at least 1")
    pruned = keep_largest_rows(artifact, cutoff) if cutoff else artifact
    rows = len(pruned.tensors["table"])
    if rows < CODES:
        raise ConfigError(
            f"the table is too small for product codes: it has {rows} rows and needs {CODES}"
        )
    if output and not artifact.is_linear:
        raise ConfigError('qout: model.loss = "adaptive" has no linear layer to encode')
    if output and len(artifact.labels) < CODES:
        raise ConfigError(
            f"qout: the linear layer is too small: it has {len(artifact.labels)} labels and needs "
            f"{CODES}; leave it out"
        )
    if retrain is not None and pruned is not artifact:
        pruned = retrain(pruned)
    artifact, table = pruned, pruned.tensors["table"]
    tensors = {name: value for name, value in artifact.tensors.items() if name != "table"}
    tensors |= encode_rows(table, width, norms=norms, seed=seed).tensors()
    if output:
        weight = tensors.pop("weight")
        tensors |= encode_rows(weight, OUTPUT_WIDTH, norms=norms, seed=seed).tensors(OUTPUT)
    data = {**artifact.data, "vocabulary": len(artifact.vocabulary), "table_rows": len(table)}
    return replace(artifact, tensors=tensors, data=data, metrics={})


def check_not_quantized(artifact: Artifact) -> None:
    """Raise if a model is quantized.

    Raises:
        ConfigError: the model is quantized.
    """
    if artifact.is_quantized:
        raise ConfigError("the model is already quantized; start from the original")


def quantize_rows(table: F32) -> tuple[I8, F32]:
    """Return rows of integers, [V, D], and the scale of each row, [V].

    >>> integers, scale = quantize_rows(np.array([[31.6, -63.5], [0, 0]], np.float32))
    >>> integers.tolist(), scale.tolist()
    ([[63, -127], [0, 0]], [0.5, 0.0])
    """
    integers = np.empty(table.shape, np.int8)
    scale = np.empty(len(table), np.float32)
    for start in range(0, len(table), BLOCK):
        rows = table[start : start + BLOCK]
        steps = np.abs(rows).max(axis=1) / LARGEST  # 0 for denormals too
        scale[start : start + BLOCK] = steps
        divisor = np.where(steps > 0, steps, 1)[:, None]
        integers[start : start + BLOCK] = np.rint(rows / divisor).clip(-LARGEST, LARGEST)
    return integers, scale


def keep_largest_rows(artifact: Artifact, rows: int) -> Artifact:
    """Return a model with at most ``rows`` rows of words and n-grams, those with the largest norms.

    As with fastText's ``-cutoff``, the other words become unknown, and the other n-grams unseen;
    the end-of-line word always stays. With tf-idf, a norm is multiplied by the idf of the row.

    Raises:
        ConfigError: ``rows`` is below 1, or ``model.padding_idx`` is set.
    """
    if rows < 1:
        raise ConfigError(f"cutoff = {rows}: must be at least 1")
    if artifact.config.model.padding_idx is not None:
        raise ConfigError("cutoff: cannot be combined with model.padding_idx: row ids change")
    table, words = artifact.tensors["table"], len(artifact.vocabulary)
    if rows >= len(table):
        return artifact
    importance = np.linalg.norm(table, axis=1) * artifact.tensors.get("idf", np.float32(1))
    end = artifact.vocabulary.row(END)
    if end >= 0:
        importance[end] = np.inf  # it is the only known word of many texts
    row_ids = np.sort(np.argsort(-importance, kind="stable")[:rows])
    word_ids, bucket_ids = row_ids[row_ids < words], row_ids[row_ids >= words] - words
    vocabulary = Vocabulary(
        artifact.vocabulary.words.take(pa.array(word_ids)), artifact.vocabulary.counts[word_ids]
    )
    tensors = {**artifact.tensors, "table": table[row_ids]}
    if "idf" in tensors:
        tensors["idf"] = tensors["idf"][row_ids]
    if artifact.config.text.bucket_count:
        buckets = tensors.get("buckets")
        bucket_ids = bucket_ids if buckets is None else buckets[bucket_ids]
        tensors["buckets"] = bucket_ids.astype(np.int32)
    return replace(artifact, vocabulary=vocabulary, tensors=tensors)

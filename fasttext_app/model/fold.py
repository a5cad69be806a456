"""Folding: the linear layer multiplied into the embedding table, for one model or an ensemble.

The bag of a text is a weighted sum of rows, and the linear layer is linear, so the layer can be
applied to the rows beforehand:

    logits = (sum_i w_i table[i]) @ weight.T + bias = sum_i w_i (table[i] @ weight.T) + bias

A folded table has a column for each of the C outputs in place of D dimensions, and the linear layer
is the identity. The mean of the logits of several models that share vocabulary and term weights is
a model of the same form, with the mean of their folded tables. If C is larger than the D of all
models together, their tables are put side by side instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fasttext_app.config.schema import ModelConfig
from fasttext_app.core.arrays import F32
from fasttext_app.core.matmul import matmul
from fasttext_app.errors import ConfigError
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.heads import HEADS
from fasttext_app.model.quantize import check_not_quantized

BLOCK = 1 << 16  # rows that are folded at a time


def fold(artifact: Artifact) -> Artifact:
    """Return the model with its linear layer folded into the table.

    Logits change by rounding only. The vectors of texts are then their logits, without the bias.

    Raises:
        ConfigError: the model is quantized, is not linear in the rows of its table, or would not
            get smaller.
    """
    if len(artifact.tensors["weight"]) > artifact.dim:
        raise ConfigError(
            f"fold: the table would grow from {artifact.dim} columns to "
            f"{len(artifact.tensors['weight'])}, one for each label"
        )
    return average([artifact])


def fold_if_smaller(artifact: Artifact) -> Artifact:
    """Fold a model that has just been trained, if its settings allow that and it gets no larger."""
    folds = _folds(artifact.config.model, len(artifact.labels))
    return fold(artifact) if folds else artifact


def columns(model: ModelConfig, classes: int) -> int:
    """Return the number of columns of the table of a model that has been trained."""
    return classes if _folds(model, classes) else model.dim


def _folds(model: ModelConfig, classes: int) -> bool:
    can_fold = HEADS[model.loss].linear and model.mode != "max" and classes <= model.dim
    return can_fold and model.fold and model.pretrained is None


def average(artifacts: Sequence[Artifact]) -> Artifact:
    """Return a model whose logits are the mean of the logits of these models.

    Args:
        artifacts: models with the same rows, labels and settings; the rest is taken from the first.

    Raises:
        ConfigError: a model is quantized, or is not linear in the rows of its table.
    """
    first = artifacts[0]
    for artifact in artifacts:
        _check(artifact)
    outputs, dims = first.tensors["weight"].shape[0], sum(a.dim for a in artifacts)
    if outputs <= dims:
        table = _mean([_folded_table(artifact) for artifact in artifacts])
        weight = np.eye(outputs, dtype=np.float32)
    else:
        table = np.concatenate([a.tensors["table"] for a in artifacts], axis=1)
        weight = np.concatenate([a.tensors["weight"] for a in artifacts], axis=1)
        weight = weight / np.float32(len(artifacts))
    bias = _mean([a.tensors["bias"] for a in artifacts])
    tensors = {**first.tensors, "table": table, "weight": weight, "bias": bias}
    return replace(first, tensors=tensors)


def _mean(arrays: Sequence[F32]) -> F32:
    total = arrays[0].copy()
    for array in arrays[1:]:
        total += array
    return total / np.float32(len(arrays))


def _folded_table(artifact: Artifact) -> F32:
    """Return the table times the linear layer, [V, C]."""
    table, layer = artifact.tensors["table"], np.ascontiguousarray(artifact.tensors["weight"].T)
    folded = np.empty((len(table), layer.shape[1]), np.float32)
    for start in range(0, len(table), BLOCK):
        folded[start : start + BLOCK] = matmul(table[start : start + BLOCK], layer)
    return folded


def _check(artifact: Artifact) -> None:
    check_not_quantized(artifact)
    model = artifact.config.model
    if not artifact.is_linear:
        raise ConfigError(f'model.loss = "{model.loss}" has no linear layer to fold')
    if model.mode == "max":
        raise ConfigError('model.mode = "max" is not linear in the rows of the table')

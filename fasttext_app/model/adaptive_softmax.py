"""The adaptive softmax: a small head for frequent classes, and clusters of rare ones behind it.

Classes are ranked by their counts, the most frequent first. Those before the first cutoff are
outputs of the **head**, a linear layer. The classes from one cutoff to the next are a **cluster**:
one more output of the head stands for the whole cluster, and a **tail** tells its classes apart,
with fewer dimensions for rarer classes. The log-probability of a class in a cluster is the
log-probability of the cluster plus that of the class within the cluster.

This is torch's ``nn.AdaptiveLogSoftmaxWithLoss``, with its names of tensors. Source: Grave et al.
(2017), "Efficient softmax approximation for GPUs".

Shapes: **B** texts, **D** embedding dim, **C** classes, **K** clusters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import F32, I64, Array
from fasttext_app.core.matmul import matmul
from fasttext_app.errors import TrainingError

FRACTIONS = 0.75, 0.95
"""The fractions of the training rows whose classes come before each chosen cutoff."""


def frequency_rank(counts: Sequence[int]) -> I64:
    """Return the rank of each class by its count, [C]; the lower class wins a tie.

    >>> frequency_rank([5, 1, 9, 5]).tolist()
    [1, 3, 0, 2]
    """
    order = np.argsort(-np.asarray(counts, np.int64), kind="stable")
    return np.argsort(order)


def with_cutoffs(config: Config, counts: Sequence[int]) -> Config:
    """Return the configuration with cutoffs, chosen by counts if the loss needs and lacks them.

    Raises:
        TrainingError: the configured cutoffs do not fit the number of classes.
    """
    model = config.model
    if model.loss != "adaptive":
        return config
    if model.cutoffs is None:
        cutoffs = choose_cutoffs(counts, model.dim, model.div_value)
        model = model.model_copy(update={"cutoffs": cutoffs})
        return config.model_copy(update={"model": model})
    if model.cutoffs[-1] >= len(counts):
        raise TrainingError(
            f"model.cutoffs ends with {model.cutoffs[-1]}, and there are {len(counts)} labels; "
            "each cutoff must leave labels after it, or leave the setting out"
        )
    return config


def choose_cutoffs(counts: Sequence[int], dim: int, div_value: float) -> tuple[int, ...]:
    """Return cutoffs with the fractions :data:`FRACTIONS` of the training rows before them.

    The classes of most rows keep all D dimensions, and are few if the counts are uneven.

    Args:
        counts: training rows of each class, [C]; C is at least 2.
        dim: D.
        div_value: see :func:`tensor_shapes`; a cluster that would have no dimension is left out.

    >>> choose_cutoffs([2**20 // (rank + 1) for rank in range(20_000)], 48, 4.0)
    (1446, 11802)
    """
    rows = np.cumsum(np.sort(counts)[::-1])
    cutoffs = np.searchsorted(rows, np.multiply(FRACTIONS, rows[-1])) + 1
    clusters = [k for k in range(len(FRACTIONS)) if _width(dim, div_value, k)]
    return tuple(sorted({min(int(cutoffs[k]), len(counts) - 1) for k in clusters}))


def tensor_shapes(
    dim: int, classes: int, cutoffs: Sequence[int], div_value: float
) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of the layer.

    Args:
        dim: D.
        classes: C.
        cutoffs: the first rank of each cluster, [K].
        div_value: the tail of cluster k, from 1, has D / div_value^k dimensions, rounded down.

    >>> tensor_shapes(8, 100, [10, 40], 2.0)
    {'head.weight': (12, 8), 'head.bias': (12,),
     'tail.0.0.weight': (4, 8), 'tail.0.1.weight': (30, 4),
     'tail.1.0.weight': (2, 8), 'tail.1.1.weight': (60, 2)}
    """
    outputs = cutoffs[0] + len(cutoffs)
    shapes: dict[str, tuple[int, ...]] = {"head.weight": (outputs, dim), "head.bias": (outputs,)}
    for cluster, (begin, end) in enumerate(pairwise((*cutoffs, classes))):
        width = _width(dim, div_value, cluster)
        shapes[f"tail.{cluster}.0.weight"] = width, dim
        shapes[f"tail.{cluster}.1.weight"] = end - begin, width
    return shapes


def _width(dim: int, div_value: float, cluster: int) -> int:
    return int(dim // div_value ** (cluster + 1))


def log_probabilities(vectors: F32, tensors: Mapping[str, Array]) -> F32:
    """Return the log-probabilities of the classes in the order of their ranks, [B, C].

    Args:
        vectors: vectors of texts, [B, D].
        tensors: the tensors of :func:`tensor_shapes`; others are not read.
    """
    head = _log_softmax(_linear(vectors, tensors["head.weight"]) + tensors["head.bias"])
    clusters = sum(name.startswith("tail.") for name in tensors) // 2
    frequent = head.shape[1] - clusters
    parts = [head[:, :frequent]]
    for cluster in range(clusters):
        down, up = (tensors[f"tail.{cluster}.{step}.weight"] for step in (0, 1))
        within = _log_softmax(_linear(_linear(vectors, down), up))
        within += head[:, frequent + cluster, None]
        parts.append(within)
    return np.concatenate(parts, axis=1)


def _linear(vectors: F32, weight: F32) -> F32:
    return matmul(vectors, np.ascontiguousarray(weight.T))


def _log_softmax(logits: F32) -> F32:
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits

"""The adaptive softmax: few outputs for frequent classes, and clusters of the rare ones behind it.

Classes go by their counts, the most frequent first; the number of a class in that order is its
*place*. Cutoffs part the places. Those before the first are outputs of the **head**, a linear
layer. Each stretch after a cutoff is a **cluster**: one more output of the head stands for all of
it, and a **tail** tells its classes apart, in fewer dimensions the rarer they are. The
log-probability of a class in a cluster is that of the cluster plus its own within it.

This is torch's ``nn.AdaptiveLogSoftmaxWithLoss``, and the tensors have the names that they have
there. Source: Grave et al. (2017), "Efficient softmax approximation for GPUs".

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

SHARES = 0.75, 0.95
"""Of the training rows, how many have their class before the cutoffs that are chosen."""


def frequency_rank(counts: Sequence[int]) -> I64:
    """Return the place of each class, [C]; equal counts go by class.

    >>> frequency_rank([5, 1, 9, 5]).tolist()
    [1, 3, 0, 2]
    """
    order = np.argsort(-np.asarray(counts, np.int64), kind="stable")
    return np.argsort(order)


def with_cutoffs(config: Config, counts: Sequence[int]) -> Config:
    """Return the configuration with the cutoffs of its adaptive softmax, if it has one.

    Raises:
        TrainingError: those that it names do not fit as many classes as were counted.
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
    """Return cutoffs that leave the rows of :data:`SHARES` before them.

    So the classes of most rows keep all D dimensions, and yet are few where counts are uneven.

    Args:
        counts: how often each class was seen, [C]; C is at least 2.
        dim: D.
        div_value: see :func:`tensor_shapes`; a cluster without a dimension left is not made.

    >>> choose_cutoffs([2**20 // (place + 1) for place in range(20_000)], 48, 4.0)
    (1446, 11802)
    """
    seen = np.cumsum(np.sort(counts)[::-1])
    places = np.searchsorted(seen, np.multiply(SHARES, seen[-1])) + 1
    clusters = [k for k in range(len(SHARES)) if _width(dim, div_value, k)]
    return tuple(sorted({min(int(places[k]), len(counts) - 1) for k in clusters}))


def tensor_shapes(
    dim: int, classes: int, cutoffs: Sequence[int], div_value: float
) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of the layer.

    Args:
        dim: D.
        classes: C.
        cutoffs: the first place of each cluster, [K].
        div_value: the tail of cluster k, from 1, has D / div_value^k dimensions, rounded down.

    >>> tensor_shapes(8, 100, [10, 40], 2.0)
    {'head.weight': (12, 8), 'head.bias': (12,),
     'tail.0.0.weight': (4, 8), 'tail.0.1.weight': (30, 4),
     'tail.1.0.weight': (2, 8), 'tail.1.1.weight': (60, 2)}
    """
    outputs = cutoffs[0] + len(cutoffs)
    shapes: dict[str, tuple[int, ...]] = {"head.weight": (outputs, dim), "head.bias": (outputs,)}
    for number, (begin, end) in enumerate(pairwise((*cutoffs, classes))):
        width = _width(dim, div_value, number)
        shapes[f"tail.{number}.0.weight"] = width, dim
        shapes[f"tail.{number}.1.weight"] = end - begin, width
    return shapes


def _width(dim: int, div_value: float, number: int) -> int:
    return int(dim // div_value ** (number + 1))


def log_probabilities(vectors: F32, tensors: Mapping[str, Array]) -> F32:
    """Return the log-probability of the class in each place, [B, C].

    Args:
        vectors: of texts, [B, D].
        tensors: those of :func:`tensor_shapes`; others are not read.
    """
    head = _log_softmax(_linear(vectors, tensors["head.weight"]) + tensors["head.bias"])
    clusters = sum(name.startswith("tail.") for name in tensors) // 2
    frequent = head.shape[1] - clusters
    parts = [head[:, :frequent]]
    for number in range(clusters):
        down, up = (tensors[f"tail.{number}.{step}.weight"] for step in (0, 1))
        within = _log_softmax(_linear(_linear(vectors, down), up))
        within += head[:, frequent + number, None]
        parts.append(within)
    return np.concatenate(parts, axis=1)


def _linear(vectors: F32, weight: F32) -> F32:
    return matmul(vectors, np.ascontiguousarray(weight.T))


def _log_softmax(logits: F32) -> F32:
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits

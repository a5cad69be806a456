"""Output heads: how the outputs of the top layer become logits and probabilities of classes.

Shapes: **B** texts, **C** classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fasttext_app.config.schema import ModelConfig
from fasttext_app.core.arrays import F32, F64, I64
from fasttext_app.model.adaptive_softmax import frequency_rank
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.huffman import HuffmanTree

SIGMOIDS = ("ova", "ns")  # the losses for which each class is a question of its own


NORMALIZED = ("hs", "adaptive")  # those of which the logits of classes are log-probabilities


MOST_LOGITS = 1 << 24  # that are looked at in one go: of many classes, those of fewer texts


FASTTEXT_FLOOR = 1e-5  # what the original adds to a probability before it takes the logarithm


def class_scores(loss: str, counts: Sequence[int], floor: float = 0.0) -> Callable[[F32], F32]:
    """Return what turns the outputs of the layer on top into a logit for each class, [B, C].

    With the hierarchical softmax the outputs are of the nodes of its tree, and with the adaptive
    softmax of the classes by their counts; there the logit of a class is its log-probability. With
    any other loss the outputs are the logits.

    Args:
        loss: its name.
        counts: how often each class was seen in training, [C].
        floor: what ``hs`` adds to the probability of each turn.
    """
    if loss == "hs":
        tree = HuffmanTree.build(counts)
        return lambda outputs: tree.log_probabilities(outputs, floor)
    if loss == "adaptive":
        places = frequency_rank(counts)
        return lambda outputs: np.take(outputs, places, axis=1)  # faster than an index
    return lambda outputs: outputs


def class_scores_of(artifact: Artifact) -> Callable[[F32], F32]:
    """Return the same for a model; see :func:`class_scores`."""
    model = artifact.config.model
    floor = FASTTEXT_FLOOR if model.probabilities == "fasttext" else 0.0
    return class_scores(model.loss, artifact.labels.counts, floor)


def probabilities(logits: F32, model: ModelConfig) -> F64:
    """Turn logits [B, C] into probabilities, as ``model.loss`` and ``model.probabilities`` have it.

    They are the softmax over classes, or where each class is a question of its own (``ova``,
    ``ns``), a sigmoid each. As the original prints them, the sigmoid is read from its table of 512
    cells, and 1e-5 is added to all; unlike there, none is above 1.
    """
    as_fasttext = model.probabilities == "fasttext"
    wide = logits.astype(np.float64)
    if model.loss in NORMALIZED:  # those of `hs` have the 1e-5 in them
        return np.minimum(np.exp(wide), 1.0)
    if model.loss in SIGMOIDS:
        proba = fasttext_sigmoid(logits) if as_fasttext else np.exp(-np.logaddexp(0, -wide))
    else:
        wide -= wide.max(axis=1, keepdims=True)
        proba = np.exp(wide, out=wide)
        proba /= proba.sum(axis=1, keepdims=True)
    return np.minimum(proba + FASTTEXT_FLOOR, 1.0) if as_fasttext else proba


def class_probabilities(logits: F32, classes: I64, model: ModelConfig) -> F64:
    """Return the probabilities of some classes of each text, [B, k]; see :func:`probabilities`."""
    rows = np.arange(len(logits))[:, None]
    if model.loss in SIGMOIDS + NORMALIZED:  # each depends on its own logit alone
        return probabilities(logits[rows, classes], model)
    chosen: F64 = probabilities(logits, model)[rows, classes]
    return chosen


def fasttext_sigmoid(logits: F32) -> F64:
    """Look logits up in the original's table: 512 cells from -8 to 8, and 0 or 1 outside.

    >>> fasttext_sigmoid(np.array([-9, 0.03, 8.5], np.float32)).tolist()
    [0.0, 0.5, 1.0]
    """
    cells = (np.clip(logits, -8, 8).astype(np.float32) + np.float32(8)) * np.float32(32)
    inside = 1 / (1 + np.exp(8 - cells.astype(np.int64) / 32))
    return np.where(logits < -8, 0.0, np.where(logits > 8, 1.0, inside))

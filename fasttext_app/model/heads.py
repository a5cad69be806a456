"""Output heads: what the outputs of the top layer mean, for each loss.

A head turns outputs into a logit for each class, turns logits into probabilities, and knows how the
likelihood changes with a temperature. To add a loss, write how it is trained in
``training/losses.py`` and its head here, and name it in ``ModelConfig.loss``.

Shapes: **B** texts, **C** classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from fasttext_app.config.schema import ModelConfig
from fasttext_app.core.arrays import F32, F64, I64
from fasttext_app.core.ragged import Ragged
from fasttext_app.model.adaptive_softmax import frequency_rank
from fasttext_app.model.calibration import Slope, margin_slope, softmax_slope
from fasttext_app.model.metrics import multi_hot, top_k_classes

if TYPE_CHECKING:
    from fasttext_app.model.huffman import HuffmanTree

_Float = TypeVar("_Float", bound=np.floating)

MAX_LOGITS = 1 << 24  # in memory at a time: with many classes, fewer texts are scored together

FASTTEXT_FLOOR = 1e-5  # the original adds it to a probability before it takes the logarithm


def texts_at_once(classes: int) -> int:
    """Return how many texts to score together, so that their logits fit in memory."""
    return max(MAX_LOGITS // classes, 1)


class Head(ABC):
    """The meaning of the outputs of the top layer.

    Args:
        model: the settings of the model; ``probabilities = "fasttext"`` gives the probabilities
            that the original prints.
        counts: training rows of each class, [C].
    """

    linear: ClassVar[bool] = True
    """Whether the top layer is linear; if not, it is an adaptive softmax."""
    independent: ClassVar[bool] = False
    """Whether each class is a yes-or-no question of its own, so that a text may have several."""
    not_additive: ClassVar[str] = ""
    """The reason why a logit is not a sum over the features of a text; empty if it is one."""

    def __init__(self, model: ModelConfig, counts: Sequence[int] = ()) -> None:
        self.counts = counts
        self.as_fasttext = model.probabilities == "fasttext"
        self.floor = FASTTEXT_FLOOR if self.as_fasttext else 0.0

    def without_floor(self) -> Head:
        """Return a head whose probabilities are those to which the original adds its floor."""
        head = copy(self)
        head.floor = 0.0
        return head

    def logits(self, outputs: F32) -> F32:
        """Return the logit of each class, [B, C], from the outputs of the top layer."""
        return outputs

    @abstractmethod
    def probabilities(self, logits: F32) -> F64:
        """Return the probability of each class, [B, C]; none is above 1."""

    def class_probabilities(self, logits: F32, classes: I64) -> F64:
        """Return the probabilities of some classes of each text, [B, k].

        Args:
            logits: of all classes, [B, C].
            classes: the classes to return, [B, k].
        """
        return self.probabilities(_columns(logits, classes))

    def best(self, logits: F32) -> tuple[int, float]:
        """Return the best class of one text, and its probability.

        Args:
            logits: of all classes, [1, C].
        """
        classes = top_k_classes(logits, 1)
        return int(classes[0, 0]), float(self.class_probabilities(logits, classes)[0, 0])

    def best_of_outputs(self, best: int, outputs: F64) -> tuple[int, float]:
        """Return what :meth:`best` does in fewer steps, where compiled code runs.

        Args:
            best: the first of the classes with the largest output.
            outputs: the outputs of the linear layer for one text, [C], which it may overwrite.
        """
        return self.best(self.logits(outputs.astype(np.float32)[None]))

    def slope(self, outputs: F32, true: Ragged) -> Slope:
        """Return the derivative of the mean negative log-likelihood by 1/T; linear layers only.

        Args:
            outputs: outputs of the top layer, [B, C].
            true: the true classes of each text, [B].
        """
        raise NotImplementedError


class SoftmaxHead(Head):
    """One distribution over the classes."""

    def probabilities(self, logits: F32) -> F64:
        """Return the softmax of the logits."""
        proba = logits.astype(np.float64)
        proba -= proba.max(axis=1, keepdims=True)
        np.exp(proba, out=proba)
        proba /= proba.sum(axis=1, keepdims=True)
        return np.minimum(proba + self.floor, 1.0) if self.floor else proba

    def class_probabilities(self, logits: F32, classes: I64) -> F64:
        """Return the probabilities of some classes, which depend on the logits of all."""
        return _columns(self.probabilities(logits), classes)

    def slope(self, outputs: F32, true: Ragged) -> Slope:
        """Return the slope of the cross-entropy."""
        return softmax_slope(outputs, true.indices)


class SigmoidHead(Head):
    """A yes-or-no question for each class."""

    independent = True

    def probabilities(self, logits: F32) -> F64:
        """Return the sigmoid of each logit."""
        if self.as_fasttext:
            return np.minimum(fasttext_sigmoid(logits) + self.floor, 1.0)
        return np.exp(-np.logaddexp(0, -logits.astype(np.float64)))

    def best_of_outputs(self, best: int, outputs: F64) -> tuple[int, float]:
        """Return the class with the largest output, and its probability."""
        return best, self.probabilities(outputs[best : best + 1].astype(np.float32)).item()

    def slope(self, outputs: F32, true: Ragged) -> Slope:
        """Return the slope of the binary cross-entropy over all pairs of a text and a class."""
        return margin_slope(np.where(multi_hot(true, outputs.shape[1]), outputs, -outputs))


class HuffmanHead(Head):
    """The hierarchical softmax: an output per node of a tree; logits are log-probabilities."""

    not_additive = (
        "a label is a path down a tree with a logit at every node, not one sum over features"
    )

    @cached_property
    def tree(self) -> HuffmanTree:
        """The tree over the classes."""
        from fasttext_app.model.huffman import HuffmanTree

        return HuffmanTree.build(self.counts)

    def logits(self, outputs: F32) -> F32:
        """Return the log-probability of each class."""
        return self.tree.log_probabilities(outputs, self.floor)

    def probabilities(self, logits: F32) -> F64:
        """Return the exponential of each log-probability, which includes the original's floor."""
        return np.minimum(np.exp(logits.astype(np.float64)), 1.0)

    def best_of_outputs(self, best: int, outputs: F64) -> tuple[int, float]:
        """Return the best class and its probability, without those of the others."""
        best, log_probability = self.tree.best(outputs, self.floor)
        return best, min(float(np.exp(log_probability)), 1.0)

    def without_floor(self) -> Head:
        """Return the same head: the floor is added at each node of the tree."""
        return self

    def slope(self, outputs: F32, true: Ragged) -> Slope:
        """Return the slope of the binary cross-entropy over the nodes on the path to each class."""
        nodes, codes = self.tree.paths()
        on_path = np.take_along_axis(outputs, nodes[true.indices], axis=1)
        return margin_slope(on_path * codes[true.indices])


class AdaptiveHead(Head):
    """The adaptive softmax: outputs are log-probabilities of the classes, most frequent first."""

    linear = False
    not_additive = "a logit is a log-probability over clusters, not one sum over features"

    @cached_property
    def rank(self) -> I64:
        """The rank of each class by its count, [C]."""
        return frequency_rank(self.counts)

    def logits(self, outputs: F32) -> F32:
        """Return the log-probability of each class."""
        return np.take(outputs, self.rank, axis=1)  # faster than indexing

    def probabilities(self, logits: F32) -> F64:
        """Return the exponential of each log-probability."""
        return np.minimum(np.exp(logits.astype(np.float64)), 1.0)


HEADS: dict[str, type[Head]] = {
    "softmax": SoftmaxHead,
    "ova": SigmoidHead,
    "ns": SigmoidHead,
    "hs": HuffmanHead,
    "adaptive": AdaptiveHead,
}


def build_head(model: ModelConfig, counts: Sequence[int] = ()) -> Head:
    """Return the head of ``model.loss``; see :class:`Head`."""
    return HEADS[model.loss](model, counts)


def _columns(values: npt.NDArray[_Float], classes: I64) -> npt.NDArray[_Float]:
    """Return ``values[b, classes[b, i]]``, [B, k]; faster than ``np.take_along_axis``."""
    return values[np.arange(len(values))[:, None], classes]


def fasttext_sigmoid(logits: F32) -> F64:
    """Return the sigmoid by the original's table: 512 cells from -8 to 8, and 0 or 1 outside.

    >>> fasttext_sigmoid(np.array([-9, 0.03, 8.5], np.float32)).tolist()
    [0.0, 0.5, 1.0]
    """
    cells = (np.clip(logits, -8, 8).astype(np.float32) + np.float32(8)) * np.float32(32)
    inside = 1 / (1 + np.exp(8 - cells.astype(np.int64) / 32))
    return np.where(logits < -8, 0.0, np.where(logits > 8, 1.0, inside))

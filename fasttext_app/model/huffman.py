"""The tree of the hierarchical softmax: a Huffman tree over how often each class was seen.

A class is a leaf; its probability is the product of the turns on the way to it from the root. Node
``k`` turns right with probability ``sigmoid(logit k)``. Frequent classes are near the root, so
training on one looks at few nodes. The tree is fastText's, tie by tie: classes in the order of
their counts, the larger first, equal counts as they come.

Shapes: **B** texts, **C** classes; there are C - 1 nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fasttext_app.core import jit
from fasttext_app.core.arrays import F32, F64, I64


@dataclass(frozen=True, eq=False)
class HuffmanTree:
    """Where each node leads to; a place below C is a class, any other is C + a node."""

    left: I64  # [C - 1]
    right: I64  # [C - 1]
    levels: tuple[I64, ...]
    """The nodes by their depth, the root first."""

    @classmethod
    def build(cls, counts: Sequence[int]) -> HuffmanTree:
        """Build the tree of C classes with these counts.

        >>> tree = HuffmanTree.build([5, 1, 2])
        >>> tree.left.tolist(), tree.right.tolist()
        ([1, 3], [2, 0])
        """
        classes = len(counts)
        order = np.argsort(-np.asarray(counts, dtype=np.int64), kind="stable")
        weights = [counts[number] for number in order]
        leaf, node = classes - 1, classes
        left, right = (
            np.empty(max(classes - 1, 0), np.int64),
            np.empty(max(classes - 1, 0), np.int64),
        )
        for made in range(classes - 1):
            pair = []
            for _ in range(2):
                waiting = node < len(weights)
                if leaf >= 0 and (not waiting or weights[leaf] < weights[node]):
                    pair.append(leaf)
                    leaf -= 1
                else:
                    pair.append(node)
                    node += 1
            left[made], right[made] = (order[p] if p < classes else p for p in pair)
            weights.append(weights[pair[0]] + weights[pair[1]])
        return cls(left, right, tuple(_levels(left, right)))

    @property
    def classes(self) -> int:
        """C."""
        return len(self.left) + 1

    def log_probabilities(self, logits: F32, floor: float = 0.0) -> F32:
        """Turn the logits of the nodes into the log-probability of each class, [B, C].

        Args:
            logits: [B, C - 1]; more columns are not read.
            floor: what is added to the probability of each turn (the original adds 1e-5).
        """
        classes = self.classes
        left, right = _log_turns(logits[:, : classes - 1].astype(np.float64), floor)
        if jit.enabled():
            from fasttext_app.model.huffman_kernels import path_log_probs

            return path_log_probs(left, right, self.left, self.right)
        scores = np.zeros((len(logits), 2 * classes - 1))
        for nodes in self.levels:
            before = scores[:, classes + nodes]
            scores[:, self.left[nodes]] = before + left[:, nodes]
            scores[:, self.right[nodes]] = before + right[:, nodes]
        return scores[:, :classes].astype(np.float32)

    def paths(self) -> tuple[I64, F32]:
        """Return the way to each class: nodes [C, depth] and turns, 1 right, -1 left, 0 no more."""
        ways: list[list[tuple[int, int]]] = [[] for _ in range(2 * self.classes - 1)]
        for nodes in self.levels:
            for node in nodes.tolist():
                for places, turn in ((self.left, -1), (self.right, 1)):
                    ways[places[node]] = [*ways[self.classes + node], (node, turn)]
        deepest = max(map(len, ways[: self.classes]))
        taken = np.zeros((self.classes, deepest), np.int64)
        turns = np.zeros((self.classes, deepest), np.float32)
        for number, way in enumerate(ways[: self.classes]):
            for step, (node, turn) in enumerate(way):
                taken[number, step], turns[number, step] = node, turn
        return taken, turns


def _log_turns(logits: F64, floor: float) -> tuple[F64, F64]:
    """Return the log-probability of a turn to the left, and to the right, at each node."""
    if not floor:
        return -np.logaddexp(0, logits), -np.logaddexp(0, -logits)
    right = np.minimum(-logits, 700)  # exp() ends at 709; in place, for there are many
    np.exp(right, out=right)
    right += 1
    np.reciprocal(right, out=right)
    left = 1 + floor - right
    right += floor
    return np.log(left, out=left), np.log(right, out=right)


def _levels(left: I64, right: I64) -> list[I64]:
    classes = len(left) + 1
    levels, nodes = [], np.array([len(left) - 1] if len(left) else [], np.int64)
    while len(nodes):
        levels.append(nodes)
        below = np.concatenate((left[nodes], right[nodes]))
        nodes = np.sort(below[below >= classes] - classes)
    return levels

"""The hierarchical softmax: a Huffman tree over the counts of the classes.

A class is a leaf; its probability is the product of the branch probabilities on its path from the
root. Node ``k`` branches right with probability ``sigmoid(logit k)``. Frequent classes are near the
root, so training on one of them touches few nodes. The tree equals fastText's, including ties:
classes in descending order of their counts, equal counts by class.

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
    """The children of each node; a child below C is a class, any other is C + a node."""

    left: I64  # [C - 1]
    right: I64  # [C - 1]
    levels: tuple[I64, ...]
    """The nodes of each depth, the root first."""

    @classmethod
    def build(cls, counts: Sequence[int]) -> HuffmanTree:
        """Build the tree of classes with these counts, [C].

        >>> tree = HuffmanTree.build([5, 1, 2])
        >>> tree.left.tolist(), tree.right.tolist()
        ([1, 3], [2, 0])
        """
        classes = len(counts)
        order = np.argsort(-np.asarray(counts, dtype=np.int64), kind="stable")
        weights = [counts[index] for index in order]
        leaf, node = classes - 1, classes
        left, right = (
            np.empty(max(classes - 1, 0), np.int64),
            np.empty(max(classes - 1, 0), np.int64),
        )
        for parent in range(classes - 1):
            pair = []  # the two smallest weights that have no parent yet
            for _ in range(2):
                has_node = node < len(weights)
                if leaf >= 0 and (not has_node or weights[leaf] < weights[node]):
                    pair.append(leaf)
                    leaf -= 1
                else:
                    pair.append(node)
                    node += 1
            left[parent], right[parent] = (order[p] if p < classes else p for p in pair)
            weights.append(weights[pair[0]] + weights[pair[1]])
        return cls(left, right, tuple(_levels(left, right)))

    @property
    def classes(self) -> int:
        """Number of classes, C."""
        return len(self.left) + 1

    def log_probabilities(self, logits: F32, floor: float = 0.0) -> F32:
        """Return the log-probability of each class, [B, C].

        Args:
            logits: logits of the nodes, [B, C - 1]; further columns are not read.
            floor: added to the probability of each branch (the original adds 1e-5).
        """
        classes = self.classes
        left, right = _log_branches(logits[:, : classes - 1].astype(np.float64), floor)
        if jit.enabled():
            from fasttext_app.model.huffman_kernels import path_log_probs

            return path_log_probs(left, right, self.left, self.right)
        scores = np.zeros((len(logits), 2 * classes - 1))
        for nodes in self.levels:
            parent = scores[:, classes + nodes]
            scores[:, self.left[nodes]] = parent + left[:, nodes]
            scores[:, self.right[nodes]] = parent + right[:, nodes]
        return scores[:, :classes].astype(np.float32)

    def best(self, outputs: F64, floor: float = 0.0) -> tuple[int, float]:
        """Return the best class of one text and its log-probability, in compiled code.

        Args:
            outputs: logits of the nodes, [C - 1]; further ones are not read.
            floor: as for :meth:`log_probabilities`.
        """
        from fasttext_app.model.huffman_kernels import best_path, branches, clipped

        logits = outputs[: self.classes - 1]
        if not floor:
            to_left, to_right = _log_branches(logits[None], floor)
            return best_path(to_left, to_right, self.left, self.right)
        # As _log_branches() does, with NumPy's exp() and log().
        powers, logs = np.empty(len(logits)), np.empty((2, len(logits)))
        clipped(logits, powers)
        branches(np.exp(powers, powers), floor, logs)
        np.log(logs, logs)
        return best_path(logs[:1], logs[1:], self.left, self.right)

    def paths(self) -> tuple[I64, F32]:
        """Return the path to each class: its nodes and its codes, [C, depth] each.

        A code is 1 for a branch to the right, -1 to the left, and 0 past the end of the path.
        """
        paths: list[list[tuple[int, int]]] = [[] for _ in range(2 * self.classes - 1)]
        for nodes in self.levels:
            for node in nodes.tolist():
                for children, code in ((self.left, -1), (self.right, 1)):
                    paths[children[node]] = [*paths[self.classes + node], (node, code)]
        depth = max(map(len, paths[: self.classes]))
        path_nodes = np.zeros((self.classes, depth), np.int64)
        codes = np.zeros((self.classes, depth), np.float32)
        for class_id, path in enumerate(paths[: self.classes]):
            for step, (node, code) in enumerate(path):
                path_nodes[class_id, step], codes[class_id, step] = node, code
        return path_nodes, codes


def _log_branches(logits: F64, floor: float) -> tuple[F64, F64]:
    """Return the log-probability of branching left, and right, at each node."""
    if not floor:
        return -np.logaddexp(0, logits), -np.logaddexp(0, -logits)
    branches = np.empty((2, *logits.shape))
    left, right = branches
    np.negative(logits, right)
    np.minimum(right, 700, out=right)  # exp() overflows at 709
    np.exp(right, right)
    right += 1
    np.reciprocal(right, right)
    np.subtract(1 + floor, right, left)
    right += floor
    np.log(branches, branches)
    return left, right


def _levels(left: I64, right: I64) -> list[I64]:
    classes = len(left) + 1
    levels, nodes = [], np.array([len(left) - 1] if len(left) else [], np.int64)
    while len(nodes):
        levels.append(nodes)
        below = np.concatenate((left[nodes], right[nodes]))
        nodes = np.sort(below[below >= classes] - classes)
    return levels

"""The hierarchical softmax in compiled code; ``model/huffman.py`` has the same in NumPy."""

from __future__ import annotations

import numpy as np

from fasttext_app.core.arrays import F32, F64, I64
from fasttext_app.core.jit import compiled


@compiled
def path_log_probs(to_left: F64, to_right: F64, left: I64, right: I64) -> F32:
    """Sum the log-probabilities of the branches on the path to each class, [B, C].

    Args:
        to_left: log-probability of branching left at each node, [B, C - 1].
        to_right: log-probability of branching right at each node, [B, C - 1].
        left: left child of each node: a class, or C + a node with a lower index, [C - 1].
        right: right child of each node, [C - 1].

    The root (node 1) leads to node 0 and class 0; node 0 leads to classes 2 and 1:

    >>> to_left, to_right = np.log([[0.5, 0.2]]), np.log([[0.5, 0.8]])
    >>> log_probs = path_log_probs(to_left, to_right, np.array([2, 3]), np.array([1, 0]))
    >>> np.exp(log_probs).round(2).tolist()
    [[0.8..., 0.1..., 0.1...]]
    """
    classes = len(left) + 1
    scores = np.empty((len(to_left), classes), np.float32)
    node_scores = np.zeros(max(classes - 1, 1))  # the root keeps 0, the log of 1
    for text in range(len(to_left)):
        scores[text, 0] = 0  # for a tree of one class, which has no node
        # From the root down: a parent always has a higher index than its children.
        for node in range(classes - 2, -1, -1):
            for child, log_prob in (
                (left[node], to_left[text, node]),
                (right[node], to_right[text, node]),
            ):
                total = node_scores[node] + log_prob
                if child < classes:
                    scores[text, child] = total
                else:
                    node_scores[child - classes] = total
    return scores


@compiled
def clipped(logits: F64, powers: F64) -> None:
    """Write the negated logits of the nodes, [C - 1], which :func:`branches` takes the exp() of."""
    for node in range(len(logits)):
        powers[node] = min(-logits[node], 700.0)  # exp() overflows at 709


@compiled
def branches(powers: F64, floor: float, probabilities: F64) -> None:
    """Write the probability of branching left and right at each node, [2, C - 1].

    Args:
        powers: the exponentials of the negated logits.
        floor: added to each probability.
        probabilities: takes them.
    """
    for node in range(len(powers)):
        right = 1 / (powers[node] + 1)
        probabilities[0, node] = 1 + floor - right
        probabilities[1, node] = right + floor


@compiled
def best_path(to_left: F64, to_right: F64, left: I64, right: I64) -> tuple[int, float]:
    """Return the first of the best classes of one text, and its log-probability.

    The arguments are those of :func:`path_log_probs`, with one row.
    """
    scores = path_log_probs(to_left, to_right, left, right)[0]
    best = 0
    for class_id in range(len(scores)):
        if scores[class_id] > scores[best] or scores[best] != scores[best]:
            best = class_id
    return best, float(scores[best])

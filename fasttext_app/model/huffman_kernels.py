"""The hierarchical softmax in compiled code; ``model/huffman.py`` does the same in NumPy."""

from __future__ import annotations

import numpy as np

from fasttext_app.core.arrays import F32, F64, I64
from fasttext_app.core.jit import compiled


@compiled
def path_log_probs(to_left: F64, to_right: F64, left: I64, right: I64) -> F32:
    """Add up the log-probabilities of the turns on the way to each class, [B, C].

    Args:
        to_left: of a turn to the left at each node, [B, C - 1].
        to_right: of one to the right.
        left: where each node leads to: a class, or C + a node below it in number, [C - 1].
        right: the same on its other side.
    """
    classes = len(left) + 1
    scores = np.empty((len(to_left), classes), np.float32)
    above = np.zeros(max(classes - 1, 1))
    for text in range(len(to_left)):
        scores[text, 0] = 0  # of a lone class
        for node in range(classes - 2, -1, -1):
            for place, share in (
                (left[node], to_left[text, node]),
                (right[node], to_right[text, node]),
            ):
                total = above[node] + share
                if place < classes:
                    scores[text, place] = total
                else:
                    above[place - classes] = total
    return scores

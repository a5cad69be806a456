"""Token dropout in compiled code, with the same hash as ``training/token_dropout.py``."""

from __future__ import annotations

import numpy as np

from fasttext_app.core.arrays import GOLDEN, I32
from fasttext_app.core.bits import mix_word
from fasttext_app.core.jit import compiled


@compiled
def keep_ids(from_ids: I32, to_ids: I32, dropped: int, key: np.uint64, text: int) -> int:
    """Copy the ids of a text that are not dropped; return how many there are.

    >>> ids, kept = np.arange(5, dtype=np.int32), np.empty(5, np.int32)
    >>> count = keep_ids(ids, kept, 1 << 31, np.uint64(8), 0)  # drops half of all ids
    >>> kept[:count].tolist()
    [1, 2, 3, 4]
    """
    text_hash, kept = mix_word(key + np.uint64(text) * GOLDEN), 0
    for position in range(len(from_ids)):
        # An id is dropped if the upper half of its hash, uniform in [0, 2^32), is below `dropped`.
        upper_half = mix_word(text_hash + np.uint64(position) * GOLDEN) >> np.uint64(32)
        if upper_half >= np.uint64(dropped):
            to_ids[kept] = from_ids[position]
            kept += 1
    return kept

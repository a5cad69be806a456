"""Distinct ids numbered in compiled code, with memory for the ids and not for the whole table."""

from __future__ import annotations

import numpy as np

from fasttext_app.core.arrays import I32
from fasttext_app.core.jit import compiled


@compiled
def number_ids(ids: I32) -> tuple[I32, I32]:
    """Number the distinct ids in order of first appearance.

    Returns:
        The distinct ids, and the number of each id.

    >>> distinct, numbers = number_ids(np.array([7, 2, 7, 2, 9], np.int32))
    >>> distinct.tolist(), numbers.tolist()
    ([7, 2, 9], [0, 1, 0, 1, 2])
    """
    # A hash table with open addressing, at most half full.
    bits = 1
    while 1 << bits < 2 * len(ids):
        bits += 1
    slots = np.full(1 << bits, -1, np.int32)
    distinct, numbers = np.empty(len(ids), np.int32), np.empty(len(ids), np.int32)
    count = 0
    for i in range(len(ids)):
        # The high bits of a product with 2^32 / golden ratio spread neighboring ids.
        slot = ((np.int64(ids[i]) * 2654435769) & 0xFFFFFFFF) >> (32 - bits)
        while slots[slot] >= 0 and distinct[slots[slot]] != ids[i]:
            slot = (slot + 1) & ((1 << bits) - 1)
        if slots[slot] < 0:
            slots[slot], distinct[count] = count, ids[i]
            count += 1
        numbers[i] = slots[slot]
    return distinct[:count], numbers

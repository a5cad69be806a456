"""Compiled code for bags of ids."""

from __future__ import annotations

import numpy as np

from fasttext_app.core.arrays import GOLDEN, I64, U64, Array
from fasttext_app.core.bits import mix_word
from fasttext_app.core.jit import compiled


@compiled
def hash_bags(ids: Array, offsets: I64) -> U64:
    """Return the sum of a random 64-bit number for each id of a bag, [B].

    The numbers of the ids 0, 1, 2, ... are the outputs of SplitMix64 from the state 0 on.

    >>> ids, offsets = np.array([0, 1], np.int32), np.array([0, 1, 1, 2])
    >>> [hex(number) for number in hash_bags(ids, offsets)]
    ['0xe220a8397b1dcdaf', '0x0', '0x6e789e6aa1b965f4']
    """
    hashes = np.zeros(len(offsets) - 1, np.uint64)
    one = np.uint64(1)
    for bag in range(len(hashes)):
        total = np.uint64(0)
        for index in range(offsets[bag], offsets[bag + 1]):
            total += mix_word((np.uint64(ids[index]) + one) * GOLDEN)
        hashes[bag] = total
    return hashes

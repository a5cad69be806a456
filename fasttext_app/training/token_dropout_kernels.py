"""Token dropout in compiled code: ids that a hash leaves out; see `training/token_dropout.py`."""

from __future__ import annotations

import numpy as np

from fasttext_app.core.arrays import I32
from fasttext_app.core.jit import compiled

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # steps of it go through all 64-bit numbers


@compiled
def mix_bits(number: np.uint64) -> np.uint64:
    """Scramble a number; the finalizer of SplitMix64 (Steele, Lea and Flood, 2014)."""
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


@compiled
def keep_ids(from_ids: I32, to_ids: I32, dropped: int, key: np.uint64, text: int) -> int:
    """Copy the ids of a text that are not left out; return how many they are."""
    of_text, kept = mix_bits(key + np.uint64(text) * GOLDEN), 0
    for place in range(len(from_ids)):
        drawn = mix_bits(of_text + np.uint64(place) * GOLDEN) >> np.uint64(32)
        if drawn >= np.uint64(dropped):
            to_ids[kept] = from_ids[place]
            kept += 1
    return kept

"""Token dropout: which ids of training texts are left out, at each visit anew.

A hash of the seed, the epoch, the text and the id's place in it decides, and no generator with a
state: so it does not matter in what order and on how many threads batches are cut, nor where a run
was gone on with. The compiled code in ``token_dropout_kernels`` has the same hash.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # of SplitMix64's finalizer
BITS_64 = (1 << 64) - 1


@dataclass(frozen=True)
class TokenDropout:
    """Leaves ids out.

    >>> of_epoch = TokenDropout(rate=0.5, key=8).within(1)
    >>> of_epoch.kept(torch.tensor([0, 0, 0, 0, 0]), torch.arange(5)).tolist()
    [True, False, False, False, True]
    """

    rate: float
    """The probability of each id."""
    key: int
    """Of 64 bits; at first the seed of the run."""

    def within(self, part: int) -> TokenDropout:
        """Return the same with draws of its own for a part of the run: an epoch, a shard."""
        return replace(self, key=_mixed((self.key + (part + 1) * GOLDEN) & BITS_64))

    @property
    def dropped(self) -> int:
        """How many of 2^32 ids are left out."""
        return min(round(self.rate * (1 << 32)), (1 << 32) - 1)

    def kept(self, texts: Tensor, places: Tensor) -> Tensor:
        """Say of ids whether they stay.

        Args:
            texts: the text of each, [N].
            places: where each stands in its text, counted from 0, [N].
        """
        golden = _signed(GOLDEN)
        of_texts = _mix(texts.to(torch.int64) * golden + _signed(self.key))
        return _shifted(_mix(of_texts + places * golden), 32) >= self.dropped


def _mixed(number: int) -> int:
    number = ((number ^ (number >> 30)) * FIRST) & BITS_64
    number = ((number ^ (number >> 27)) * SECOND) & BITS_64
    return number ^ (number >> 31)


def _mix(numbers: Tensor) -> Tensor:
    """Do the same in 64-bit integers, whose products wrap around."""
    numbers = (numbers ^ _shifted(numbers, 30)) * _signed(FIRST)
    numbers = (numbers ^ _shifted(numbers, 27)) * _signed(SECOND)
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: Tensor, bits: int) -> Tensor:
    """Shift to the right as if there were no sign."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number

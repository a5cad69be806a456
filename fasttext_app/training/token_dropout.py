"""Token dropout: drop random ids of training texts, different ones in each epoch.

A hash of seed, epoch, text and the id's position in the text decides, not a stateful generator. So
the result depends neither on the order and the threads in which batches are cut, nor on where a run
was resumed. The compiled code in ``token_dropout_kernels`` computes the same hash.
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
    """Decides which ids to drop.

    >>> of_epoch = TokenDropout(rate=0.5, key=8).within(1)
    >>> of_epoch.kept(torch.tensor([0, 0, 0, 0, 0]), torch.arange(5)).tolist()
    [True, False, False, False, True]
    """

    rate: float
    """The probability that an id is dropped."""
    key: int
    """64 bits that seed the hash; at first the seed of the run."""

    def within(self, part: int) -> TokenDropout:
        """Return the dropout of one part of the run, an epoch or a shard, with a key of its own."""
        return replace(self, key=_mixed((self.key + (part + 1) * GOLDEN) & BITS_64))

    @property
    def dropped(self) -> int:
        """The hash below which an id is dropped: ``rate`` times 2^32."""
        return min(round(self.rate * (1 << 32)), (1 << 32) - 1)

    def kept(self, texts: Tensor, places: Tensor) -> Tensor:
        """Return True for each id that is not dropped, [N].

        Args:
            texts: the text of each id, [N].
            places: the position of each id in its text, from 0, [N].
        """
        golden = _signed(GOLDEN)
        of_texts = _mix(texts.to(torch.int64) * golden + _signed(self.key))
        return _shifted(_mix(of_texts + places * golden), 32) >= self.dropped


def _mixed(number: int) -> int:
    number = ((number ^ (number >> 30)) * FIRST) & BITS_64
    number = ((number ^ (number >> 27)) * SECOND) & BITS_64
    return number ^ (number >> 31)


def _mix(numbers: Tensor) -> Tensor:
    """Return ``_mixed`` of each number; 64-bit products wrap around."""
    numbers = (numbers ^ _shifted(numbers, 30)) * _signed(FIRST)
    numbers = (numbers ^ _shifted(numbers, 27)) * _signed(SECOND)
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: Tensor, bits: int) -> Tensor:
    """Shift right as if the numbers were unsigned."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number

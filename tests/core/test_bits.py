"""Bits of 64-bit words in compiled code agree with Python's whole numbers."""

from __future__ import annotations

import numpy as np
import pytest

from fasttext_app.core import bits
from fasttext_app.core.jit import compiled
from fasttext_app.text.kernels import MOST, _remainder

WORDS = [0, 1, 2, 3, 6, 255, 2**31 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 2, 2**64 - 1]
WORDS += np.random.default_rng(0).integers(0, 2**64, 20, dtype=np.uint64).tolist()


@compiled
def _bits(word, other):
    zeros, ones = bits.trailing_zeros(word), bits.set_bits(word)
    return zeros, ones, bits.high_product(word, other)


@compiled
def _copied(data, source, target):
    word = bits.load_word(data, source)
    bits.store_half(data, target, np.uint32(word & np.uint64(0xFFFFFFFF)))
    return word


@compiled
def _rest(value, divisor):
    return _remainder(value, divisor, MOST // divisor)


@pytest.mark.slow
def test_bits_of_words():
    for word in WORDS:
        for other in WORDS:
            zeros, ones, product = map(int, _bits(np.uint64(word), np.uint64(other)))
            assert zeros == ((word & -word).bit_length() - 1 if word else 64)
            assert ones == word.bit_count()
            assert product == word * other >> 64


@pytest.mark.slow
def test_eight_bytes_are_read_and_four_written_at_any_place():
    data = np.arange(20, dtype=np.uint8)
    assert int(_copied(data, 3, 13)) == int.from_bytes(bytes(range(3, 11)), "little")
    assert data.tolist() == [*range(13), 3, 4, 5, 6, 17, 18, 19]


@pytest.mark.slow
def test_a_remainder_without_a_division_is_exact():
    divisors = [1, 2, 3, 97, 1000, 2_000_000, 2**31 - 1, 2**32 - 1]
    for divisor in divisors:
        for value in [*WORDS, *(divisor * 12345 + step for step in (-1, 0, 1))]:
            assert int(_rest(np.uint64(value), np.uint64(divisor))) == value % divisor

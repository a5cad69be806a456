"""Rows as they are kept between tokenising and encoding."""

import numpy as np
import pyarrow as pa
import pytest

from fasttext_app.config import resolve
from fasttext_app.text.spool import Spool
from fasttext_app.tokenised_rows import FEW_WORDS, tokenise
from fasttext_app.training_rows import Examples


@pytest.mark.parametrize("words", [10, FEW_WORDS, FEW_WORDS + 1])
def test_a_part_of_any_number_of_words_gives_back_its_tokens(words: int) -> None:
    numbers = [*range(words), 0, words - 1]
    lines = [" ".join(f"w{number}" for number in numbers[start::7]) for start in range(7)]
    table = pa.table({"text": lines, "label": ["a"] * 7})
    part, *others = tokenise(resolve(), Examples(table), Spool(2**40)).parts
    assert not others
    tokens = part.tokens(np.ones(7, bool))
    assert tokens.codes.dtype == np.int32
    assert tokens.to_lists() == [line.split() for line in lines]
    some = part.tokens(np.arange(7) % 2 == 0)
    assert some.to_lists() == [line.split() for line in lines[::2]]
    assert (part.codes().indices.itemsize == 2) == (words <= FEW_WORDS)

"""Arrow columns and their buffers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.core.arrow import rows_with, string_array

TEXTS = st.lists(st.text(alphabet="a|é\\", max_size=4), max_size=8)


@given(TEXTS, st.integers(0, 8), st.integers(0, 8))
@settings(deadline=None, max_examples=150)
def test_rows_with_a_sign_are_those_that_python_finds(texts, start, rows):
    column = string_array(texts).slice(min(start, len(texts)), rows)
    for sign in "|\\":
        assert rows_with(column, sign).tolist() == [sign in text for text in column.to_pylist()]


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_texts_without_bytes_have_no_sign(texts):
    assert rows_with(string_array(texts), "|").tolist() == [False] * len(texts)

"""Conversions of Arrow columns."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.core.arrow import rows_containing, string_array

TEXTS = st.lists(st.text(alphabet="a|é\\", max_size=4), max_size=8)


@pytest.mark.slow
@given(TEXTS, st.integers(0, 8), st.integers(0, 8))
@settings(deadline=None, max_examples=60)
def test_rows_containing_finds_the_same_rows_as_python(texts, start, rows):
    column = string_array(texts).slice(min(start, len(texts)), rows)
    for character in "|\\":
        expected = [character in text for text in column.to_pylist()]
        assert rows_containing(column, character).tolist() == expected


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_rows_containing_accepts_columns_without_bytes(texts):
    assert rows_containing(string_array(texts), "|").tolist() == [False] * len(texts)

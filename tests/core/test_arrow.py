"""Conversions of Arrow columns."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.core.arrow import FEW_STRINGS, JOINED_STRINGS, rows_containing, string_array

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


@pytest.mark.parametrize("rows", [0, 3, FEW_STRINGS + 1, JOINED_STRINGS + 1, 2 * JOINED_STRINGS])
@pytest.mark.parametrize("odd", ["", "é", "日本", "😀", "a\0b", "\0", None])
def test_any_number_of_strings_become_the_column_that_arrow_makes(rows, odd):
    texts = ["to", odd, "be", ""] * (rows // 4) + ["end", odd, odd][: rows % 4]
    column = string_array(texts)
    column.validate(full=True)
    assert column.equals(pa.array(texts, pa.string()))


@pytest.mark.parametrize("rows", [1, 2 * FEW_STRINGS, JOINED_STRINGS + 1])
@pytest.mark.parametrize(
    ("odd", "error"), [(b"be", TypeError), (3, TypeError), ("\ud800", UnicodeEncodeError)]
)
def test_what_is_not_a_string_of_unicode_is_refused(rows, odd, error):
    with pytest.raises(error):
        string_array(["to"] * (rows - 1) + [odd])

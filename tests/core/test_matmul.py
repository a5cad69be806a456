"""The matrix product whose rows do not depend on the batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.core.matmul import matmul
from fasttext_app.core.matmul_kernels import FEW_COLUMNS, TILE
from tests.helpers import code_path

COLUMNS = [1, 2, 4, 5, FEW_COLUMNS - 1, FEW_COLUMNS, 100, TILE, TILE + 3]


@pytest.mark.slow
@given(st.integers(0, 6), st.integers(1, 40), st.sampled_from(COLUMNS), st.integers(0, 999))
@settings(deadline=None, max_examples=60)
def test_rows_are_bit_identical_in_any_batch_and_on_both_code_paths(batch, dim, columns, seed):
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(batch, dim)).astype(np.float32)
    matrix = generator.normal(size=(dim, columns)).astype(np.float32)
    with code_path(compiled=True):
        compiled = matmul(vectors, matrix)
        rows = [matmul(vector[None], matrix)[0] for vector in vectors]
    with code_path(compiled=False):
        plain = matmul(vectors, matrix)
    assert compiled.shape == (batch, columns)
    np.testing.assert_array_equal(compiled, plain)
    np.testing.assert_array_equal(compiled, np.array(rows).reshape(batch, columns))
    np.testing.assert_allclose(compiled, vectors @ matrix, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("compiled", [False, True])
def test_each_sum_adds_its_terms_in_order(compiled):
    vectors = np.array([[2**24, 1, 1]], np.float32)
    with code_path(compiled=compiled):
        assert matmul(vectors, np.ones((3, 1), np.float32)) == 2**24
        assert matmul(vectors[:, ::-1].copy(), np.ones((3, 1), np.float32)) == 2**24 + 2

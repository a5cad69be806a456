"""Product codes: decoding is a look-up, and every row gets the nearest centroids there are."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from fasttext_app.errors import MissingDependencyError
from fasttext_app.fasttext.file_format import read_file
from fasttext_app.model import product_quantizer
from fasttext_app.model.product_quantizer import CODES, Coded, Quantizer, encode_rows


def made(rows, dim, width, norms=False, seed=0):
    """Codes and centroids at random."""
    generator = np.random.default_rng(seed)
    parts = -(-dim // width)
    centroids = generator.standard_normal((parts, CODES, width)).astype(np.float32)
    centroids[-1, :, dim - (parts - 1) * width :] = 0
    return Coded(
        generator.integers(0, CODES, (rows, parts)).astype(np.uint8),
        Quantizer(dim, centroids),
        generator.integers(0, CODES, rows).astype(np.uint8) if norms else None,
        generator.random(CODES, np.float32) if norms else None,
    )


CODED = st.builds(
    made,
    st.integers(0, 9),
    st.integers(1, 9),
    st.integers(1, 10),
    st.booleans(),
    st.integers(0, 99),
)


def decoded_from_flat(coded):
    """Decode as the original does: centroids in one flat list, those of the last part shorter."""
    dim, parts, width = coded.quantizer.dim, coded.quantizer.parts, coded.quantizer.width
    last = dim - (parts - 1) * width
    flat = []
    for part, centroids in enumerate(coded.quantizer.centroids):
        used = last if part == parts - 1 else width
        flat += [number for centroid in centroids for number in centroid[:used]]
    rows = []
    for number, codes in enumerate(coded.codes):
        row = []
        for part, code in enumerate(codes.tolist()):
            used = last if part == parts - 1 else width
            start = part * CODES * width + code * used
            row += flat[start : start + used]
        norm = 1 if coded.norm_codes is None else coded.norm_centroids[coded.norm_codes[number]]
        rows.append([norm * value for value in row])
    return np.array(rows, np.float32).reshape(len(coded), dim)


@pytest.mark.slow
@given(CODED)
@settings(deadline=None, max_examples=30)
def test_decoding_is_a_look_up_in_the_flat_layout(coded):
    assert np.array_equal(coded.dense(), decoded_from_flat(coded))
    assert coded.dense().dtype == np.float32


@pytest.mark.slow
@given(CODED, st.data())
@settings(deadline=None, max_examples=30)
def test_some_rows_are_those_of_the_whole(coded, data):
    assert coded.shape == coded.dense().shape
    assert len(coded) == len(coded.codes)
    limit = max(len(coded) - 1, 0)
    numbers = np.array(
        data.draw(st.lists(st.integers(0, limit), max_size=9 * len(coded))), np.int64
    )
    some = coded.dense()[numbers]
    assert np.array_equal(coded[numbers], some)
    assert np.array_equal(coded.take(numbers).dense(), some)
    assert coded.take(numbers).quantizer is coded.quantizer
    assert np.array_equal(coded[1:3], coded.dense()[1:3])


@pytest.mark.parametrize("norms", [False, True])
def test_its_tensors_are_all_that_it_holds(norms):
    coded = made(5, 3, 2, norms)
    tensors = coded.tensors()
    assert coded.nbytes == sum(array.nbytes for array in tensors.values())
    assert coded.dtype == np.uint8
    again = Coded(
        tensors["codes"],
        Quantizer(3, tensors["centroids"]),
        tensors.get("norm_codes"),
        tensors.get("norm_centroids"),
    )
    assert np.array_equal(again.dense(), coded.dense())


# --- encoding


@pytest.fixture(scope="module")
def sklearn():
    return pytest.importorskip("sklearn")


def table_of(rows=300, dim=3, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def bytes_of(coded):
    return {name: array.tobytes() for name, array in coded.tensors().items()}


@pytest.mark.slow
@pytest.mark.parametrize("norms", [False, True])
def test_a_seed_decides_the_codes(sklearn, norms):
    table = table_of(dim=2)
    first, again, other = (encode_rows(table, norms=norms, seed=seed) for seed in (3, 3, 4))
    assert bytes_of(first) == bytes_of(again)
    assert bytes_of(first) != bytes_of(other)


@pytest.mark.slow
def test_a_seed_decides_the_rows_that_centroids_are_found_on(sklearn, monkeypatch):
    monkeypatch.setattr(product_quantizer, "SAMPLES", 300)
    table = table_of(900, 2)
    first, again, other = (encode_rows(table, seed=seed) for seed in (3, 3, 4))
    assert bytes_of(first) == bytes_of(again)
    assert bytes_of(first) != bytes_of(other)
    assert np.square(first.dense() - table).mean() < 0.1


@pytest.mark.slow
def test_rows_are_coded_alike_whatever_the_size_of_a_block(sklearn, monkeypatch):
    table = table_of(300, 2)
    whole = encode_rows(table, norms=True)
    monkeypatch.setattr(product_quantizer, "BLOCK", 7)
    assert bytes_of(encode_rows(table, norms=True)) == bytes_of(whole)


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "width"), [(4, 2), (5, 3), (2, 1), (3, 7)])
def test_the_shapes_of_what_is_coded(sklearn, dim, width):
    coded = encode_rows(table_of(300, dim), width, norms=True)
    parts = -(-dim // width)
    assert coded.shape == (300, dim)
    assert (coded.codes.shape, coded.codes.dtype) == ((300, parts), np.uint8)
    centroids = coded.quantizer.centroids
    assert (centroids.shape, centroids.dtype) == ((parts, CODES, width), np.float32)
    assert not centroids[-1, :, dim - (parts - 1) * width :].any()
    assert coded.norm_codes is not None
    assert coded.norm_centroids is not None
    assert (coded.norm_codes.shape, coded.norm_codes.dtype) == ((300,), np.uint8)
    assert (coded.norm_centroids.shape, coded.norm_centroids.dtype) == ((CODES,), np.float32)


FEW = numpy_strategies.arrays(
    np.float32,
    st.tuples(st.integers(1, 20), st.integers(1, 5)),
    elements=st.integers(-9, 9).map(float),
)


@pytest.mark.slow
@given(FEW, st.integers(1, 6))
@settings(deadline=None, max_examples=30)
def test_few_distinct_rows_are_coded_exactly(sklearn, few, width):
    table = np.resize(few, (300, few.shape[1]))
    assert np.array_equal(encode_rows(table, width).dense(), table)
    np.testing.assert_allclose(encode_rows(table, width, norms=True).dense(), table, atol=1e-5)


def test_as_many_distinct_values_as_codes_are_coded_exactly(sklearn):
    values = np.arange(CODES, dtype=np.float32)
    table = np.stack([values, values[::-1]], axis=1)
    assert np.array_equal(encode_rows(table, 1).dense(), table)
    assert np.array_equal(encode_rows(table, 2).dense(), table)


@pytest.mark.parametrize("start", [1e4, -1e6])
def test_values_far_from_zero_are_coded_exactly(sklearn, start):
    table = (start + np.arange(CODES, dtype=np.float32))[:, None]
    np.testing.assert_array_equal(encode_rows(table).dense(), table)


def test_norms_that_differ_little_are_coded_exactly(sklearn):
    norms = (10 + np.arange(CODES, dtype=np.float32) / 1024)[:, None]
    table = np.pad(norms, ((0, 0), (0, 1)))
    np.testing.assert_array_equal(encode_rows(table, norms=True).dense(), table)


def test_rows_of_zeros_stay_zeros(sklearn):
    table = table_of()
    table[::3] = 0
    for norms in (False, True):
        coded = encode_rows(np.zeros_like(table), norms=norms)
        assert not coded.dense().any()
    coded = encode_rows(table, norms=True)
    assert np.isfinite(coded.dense()).all()
    assert np.abs(coded.dense()[::3]).max() < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "width"), [(4, 2), (5, 3), (2, 1)])
def test_every_part_has_the_code_of_its_nearest_centroid(sklearn, dim, width):
    table = table_of(400, dim)
    coded = encode_rows(table, width)
    padded = np.pad(table, ((0, 0), (0, -dim % width))).astype(np.float64)
    for part, centroids in enumerate(coded.quantizer.centroids):
        values = padded[:, part * width : (part + 1) * width]
        distances = np.square(values[:, None] - centroids).sum(axis=2)
        chosen = distances[np.arange(len(table)), coded.codes[:, part]]
        np.testing.assert_allclose(chosen, distances.min(axis=1), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
def test_the_error_is_small_beside_the_values(sklearn, norms, scale):
    table = (table_of(900, 2) * scale).astype(np.float32)
    coded = encode_rows(table, norms=norms)
    assert np.square((coded.dense() - table) / scale).mean() < 0.02


@pytest.mark.slow
def test_even_values_are_off_by_about_a_step(sklearn):
    table = np.random.default_rng(0).random((2000, 1)).astype(np.float32)
    error = np.abs(encode_rows(table, 1).dense() - table)
    assert error.mean() < 1 / CODES
    assert error.max() < 4 / CODES


@pytest.mark.slow
def test_the_error_is_about_that_of_the_original(sklearn, tmp_path):
    fasttext = pytest.importorskip("fasttext")
    generator = np.random.default_rng(0)
    words = generator.integers(0, 900, (200, 8)).tolist()
    lines = [f"__label__{row[0] % 3} " + " ".join(f"w{word}" for word in row) for row in words]
    (tmp_path / "texts.txt").write_text("\n".join(lines))
    options = {"epoch": 1, "thread": 1, "verbose": 0, "dim": 5}
    model = fasttext.train_supervised(str(tmp_path / "texts.txt"), **options)
    table = model.get_input_matrix()
    model.quantize(str(tmp_path / "texts.txt"), thread=1)
    model.save_model(str(tmp_path / "model.ftz"))
    theirs = read_file(tmp_path / "model.ftz").input
    error, reached = (np.square(coded[:] - table).mean() for coded in (encode_rows(table), theirs))
    assert error < 1.1 * reached


@pytest.mark.parametrize("norms", [False, True])
def test_without_scikit_learn_it_is_asked_for(monkeypatch, norms):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingDependencyError) as caught:
        encode_rows(table_of(), norms=norms)
    assert "needs the package scikit-learn; pip install -c constraints.txt '.[fasttext]'" in str(
        caught.value
    )

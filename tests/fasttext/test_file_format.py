"""fastText's files: what is written reads back, the original reads it, and damage is an error."""

from __future__ import annotations

import errno
import io
import os
import struct
import tracemalloc
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.errors import ArtifactError
from fasttext_app.fasttext.file_format import (
    Args,
    Dictionary,
    FastTextFile,
    read_file,
    write_file,
)
from fasttext_app.model import product_quantizer
from fasttext_app.model.product_quantizer import CODES, Coded, Quantizer

CBOW, SKIPGRAM, SUPERVISED = 1, 2, 3
LOSSES = {"hs": 1, "ns": 2, "softmax": 3, "ova": 4}
SMALL_FILE_PEAK = 20_000_000  # bytes of memory allowed for reading a few kilobytes


@pytest.fixture(scope="module", autouse=True)
def no_fsync():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: None)
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("models") / "model.bin"


def matrix_contents(matrix):
    if not isinstance(matrix, Coded):
        return matrix.dtype.str, matrix.shape, matrix.tobytes()
    arrays = matrix.codes, matrix.quantizer.centroids, matrix.norm_codes, matrix.norm_centroids
    return matrix.shape, [
        None if array is None else (array.dtype.str, array.shape, array.tobytes())
        for array in arrays
    ]


def contents(model):
    """Everything that a file holds, in a form that can be compared."""
    dictionary = model.dictionary
    counts = dictionary.word_counts, dictionary.label_counts
    assert {c.dtype for c in counts} == {np.dtype(np.int64)}
    pruneidx = dictionary.pruneidx
    assert pruneidx is None or pruneidx.dtype == np.int32
    return (
        astuple(model.args),
        (dictionary.words, dictionary.labels, *(c.tolist() for c in counts)),
        (dictionary.tokens, None if pruneidx is None else pruneidx.tolist()),
        matrix_contents(model.input),
        matrix_contents(model.output),
    )


def random_dense(generator, rows, dim):
    return np.frombuffer(generator.bytes(4 * rows * dim), "<f4").reshape(rows, dim)


def random_codes(generator, rows, dim, width, norms=False):
    parts = -(-dim // width)
    centroids = generator.standard_normal((parts, CODES, width)).astype(np.float32)
    centroids[-1, :, dim - (parts - 1) * width :] = 0
    norm_codes = generator.integers(0, CODES, rows).astype(np.uint8) if norms else None
    return Coded(
        generator.integers(0, CODES, (rows, parts)).astype(np.uint8),
        Quantizer(dim, centroids),
        norm_codes,
        generator.random(CODES, np.float32) if norms else None,
    )


def random_pruneidx(generator, bucket):
    buckets = np.flatnonzero(generator.random(bucket) < 0.5)
    rows = generator.permutation(len(buckets))
    return np.stack([buckets, rows], axis=1).astype(np.int32)


I32 = st.integers(-(2**31), 2**31 - 1)
NAMES = st.lists(
    st.binary(max_size=5).map(lambda name: name.replace(b"\0", b"")), unique=True, max_size=5
)


@st.composite
def models(draw):
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["dense", "quantized", "pruned"]))
    dim, model = draw(st.integers(1, 7)), draw(st.sampled_from([CBOW, SKIPGRAM, SUPERVISED]))
    words = draw(NAMES)
    labels = draw(NAMES.filter(bool)) if model == SUPERVISED else []
    bucket = draw(st.integers(0 if words else 1, 5))
    pruneidx = random_pruneidx(generator, bucket) if kind == "pruned" and words else None
    input_rows = len(words) + (bucket if pruneidx is None else len(pruneidx))
    output_rows = len(labels) if model == SUPERVISED else len(words)

    def matrix(rows, quantized):
        if kind == "dense" or not quantized:
            return random_dense(generator, rows, dim)
        width, norms = draw(st.integers(1, dim + 1)), draw(st.booleans())
        return random_codes(generator, rows, dim, width, norms)

    return FastTextFile(
        Args(
            *(dim, *draw(st.tuples(I32, I32, I32, I32))),
            draw(st.integers(0, 3)) if bucket else 1,
            draw(st.sampled_from(sorted(LOSSES.values()))),
            *(model, bucket, draw(st.integers(0, 9)), draw(st.integers(0, 9)) if bucket else 0),
            draw(I32),
            draw(st.floats(allow_nan=False, allow_infinity=False)),
        ),
        Dictionary(
            words,
            generator.integers(0, 2**63 - 1, len(words)),
            labels,
            generator.integers(0, 2**63 - 1, len(labels)),
            draw(st.integers(0, 2**63 - 1)),
            pruneidx,
        ),
        matrix(input_rows, True),
        matrix(output_rows, bool(output_rows) and draw(st.booleans())),
    )


@pytest.mark.slow
@given(models())
@settings(deadline=None, max_examples=50)
def test_a_written_file_reads_back_unchanged(path, model):
    write_file(model, path)
    found = read_file(path)
    assert contents(found) == contents(model)
    assert found.supervised is (model.args.model == SUPERVISED)


def one_word(word=b"a", **matrices):
    count = np.ones(1, np.int64)
    zeros = np.zeros((1, 2), np.float32)
    dictionary = Dictionary([word], count, [b"l"], count, tokens=1)
    return FastTextFile(Args(2), dictionary, **{"input": zeros, "output": zeros} | matrices)


def test_a_word_may_be_very_long(path):
    model = one_word(b"\xff" * (1 << 21))
    write_file(model, path)
    assert contents(read_file(path)) == contents(model)


def test_a_file_may_be_written_over_itself(tmp_path):
    path = tmp_path / "model.bin"
    model = one_word()
    write_file(model, path)
    write_file(read_file(path), path)
    assert contents(read_file(str(path))) == contents(model)
    assert list(tmp_path.iterdir()) == [path]


def peak_of(function, *arguments):
    """Return the result of a call, and the most memory that it had allocated at once."""
    tracemalloc.start()
    try:
        return function(*arguments), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_dense_input_matrix_is_mapped_not_copied(path):
    table = np.ones((1 << 18, 16), np.float32)
    model = one_word(input=table, output=table[:1])
    write_file(replace(model, args=Args(16, bucket=len(table) - 1)), path)
    found, peak = peak_of(read_file, path)
    assert np.array_equal(found.input, table)
    assert peak < table.nbytes / 10


# --- the layout, spelled out


def head(**changed):
    values = {"magic": 793712314, "version": 12, "dim": 2, "ws": 5, "epoch": 4, "min_count": 1}
    values |= {"neg": 6, "word_ngrams": 1, "loss": 3, "model": SUPERVISED, "bucket": 2, "minn": 0}
    values |= {"maxn": 0, "lr_update_rate": 100} | changed
    return [*((name, "i", value) for name, value in values.items()), ("t", "d", 1e-4)]


def sizes(words, labels, tokens, pruned):
    counts = {"size": words + labels, "words": words, "labels": labels}
    return [
        *((name, "i", value) for name, value in counts.items()),
        *(("tokens", "q", tokens), ("pruned", "q", pruned)),
    ]


def entry(name, count, kind):
    return [("name", f"{len(name) + 1}s", name + b"\0"), ("count", "q", count), ("kind", "b", kind)]


def size_of_matrix(rows, columns):
    return [("rows", "q", rows), ("columns", "q", columns)]


def quantizer(dim, parts, width, last):
    values = {"dim of quantizer": dim, "parts": parts, "width": width, "last": last}
    return [
        *((name, "i", value) for name, value in values.items()),
        ("centroids", f"{CODES * dim}f", tuple(range(CODES * dim))),
    ]


def packed(layout):
    return b"".join(
        struct.pack(f"<{form}", *(value if isinstance(value, tuple) else (value,)))
        for _, form, value in layout
    )


DENSE = [
    *head(),
    *sizes(2, 2, 20, -1),
    *entry(b"</s>", 7, 0),
    *entry(b"a\xff", 2**40, 0),
    *entry(b"__label__\xc3", 3, 1),
    *entry(b"__label__b", 0, 1),
    *(("quantized", "B", 0), *size_of_matrix(4, 2), ("numbers", "8f", tuple(range(8)))),
    *(("quantized output", "B", 0), *size_of_matrix(2, 2), ("numbers", "4f", (1, 0, -1, 0.5))),
]
QUANTIZED = [
    *head(dim=3, word_ngrams=2, loss=1, bucket=9),
    *sizes(1, 1, 5, 2),
    *entry(b"a", 4, 0),
    *entry(b"b", 1, 1),
    *(("bucket", "i", 8), ("row", "i", 1), ("bucket", "i", 3), ("row", "i", 0)),
    *(("quantized", "B", 1), ("norms", "B", 1), *size_of_matrix(3, 3), ("codes", "i", 6)),
    *(("code", "6B", (0, 1, 2, 3, 4, 255)), *quantizer(3, 2, 2, 1)),
    *(("norm codes", "3B", (5, 6, 255)), *quantizer(1, 1, 1, 1)),
    *(("quantized output", "B", 1), ("norms", "B", 0), *size_of_matrix(1, 3), ("codes", "i", 1)),
    *(("code", "B", 9), *quantizer(3, 1, 4, 3)),
]
LAYOUTS = {"dense": DENSE, "quantized": QUANTIZED}
BYTES = {name: packed(layout) for name, layout in LAYOUTS.items()}


def test_the_layout_of_a_dense_file(path):
    path.write_bytes(BYTES["dense"])
    model = FastTextFile(
        Args(2, 5, 4, 1, 6, bucket=2),
        Dictionary(
            [b"</s>", b"a\xff"],
            np.array([7, 2**40]),
            [b"__label__\xc3", b"__label__b"],
            np.array([3, 0]),
            tokens=20,
        ),
        np.arange(8, dtype=np.float32).reshape(4, 2),
        np.array([[1, 0], [-1, 0.5]], np.float32),
    )
    assert contents(read_file(path)) == contents(model)
    write_file(model, path)
    assert path.read_bytes() == BYTES["dense"]


def test_the_layout_of_a_quantized_file(path):
    path.write_bytes(BYTES["quantized"])
    model = read_file(path)
    assert model.args == Args(3, 5, 4, 1, 6, 2, 1, bucket=9)
    assert model.dictionary.pruneidx is not None
    assert model.dictionary.pruneidx.tolist() == [[8, 1], [3, 0]]
    # The centroids of the first part have 2 values each, those of the second part 1.
    np.testing.assert_array_equal(
        model.input[:],
        [[0 * 5, 1 * 5, 513 * 5], [4 * 6, 5 * 6, 515 * 6], [8 * 255, 9 * 255, 767 * 255]],
    )
    np.testing.assert_array_equal(model.output[:], [[27, 28, 29]])
    write_file(model, path)
    assert path.read_bytes() == BYTES["quantized"]


@pytest.mark.parametrize(("model", "maxn"), [(SUPERVISED, 0), (SKIPGRAM, 6)])
def test_only_classifiers_of_version_11_lose_their_character_ngrams(path, model, maxn):
    rest = DENSE[len(head()) :]
    if model == SKIPGRAM:
        rest = [
            *(*sizes(1, 0, 20, -1), *entry(b"a", 7, 0)),
            *(("quantized", "B", 0), *size_of_matrix(3, 2), ("numbers", "6f", tuple(range(6)))),
            *(("quantized output", "B", 0), *size_of_matrix(1, 2), ("numbers", "2f", (1, 0))),
        ]
    path.write_bytes(packed([*head(version=11, model=model, minn=3, maxn=6), *rest]))
    found = read_file(path)
    assert (found.args.minn, found.args.maxn) == (3, maxn)
    write_file(found, path)
    assert struct.unpack_from("<i", path.read_bytes(), 4) == (12,)
    assert contents(read_file(path)) == contents(found)


# --- the original


@pytest.fixture
def original(monkeypatch):
    """The original library, without its warnings on stderr."""
    fasttext = pytest.importorskip("fasttext")
    monkeypatch.setattr(fasttext.FastText, "eprint", lambda text: None, raising=False)
    return fasttext


def assert_same(theirs, model):
    """Assert that a model of the original holds the contents of a file."""
    dictionary = model.dictionary
    shown = [theirs.get_words(include_freq=True, on_unicode_error="replace")]
    stored = [(dictionary.words, dictionary.word_counts)]
    if model.supervised:
        shown.append(theirs.get_labels(include_freq=True, on_unicode_error="replace"))
        stored.append((dictionary.labels, dictionary.label_counts))
    for (texts, seen), (names, counts) in zip(shown, stored, strict=True):
        assert texts == [name.decode(errors="replace") for name in names]
        assert seen.tolist() == counts.tolist()
    assert theirs.get_dimension() == model.args.dim
    assert theirs.is_quantized() is isinstance(model.input, Coded)
    if isinstance(model.input, Coded):
        rows = [theirs.get_input_vector(row) for row in range(len(model.input))]
        np.testing.assert_array_equal(rows, model.input[:])
    else:
        assert theirs.get_input_matrix().tobytes() == model.input.tobytes()
        assert theirs.get_output_matrix().tobytes() == model.output.tobytes()


def without_pruneidx(model):
    return contents(replace(model, dictionary=replace(model.dictionary, pruneidx=None)))


def assert_original_reads(original, model, folder):
    """Assert that the original reads a file written here, and writes the same bytes."""
    ours, theirs = folder / "ours.bin", folder / "theirs.bin"
    write_file(model, ours)
    found = original.load_model(str(ours))
    assert_same(found, model)
    found.save_model(str(theirs))
    pruneidx = model.dictionary.pruneidx
    if pruneidx is None:
        assert theirs.read_bytes() == ours.read_bytes()
    else:  # the original writes the pruned buckets in any order
        again = read_file(theirs)
        assert sorted(again.dictionary.pruneidx.tolist()) == sorted(pruneidx.tolist())
        assert without_pruneidx(again) == without_pruneidx(model)


def small_model(generator, loss, model=SUPERVISED, dim=5, bucket=4, pruneidx=None, **matrices):
    words = [b"</s>", b"one", b"\xfftwo", b"drei"]
    labels = [b"__label__a", b"__label__\xfe", b"__label__c"] if model == SUPERVISED else []
    dense = {
        "input": generator.random((len(words) + bucket, dim), np.float32),
        "output": generator.random((len(labels or words), dim), np.float32),
    }
    counts = np.array([9, 8, 8, 1]), np.arange(len(labels), 0, -1)
    return FastTextFile(
        Args(dim, word_ngrams=2, loss=LOSSES[loss], model=model, bucket=bucket),
        Dictionary(words, counts[0], labels, counts[1], 26, pruneidx),
        **(dense | matrices),
    )


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("model", [SUPERVISED, SKIPGRAM])
def test_the_original_reads_a_dense_file(original, tmp_path, loss, model):
    assert_original_reads(original, small_model(np.random.default_rng(0), loss, model), tmp_path)


@pytest.mark.parametrize("width", [1, 2, 5, 7])
@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("pruned", [False, True])
def test_the_original_reads_a_quantized_file(original, tmp_path, width, norms, pruned):
    generator, dim, bucket = np.random.default_rng(0), 5, 6
    pruneidx = random_pruneidx(generator, bucket) if pruned else None
    rows = 4 + (bucket if pruneidx is None else len(pruneidx))
    table = random_codes(generator, rows, dim, width, norms)
    output = {"output": random_codes(generator, 3, dim, width, norms)} if width != 2 else {}
    model = small_model(
        generator, "softmax", bucket=bucket, pruneidx=pruneidx, input=table, **output
    )
    assert_original_reads(original, model, tmp_path)


@pytest.fixture
def texts(tmp_path):
    """A file of labeled texts with words that are not UTF-8."""
    path, generator = tmp_path / "texts.txt", np.random.default_rng(0)
    lines = [
        b"__label__%d " % (number % 5) + b" ".join(b"w\xff%d" % word for word in words)
        for number, words in enumerate(generator.integers(0, 200, (150, 6)).tolist())
    ]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def assert_reads(theirs, path):
    """Assert that a file of the original reads here with the same contents; return the model."""
    theirs.save_model(str(path))
    model = read_file(path)
    assert_same(theirs, model)
    write_file(model, path.with_suffix(".again"))
    assert path.with_suffix(".again").read_bytes() == path.read_bytes()
    return model


QUICK = {"dim": 5, "epoch": 1, "thread": 1, "bucket": 60, "verbose": 0}


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_a_classifier_of_the_original_is_read(original, tmp_path, texts, loss):
    options = {**QUICK, "wordNgrams": 2, "minn": 2, "maxn": 3}
    theirs = original.train_supervised(str(texts), loss=loss, **options)
    model = assert_reads(theirs, tmp_path / "model.bin")
    assert model.args == Args(5, 5, 1, 1, 5, 2, LOSSES[loss], SUPERVISED, 60, 2, 3)
    assert model.dictionary.tokens == 150 * (1 + 6 + 1)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["hs", "ns", "softmax"])
@pytest.mark.parametrize("model", ["cbow", "skipgram"])
def test_word_vectors_of_the_original_are_read(original, tmp_path, texts, model, loss):
    unlabeled = tmp_path / "unlabeled.txt"
    unlabeled.write_bytes(texts.read_bytes().replace(b"__label__", b"l"))
    theirs = original.train_unsupervised(
        str(unlabeled), model=model, loss=loss, minCount=1, **QUICK
    )
    found = assert_reads(theirs, tmp_path / "model.bin")
    assert not found.supervised
    assert (found.dictionary.labels, len(found.dictionary.label_counts)) == ([], 0)


@pytest.mark.slow
def test_word_vectors_trained_on_labeled_texts_keep_the_labels(original, tmp_path, texts):
    theirs = original.train_unsupervised(str(texts), minCount=1, **QUICK)
    model = assert_reads(theirs, tmp_path / "model.bin")
    assert not model.supervised
    assert sorted(model.dictionary.labels) == [b"__label__%d" % number for number in range(5)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"qnorm": True, "dsub": 3},
        {"cutoff": 280, "dsub": 5},
        {"cutoff": 270, "qnorm": True, "dsub": 9},
        {"qout": True, "qnorm": True},
    ],
)
def test_a_quantized_file_of_the_original_is_read(original, tmp_path, texts, options):
    if "qout" in options:
        texts.write_text("".join(f"__label__{number} w{number % 9}\n" for number in range(300)))
    theirs = original.train_supervised(str(texts), wordNgrams=2, **{**QUICK, "bucket": 400})
    theirs.quantize(str(texts), thread=1, **options)
    model = assert_reads(theirs, tmp_path / "model.ftz")
    assert isinstance(model.input, Coded)
    assert (model.input.norm_codes is not None) is options.get("qnorm", False)
    assert isinstance(model.output, Coded) is options.get("qout", False)
    assert len(model.input) == options.get("cutoff", len(model.dictionary.words) + 400)
    assert (model.dictionary.pruneidx is not None) is ("cutoff" in options)


# --- damage


def outcome(path, data):
    """Read bytes as a file; return the reason of the error, or None if they are a model.

    Whatever the bytes are, no other error is raised and little memory is used. If they are a model,
    none of them is ignored.
    """

    def try_to_read():
        try:
            return read_file(path)
        except ArtifactError as error:
            return error

    path.write_bytes(data)
    found, peak = peak_of(try_to_read)
    assert peak < SMALL_FILE_PEAK
    if isinstance(found, ArtifactError):
        start = f"{path}: is not a valid fastText model: "
        assert str(found).startswith(start)
        return str(found).removeprefix(start)
    again = path.with_suffix(".again")
    write_file(found, again)
    assert again.stat().st_size == len(data)
    assert contents(read_file(again)) == contents(found)
    return None


def field_bytes(layout):
    """Yield (index of the first byte, number of bytes, form) of each field."""
    start = 0
    for _, form, _ in layout:
        size = struct.calcsize(f"<{form}")
        yield start, size, form
        start += size


def cuts(layout):
    """The sizes at which a file is cut: everywhere, but only near the ends of long arrays."""
    for start, size, _ in field_bytes(layout):
        for offset in range(size):
            if offset < 9 or offset >= size - 9:
                yield start + offset


@pytest.mark.slow
@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_truncated_file_is_refused(path, kind):
    assert outcome(path, BYTES[kind]) is None
    for size in sorted(cuts(LAYOUTS[kind]), reverse=True):
        os.truncate(path, size)
        with pytest.raises(ArtifactError):
            read_file(path)


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_bytes_after_the_end_are_refused(path, kind, size):
    assert outcome(path, BYTES[kind] + bytes(size)) == f"{size} bytes follow its end"


def fits(form, value):
    try:
        struct.pack(f"<{form}", value)
    except struct.error:
        return False
    return True


EDGES = [0, 1, 2, 127, 255, 256, 2**24, 2**31 - 1, 2**32, 2**61, 2**62, 2**63 - 1]


def other_values(form, value):
    """The values that an integer of the layout is changed to."""
    near = [value - 1, value + 1, 2 * value]
    candidates = {*near, *EDGES, -1, -(2**31), -(2**32), -(2**61), -(2**63)} - {value}
    return sorted(candidate for candidate in candidates if fits(form, candidate))


# Fields that may have other values in a valid file.
FREE = {
    *("version", "ws", "epoch", "min_count", "neg", "word_ngrams", "loss", "model", "bucket"),
    *("minn", "maxn", "lr_update_rate", "tokens", "count", "row", "code", "width"),
    "quantized output",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_changed_integer_is_refused_or_harmless(path, kind):
    layout = LAYOUTS[kind]
    for index, (name, form, value) in enumerate(layout):
        if form not in {"i", "q", "b", "B"}:
            continue
        for other in other_values(form, value):
            data = packed([*layout[:index], (name, form, other), *layout[index + 1 :]])
            reason = outcome(path, data)
            assert reason is not None or name in FREE, f"{name} = {other} is accepted"


@pytest.mark.slow
@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_changed_byte_is_refused_or_harmless(path, kind):
    for start, size, form in field_bytes(LAYOUTS[kind]):
        if form.endswith("f"):
            continue  # any bytes are floats
        for index in range(start, start + size):
            data = bytearray(BYTES[kind])
            for value in {0x00, 0xFF} - {data[index]}:
                data[index] = value
                outcome(path, data)


EDITS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 160), st.integers(0, 20_000)),
        st.integers(0, 9),
        st.one_of(
            st.binary(max_size=9),
            st.integers(-(2**31), 2**31 - 1).map(lambda value: struct.pack("<i", value)),
            st.sampled_from(EDGES).map(lambda value: struct.pack("<q", value)),
        ),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.slow
@given(st.sampled_from(sorted(BYTES)), EDITS)
@settings(deadline=None, max_examples=80)
def test_an_edited_file_is_refused_or_harmless(path, kind, edits):
    data = bytearray(BYTES[kind])
    for index, removed, added in edits:
        index %= len(data) + 1
        data[index : index + removed] = added
    outcome(path, data)


@pytest.mark.slow
@given(models(), EDITS)
@settings(deadline=None, max_examples=50)
def test_any_edited_file_is_refused_or_harmless(path, model, edits):
    write_file(model, path)
    data = bytearray(path.read_bytes())
    for index, _, added in edits:
        index %= len(data)
        data[index : index + len(added)] = added
    outcome(path, data)


@pytest.mark.slow
@given(st.sampled_from([0, 4, 8, 64, 92]), st.binary(max_size=200))
@settings(deadline=None, max_examples=50)
def test_random_bytes_are_refused(path, valid, data):
    assert outcome(path, BYTES["dense"][:valid] + data) is not None


def test_nothing_is_allocated_for_words_that_the_file_is_too_small_for(path):
    layout = [*head(), *sizes(2**31 - 2, 1, 0, -1), ("words", "3000000s", b"\0")]
    assert outcome(path, packed(layout)) == f"its {2**31 - 1} entries do not fit into it"


def test_codes_of_a_matrix_without_rows_are_refused_or_harmless(path):
    layout = [
        *(*head(model=CBOW), *sizes(0, 0, 5, -1)),
        *(("quantized", "B", 1), ("norms", "B", 0), *size_of_matrix(2, 2), ("codes", "i", 2)),
        *(("code", "2B", (0, 1)), *quantizer(2, 1, 2, 2)),
        *(("quantized output", "B", 1), ("norms", "B", 0), *size_of_matrix(0, 2)),
        *(("codes", "i", 0), *quantizer(2, 1, 2, 2)),
    ]
    outcome(path, packed(layout))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"magic": 1}, "it does not begin with fastText's magic number"),
        ({"version": 10}, "it has version 10; only versions 11 and 12 are known"),
        ({"version": 13}, "it has version 13; only versions 11 and 12 are known"),
        ({"dim": 0}, "dim = 0 is out of range"),
        ({"dim": 3}, "the input matrix is 4 x 2 but should be 4 x 3"),
        ({"loss": 5}, "loss = 5 is out of range"),
        ({"model": 4}, "model = 4 is out of range"),
        ({"bucket": 3}, "the input matrix is 4 x 2 but should be 5 x 2"),
        ({"bucket": 0, "word_ngrams": 2}, "it has n-grams but bucket = 0"),
    ],
)
def test_an_error_names_the_reason(path, changed, reason):
    assert outcome(path, packed([*head(**changed), *DENSE[len(head()) :]])) == reason


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("tokens", -1, "its number of tokens, -1, is out of range"),
        ("count", -1, "dictionary entry 0 has a negative count"),
        ("pruned", -2, "its number of pruned buckets, -2, is out of range"),
    ],
)
def test_a_negative_count_is_refused(path, name, value, reason):
    index = [name for name, _, _ in DENSE].index(name)
    layout = [*DENSE[:index], (name, "q", value), *DENSE[index + 1 :]]
    assert outcome(path, packed(layout)) == reason


def test_a_row_needs_a_code_for_each_part(path):
    layout = [
        *(*head(), *sizes(1, 1, 5, -1), *entry(b"a", 4, 0), *entry(b"b", 1, 1)),
        *(("quantized", "B", 1), ("norms", "B", 0), *size_of_matrix(3, 2), ("codes", "i", 6)),
        *(("code", "6B", (0, 1, 2, 3, 4, 5)), *quantizer(2, 1, 2, 2)),
        *(("quantized output", "B", 0), *size_of_matrix(1, 2), ("numbers", "2f", (1, 0))),
    ]
    assert outcome(path, packed(layout)) == "the codes of the input matrix do not fit it"


def test_an_output_matrix_that_expands_is_refused(path, monkeypatch):
    assert outcome(path, BYTES["quantized"]) is None
    monkeypatch.setattr(product_quantizer, "EXPANSION", 0)
    reason = "the output matrix, decoded, takes far more memory than its codes"
    assert outcome(path, BYTES["quantized"]) == reason


@pytest.mark.parametrize("t", [float("nan"), float("inf")])
def test_an_arg_that_is_not_finite_is_refused(path, t):
    layout = [(name, form, t if name == "t" else value) for name, form, value in DENSE]
    assert outcome(path, packed(layout)) == f"t = {t} is out of range"


@pytest.mark.parametrize(
    "pairs",
    [[(8, 0), (8, 1)], [(8, 1), (3, 1)], [(8, 0), (3, 2)], [(9, 0), (3, 1)], [(-1, 0), (3, 1)]],
)
def test_inconsistent_pruned_buckets_are_refused(path, pairs):
    flat = iter([number for pair in pairs for number in pair])
    start = [name for name, _, _ in QUANTIZED].index("quantized") - 4
    layout = [
        (name, form, next(flat) if start <= index < start + 4 else value)
        for index, (name, form, value) in enumerate(QUANTIZED)
    ]
    assert outcome(path, packed(layout)) == "its list of pruned buckets is inconsistent"


def test_a_pruned_dictionary_with_a_dense_matrix_is_refused(path):
    layout = [(name, form, 0 if name == "pruned" else value) for name, form, value in DENSE]
    reason = "its dictionary is pruned but its input matrix is not quantized"
    assert outcome(path, packed(layout)) == reason


def test_an_empty_file_is_refused(path):
    assert outcome(path, b"") == "the file is empty"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.bin", "there is no such file"),
        ("none/none.bin", "there is no such file"),
        ("folder", "is a folder; name a .bin or .ftz file"),
    ],
)
def test_a_path_without_a_file_is_refused(tmp_path, name, reason):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArtifactError) as caught:
        read_file(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: {reason}"


def test_an_unreadable_file_is_refused(path, monkeypatch):
    def forbid(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    path.write_bytes(BYTES["dense"])
    monkeypatch.setattr("fasttext_app.fasttext.file_format.mmap", forbid)
    with pytest.raises(ArtifactError) as caught:
        read_file(path)
    assert str(caught.value) == f"{path}: cannot be read: Permission denied"


# --- failed writes


class SmallDisk(io.FileIO):
    """A file on a disk with room for few bytes."""

    ROOM = 100

    def write(self, data):
        if self.tell() + len(data) > self.ROOM:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def no_room(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupt(*arguments):
    raise KeyboardInterrupt


def test_writing_into_a_missing_folder_is_refused(tmp_path):
    path = tmp_path / "none" / "model.bin"
    with pytest.raises(ArtifactError) as caught:
        write_file(one_word(), path)
    assert str(caught.value) == f"{path}: there is no folder {path.parent}"
    assert list(tmp_path.iterdir()) == []


def test_writing_over_a_folder_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="is a folder; name a file"):
        write_file(one_word(), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert sorted(tmp_path.parent.glob(f".{tmp_path.name}*")) == []


FAULTS = {
    "no room to write": (Path, "open", lambda path, mode: io.BufferedWriter(SmallDisk(path, mode))),
    "no room to sync": (os, "fsync", no_room),
    "no room to rename": (Path, "replace", no_room),
}


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_write_keeps_the_earlier_file(tmp_path, fault, earlier):
    path = tmp_path / "model.bin"
    if earlier:
        write_file(one_word(b"earlier"), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*FAULTS[fault])
        with pytest.raises(ArtifactError) as caught:
            write_file(one_word(b"later" * 5000), path)
    assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    assert list(tmp_path.iterdir()) == [path] * earlier
    if earlier:
        assert read_file(path).dictionary.words == [b"earlier"]


def test_an_interrupted_write_keeps_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "model.bin"
    write_file(one_word(b"earlier"), path)
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(one_word(b"later"), path)
    assert list(tmp_path.iterdir()) == [path]
    assert read_file(path).dictionary.words == [b"earlier"]

"""fastText's files: what is written reads back, the original agrees, and damage is an error."""

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
from fasttext_app.fasttext import file_format as fasttext_file
from fasttext_app.fasttext.file_format import FastTextFile, Settings, read_file, write_file
from fasttext_app.model.product_quantizer import CODES, Coded, Quantizer

CBOW, SKIPGRAM, SUPERVISED = 1, 2, 3
LOSSES = {"hs": 1, "ns": 2, "softmax": 3, "ova": 4}
SMALL_FILE_PEAK = 20_000_000  # bytes of memory that reading and writing a few kilobytes may take


@pytest.fixture(scope="module", autouse=True)
def no_wait_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: None)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
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
    """All that a file holds, to compare."""
    assert (model.word_counts.dtype, model.label_counts.dtype) == (np.int64, np.int64)
    assert model.pruned is None or model.pruned.dtype == np.int32
    return (
        astuple(model.settings),
        (model.words, model.word_counts.tolist(), model.labels, model.label_counts.tolist()),
        (model.tokens, None if model.pruned is None else model.pruned.tolist()),
        matrix_contents(model.input),
        matrix_contents(model.output),
    )


def made_dense(generator, rows, dim):
    return np.frombuffer(generator.bytes(4 * rows * dim), "<f4").reshape(rows, dim)


def made_codes(generator, rows, dim, width, norms=False):
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


def made_pruned(generator, bucket):
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
    pruned = made_pruned(generator, bucket) if kind == "pruned" and words else None
    rows = len(words) + (bucket if pruned is None else len(pruned))
    output_rows = len(labels) if model == SUPERVISED else len(words)

    def matrix(rows, coded):
        if kind == "dense" or not coded:
            return made_dense(generator, rows, dim)
        width, norms = draw(st.integers(1, dim + 1)), draw(st.booleans())
        return made_codes(generator, rows, dim, width, norms)

    return FastTextFile(
        Settings(
            *(dim, *draw(st.tuples(I32, I32, I32, I32))),
            draw(st.integers(0, 3)) if bucket else 1,
            draw(st.sampled_from(sorted(LOSSES.values()))),
            *(model, bucket, draw(st.integers(0, 9)), draw(st.integers(0, 9)) if bucket else 0),
            draw(I32),
            draw(st.floats(allow_nan=False, allow_infinity=False)),
        ),
        words,
        generator.integers(0, 2**63 - 1, len(words)),
        labels,
        generator.integers(0, 2**63 - 1, len(labels)),
        draw(st.integers(0, 2**63 - 1)),
        pruned,
        matrix(rows, True),
        matrix(output_rows, bool(output_rows) and draw(st.booleans())),
    )


@given(models())
@settings(deadline=None)
def test_write_then_read_is_the_identity(place, model):
    write_file(model, place)
    found = read_file(place)
    assert contents(found) == contents(model)
    assert found.supervised is (model.settings.model == SUPERVISED)


@given(models(), st.integers(1, 9))
@settings(deadline=None, max_examples=30)
def test_words_are_found_whatever_the_size_of_a_block(place, model, block):
    write_file(model, place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fasttext_file._Finder, "BLOCK", block)
        assert contents(read_file(place)) == contents(model)


def one_word(word=b"a", **options):
    count = np.ones(1, np.int64)
    table = np.zeros((1, 2), np.float32)
    chosen = {"input": table, "output": table, "pruned": None} | options
    return FastTextFile(Settings(2), [word], count, [b"l"], count, 1, **chosen)


def test_a_word_may_be_longer_than_a_block(place):
    model = one_word(b"\xff" * (fasttext_file._Finder.BLOCK + 1))
    write_file(model, place)
    assert contents(read_file(place)) == contents(model)


def test_a_file_may_be_written_over_itself(tmp_path):
    path = tmp_path / "model.bin"
    model = one_word()
    write_file(model, path)
    write_file(read_file(path), path)
    assert contents(read_file(str(path))) == contents(model)
    assert list(tmp_path.iterdir()) == [path]


def peak_of(act, *arguments):
    """Return what a call returns, and the most memory it had at once."""
    tracemalloc.start()
    try:
        return act(*arguments), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_dense_input_is_mapped(place):
    table = np.ones((1 << 18, 16), np.float32)
    model = one_word(input=table)
    write_file(
        replace(model, settings=Settings(16, bucket=len(table) - 1), output=table[:1]), place
    )
    found, peak = peak_of(read_file, place)
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


def test_the_layout_of_a_dense_file(place):
    place.write_bytes(BYTES["dense"])
    model = FastTextFile(
        Settings(2, 5, 4, 1, 6, bucket=2),
        [b"</s>", b"a\xff"],
        np.array([7, 2**40]),
        [b"__label__\xc3", b"__label__b"],
        np.array([3, 0]),
        20,
        None,
        np.arange(8, dtype=np.float32).reshape(4, 2),
        np.array([[1, 0], [-1, 0.5]], np.float32),
    )
    assert contents(read_file(place)) == contents(model)
    write_file(model, place)
    assert place.read_bytes() == BYTES["dense"]


def test_the_layout_of_a_quantized_file(place):
    place.write_bytes(BYTES["quantized"])
    model = read_file(place)
    assert model.settings == Settings(3, 5, 4, 1, 6, 2, 1, bucket=9)
    assert model.pruned is not None
    assert model.pruned.tolist() == [[8, 1], [3, 0]]
    # of each centroid of the first part 2 numbers, then of each of the second 1
    np.testing.assert_array_equal(
        model.input[:],
        [[0 * 5, 1 * 5, 513 * 5], [4 * 6, 5 * 6, 515 * 6], [8 * 255, 9 * 255, 767 * 255]],
    )
    np.testing.assert_array_equal(model.output[:], [[27, 28, 29]])
    write_file(model, place)
    assert place.read_bytes() == BYTES["quantized"]


@pytest.mark.parametrize(("model", "maxn"), [(SUPERVISED, 0), (SKIPGRAM, 6)])
def test_classifiers_of_version_11_have_no_character_ngrams(place, model, maxn):
    supervised = model == SUPERVISED
    rest = (
        DENSE[len(head()) :]
        if supervised
        else [
            *(*sizes(1, 0, 20, -1), *entry(b"a", 7, 0)),
            *(("quantized", "B", 0), *size_of_matrix(3, 2), ("numbers", "6f", tuple(range(6)))),
            *(("quantized output", "B", 0), *size_of_matrix(1, 2), ("numbers", "2f", (1, 0))),
        ]
    )
    place.write_bytes(packed([*head(version=11, model=model, minn=3, maxn=6), *rest]))
    found = read_file(place)
    assert (found.settings.minn, found.settings.maxn) == (3, maxn)
    write_file(found, place)
    assert struct.unpack_from("<i", place.read_bytes(), 4) == (12,)
    assert contents(read_file(place)) == contents(found)


# --- the original


@pytest.fixture
def original(monkeypatch):
    """The original library, without its warnings on stderr."""
    fasttext = pytest.importorskip("fasttext")
    monkeypatch.setattr(fasttext.FastText, "eprint", lambda text: None, raising=False)
    return fasttext


def assert_same(found, model):
    """Assert that a model of the original holds what a file holds."""
    shown = [found.get_words(include_freq=True, on_unicode_error="replace")]
    held = [(model.words, model.word_counts)]
    if model.supervised:
        shown.append(found.get_labels(include_freq=True, on_unicode_error="replace"))
        held.append((model.labels, model.label_counts))
    for (texts, seen), (names, counts) in zip(shown, held, strict=True):
        assert texts == [name.decode(errors="replace") for name in names]
        assert seen.tolist() == counts.tolist()
    assert found.get_dimension() == model.settings.dim
    assert found.is_quantized() is isinstance(model.input, Coded)
    if isinstance(model.input, Coded):
        rows = [found.get_input_vector(number) for number in range(len(model.input))]
        np.testing.assert_array_equal(rows, model.input[:])
    else:
        assert found.get_input_matrix().tobytes() == model.input.tobytes()
        assert found.get_output_matrix().tobytes() == model.output.tobytes()


def assert_original_reads(original, model, folder):
    """Assert that the original reads what is written here, and would write it alike."""
    ours, theirs = folder / "ours.bin", folder / "theirs.bin"
    write_file(model, ours)
    found = original.load_model(str(ours))
    assert_same(found, model)
    found.save_model(str(theirs))
    if model.pruned is None:
        assert theirs.read_bytes() == ours.read_bytes()
    else:  # they have no order
        again = read_file(theirs)
        assert sorted(again.pruned.tolist()) == sorted(model.pruned.tolist())
        assert contents(replace(again, pruned=None)) == contents(replace(model, pruned=None))


def made_model(generator, loss, model=SUPERVISED, dim=5, bucket=4, **options):
    words = [b"</s>", b"one", b"\xfftwo", b"drei"]
    labels = [b"__label__a", b"__label__\xfe", b"__label__c"] if model == SUPERVISED else []
    matrices = {
        "input": generator.random((len(words) + bucket, dim), np.float32),
        "output": generator.random((len(labels or words), dim), np.float32),
        "pruned": None,
    }
    return FastTextFile(
        Settings(dim, word_ngrams=2, loss=LOSSES[loss], model=model, bucket=bucket),
        words,
        np.array([9, 8, 8, 1]),
        labels,
        np.arange(len(labels), 0, -1),
        26,
        **(matrices | options),
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("model", [SUPERVISED, SKIPGRAM])
def test_the_original_reads_a_dense_file(original, tmp_path, loss, model):
    made = made_model(np.random.default_rng(0), loss, model)
    assert_original_reads(original, made, tmp_path)


@pytest.mark.parametrize("width", [1, 2, 5, 7])
@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("is_pruned", [False, True])
def test_the_original_reads_a_quantized_file(original, tmp_path, width, norms, is_pruned):
    generator, dim, bucket = np.random.default_rng(0), 5, 6
    pruned = made_pruned(generator, bucket) if is_pruned else None
    rows = 4 + (bucket if pruned is None else len(pruned))
    table = made_codes(generator, rows, dim, width, norms)
    output = {"output": made_codes(generator, 3, dim, width, norms)} if width != 2 else {}
    made = made_model(generator, "softmax", bucket=bucket, input=table, pruned=pruned, **output)
    assert_original_reads(original, made, tmp_path)


@pytest.fixture
def texts(tmp_path):
    """A file of labeled texts, some of whose words are no UTF-8."""
    path, generator = tmp_path / "texts.txt", np.random.default_rng(0)
    lines = [
        b"__label__%d " % (number % 5) + b" ".join(b"w\xff%d" % word for word in words)
        for number, words in enumerate(generator.integers(0, 200, (150, 6)).tolist())
    ]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def assert_reads(found, path):
    """Assert that a file of the original holds here what it holds there; return the model."""
    found.save_model(str(path))
    model = read_file(path)
    assert_same(found, model)
    write_file(model, path.with_suffix(".again"))
    assert path.with_suffix(".again").read_bytes() == path.read_bytes()
    return model


QUICK = {"dim": 5, "epoch": 1, "thread": 1, "bucket": 60, "verbose": 0}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_classifier_of_the_original_reads(original, tmp_path, texts, loss):
    options = {**QUICK, "word_ngrams": 2, "minn": 2, "maxn": 3}
    options["wordNgrams"] = options.pop("word_ngrams")
    found = original.train_supervised(str(texts), loss=loss, **options)
    model = assert_reads(found, tmp_path / "model.bin")
    expected = Settings(5, 5, 1, 1, 5, 2, LOSSES[loss], SUPERVISED, 60, 2, 3)
    assert model.settings == expected
    assert model.tokens == 150 * (1 + 6 + 1)


@pytest.mark.parametrize("loss", ["hs", "ns", "softmax"])
@pytest.mark.parametrize("model", ["cbow", "skipgram"])
def test_word_vectors_of_the_original_read(original, tmp_path, texts, model, loss):
    plain = tmp_path / "plain.txt"
    plain.write_bytes(texts.read_bytes().replace(b"__label__", b"l"))
    found = original.train_unsupervised(str(plain), model=model, loss=loss, minCount=1, **QUICK)
    read = assert_reads(found, tmp_path / "model.bin")
    assert not read.supervised
    assert (read.labels, len(read.label_counts)) == ([], 0)


def test_word_vectors_that_the_original_trained_on_labeled_texts_read(original, tmp_path, texts):
    found = original.train_unsupervised(str(texts), minCount=1, **QUICK)
    model = assert_reads(found, tmp_path / "model.bin")
    assert not model.supervised
    assert sorted(model.labels) == [b"__label__%d" % number for number in range(5)]


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
def test_a_quantized_file_of_the_original_reads(original, tmp_path, texts, options):
    if "qout" in options:
        texts.write_text("".join(f"__label__{number} w{number % 9}\n" for number in range(300)))
    found = original.train_supervised(str(texts), wordNgrams=2, **{**QUICK, "bucket": 400})
    found.quantize(str(texts), thread=1, **options)
    model = assert_reads(found, tmp_path / "model.ftz")
    assert isinstance(model.input, Coded)
    assert (model.input.norm_codes is not None) is options.get("qnorm", False)
    assert isinstance(model.output, Coded) is options.get("qout", False)
    assert len(model.input) == options.get("cutoff", len(model.words) + 400)
    assert (model.pruned is not None) is ("cutoff" in options)


# --- damage


def outcome(path, data):
    """Read bytes as a file; return the error's text, or None if they are a model.

    No other error is raised, little memory is taken, and of what is read all the bytes count.
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
        start = f"{path}: is not a "
        assert str(found).startswith(start)
        return str(found).removeprefix(start)
    again = path.with_suffix(".again")
    write_file(found, again)
    assert again.stat().st_size == len(data)
    assert contents(read_file(again)) == contents(found)
    return None


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_file_that_was_cut_anywhere_is_refused(place, kind):
    whole = BYTES[kind]
    assert outcome(place, whole) is None
    for size in reversed(range(len(whole))):
        os.truncate(place, size)
        with pytest.raises(ArtifactError):
            read_file(place)


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_bytes_after_the_end_are_refused(place, kind, size):
    reason = outcome(place, BYTES[kind] + bytes(size))
    assert reason == f"whole fastText model: {size} bytes follow its end"


def packs(form, value):
    try:
        struct.pack(f"<{form}", value)
    except struct.error:
        return False
    return True


EDGES = [0, 1, 2, 127, 255, 256, 2**16, 2**24, 2**31 - 1, 2**32, 2**53, 2**61, 2**62, 2**63 - 1]


def values_for(form, value):
    """Whatever an integer of the layout may be changed to."""
    near = [value - 1, value + 1, 2 * value]
    edges = {*near, *EDGES, *(-edge for edge in EDGES), -(2**31), -(2**63)} - {value}
    return sorted(edge for edge in edges if packs(form, edge))


INTEGERS = [
    pytest.param(layout, number, id=f"{kind}-{number}-{name.replace(' ', '_')}")
    for kind, layout in LAYOUTS.items()
    for number, (name, form, _) in enumerate(layout)
    if form in {"i", "q", "b", "B"}
]
# Whatever they are, a file that holds them is whole.
FREE = {
    *("version", "ws", "epoch", "min_count", "neg", "word_ngrams", "loss", "model", "bucket"),
    *("minn", "maxn", "lr_update_rate", "tokens", "count", "row", "code", "width"),
    "quantized output",
}


@pytest.mark.parametrize(("layout", "number"), INTEGERS)
def test_a_number_that_was_changed_is_refused_or_does_no_harm(place, layout, number):
    name, form, value = layout[number]
    for changed in values_for(form, value):
        data = packed([*layout[:number], (name, form, changed), *layout[number + 1 :]])
        reason = outcome(place, data)
        assert reason is not None or name in FREE, f"{name} = {changed} is read"


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_byte_that_was_changed_is_refused_or_does_no_harm(place, kind):
    at = 0
    for _, form, _ in LAYOUTS[kind]:
        size = struct.calcsize(f"<{form}")
        for byte in range(at, at if form.endswith("f") else at + size):
            data = bytearray(BYTES[kind])
            for value in {0x00, 0x80, 0xFF, data[byte] ^ 1} - {data[byte]}:
                data[byte] = value
                outcome(place, data)
        at += size


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


@given(st.sampled_from(sorted(BYTES)), EDITS)
@settings(deadline=None, max_examples=200)
def test_a_file_that_was_edited_is_refused_or_does_no_harm(place, kind, edits):
    data = bytearray(BYTES[kind])
    for at, removed, added in edits:
        at %= len(data) + 1
        data[at : at + removed] = added
    outcome(place, data)


@given(models(), EDITS)
@settings(deadline=None)
def test_any_file_that_was_edited_is_refused_or_does_no_harm(place, model, edits):
    write_file(model, place)
    data = bytearray(place.read_bytes())
    for at, _, added in edits:
        at %= len(data)
        data[at : at + len(added)] = added
    outcome(place, data)


@given(st.sampled_from([0, 4, 8, 64, 92]), st.binary(max_size=200))
@settings(deadline=None)
def test_random_bytes_are_refused(place, kept, data):
    assert outcome(place, BYTES["dense"][:kept] + data) is not None


def test_a_count_of_words_makes_no_list_before_they_are_seen(place):
    layout = [*head(), *sizes(2**31 - 2, 1, 0, -1), ("words", "3000000s", b"\0")]
    assert (
        outcome(place, packed(layout))
        == "whole fastText model: its number of words cannot be right"
    )


def test_codes_of_no_rows_are_refused_or_do_no_harm(place):
    layout = [
        *(*head(model=CBOW), *sizes(0, 0, 5, -1)),
        *(("quantized", "B", 1), ("norms", "B", 0), *size_of_matrix(2, 2), ("codes", "i", 2)),
        *(("code", "2B", (0, 1)), *quantizer(2, 1, 2, 2)),
        *(("quantized output", "B", 1), ("norms", "B", 0), *size_of_matrix(0, 2)),
        *(("codes", "i", 0), *quantizer(2, 1, 2, 2)),
    ]
    outcome(place, packed(layout))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"magic": 1}, "it does not begin as one"),
        ({"version": 10}, "it has version 10; those that are known are 11 and 12"),
        ({"version": 13}, "it has version 13; those that are known are 11 and 12"),
        ({"dim": 0}, "its setting dim = 0 cannot be right"),
        ({"dim": 3}, "the input matrix is 4 x 2, and should be 4 x 3"),
        ({"loss": 5}, "its setting loss = 5 cannot be right"),
        ({"model": 4}, "its setting model = 4 cannot be right"),
        ({"bucket": 3}, "the input matrix is 4 x 2, and should be 5 x 2"),
        ({"bucket": 0, "word_ngrams": 2}, "its number of buckets cannot be right"),
    ],
)
def test_the_reason_is_named(place, changed, reason):
    data = packed([*head(**changed), *DENSE[len(head()) :]])
    assert outcome(place, data) == f"whole fastText model: {reason}"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tokens", "its number of tokens, -1 cannot be right"),
        ("count", "the count of its word 0 cannot be right"),
        ("pruned", "its number of pruned buckets cannot be right"),
    ],
)
def test_counts_are_not_negative(place, name, reason):
    number = [name for name, _, _ in DENSE].index(name)
    changed = -2 if name == "pruned" else -1
    layout = [*DENSE[:number], (name, "q", changed), *DENSE[number + 1 :]]
    assert outcome(place, packed(layout)) == f"whole fastText model: {reason}"


def test_a_row_has_a_code_for_each_part(place):
    layout = [
        *(*head(), *sizes(1, 1, 5, -1), *entry(b"a", 4, 0), *entry(b"b", 1, 1)),
        *(("quantized", "B", 1), ("norms", "B", 0), *size_of_matrix(3, 2), ("codes", "i", 6)),
        *(("code", "6B", (0, 1, 2, 3, 4, 5)), *quantizer(2, 1, 2, 2)),
        *(("quantized output", "B", 0), *size_of_matrix(1, 2), ("numbers", "2f", (1, 0))),
    ]
    reason = "the size of the codes of the input matrix cannot be right"
    assert outcome(place, packed(layout)) == f"whole fastText model: {reason}"


@pytest.mark.parametrize("t", [float("nan"), float("inf")])
def test_a_setting_that_is_no_number_is_refused(place, t):
    layout = [(name, form, t if name == "t" else value) for name, form, value in DENSE]
    assert (
        outcome(place, packed(layout))
        == f"whole fastText model: its setting t = {t} cannot be right"
    )


@pytest.mark.parametrize(
    ("pairs", "kind"),
    [
        ([(8, 0), (8, 1)], "list of pruned buckets cannot be right"),
        ([(8, 1), (3, 1)], "list of pruned buckets cannot be right"),
        ([(8, 0), (3, 2)], "list of pruned buckets cannot be right"),
        ([(9, 0), (3, 1)], "list of pruned buckets cannot be right"),
        ([(-1, 0), (3, 1)], "list of pruned buckets cannot be right"),
    ],
)
def test_buckets_that_do_not_fit_are_refused(place, pairs, kind):
    flat = iter([number for pair in pairs for number in pair])
    start = [name for name, _, _ in QUANTIZED].index("quantized") - 4
    layout = [
        (name, form, next(flat) if start <= number < start + 4 else value)
        for number, (name, form, value) in enumerate(QUANTIZED)
    ]
    assert outcome(place, packed(layout)) == f"whole fastText model: its {kind}"


def test_a_pruned_dictionary_with_a_dense_matrix_is_refused(place):
    layout = [(name, form, 0 if name == "pruned" else value) for name, form, value in DENSE]
    reason = "its dictionary is pruned and its matrix is not quantized"
    assert outcome(place, packed(layout)) == f"whole fastText model: {reason}"


def test_an_empty_file_is_refused(place):
    assert outcome(place, b"") == "fastText model: it is empty"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.bin", "there is no such file"),
        ("none/none.bin", "there is no such file"),
        ("folder", "is a folder; name a .bin or .ftz file"),
    ],
)
def test_what_is_no_file_is_refused(tmp_path, name, reason):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArtifactError) as caught:
        read_file(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: {reason}"


def test_a_file_that_may_not_be_read_is_refused(place, monkeypatch):
    def forbid(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    place.write_bytes(BYTES["dense"])
    monkeypatch.setattr(np, "memmap", forbid)
    with pytest.raises(ArtifactError) as caught:
        read_file(place)
    assert str(caught.value) == f"{place}: cannot be read: Permission denied"


# --- writes that fail


class SmallDisk(io.FileIO):
    """A file on a disk with room for a few bytes."""

    ROOM = 100

    def write(self, data):
        if self.tell() + len(data) > self.ROOM:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def no_room(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupt(*arguments):
    raise KeyboardInterrupt


def test_a_write_into_a_folder_that_is_missing_is_refused(tmp_path):
    path = tmp_path / "none" / "model.bin"
    with pytest.raises(ArtifactError) as caught:
        write_file(one_word(), path)
    assert str(caught.value) == f"{path}: there is no folder {path.parent}"
    assert list(tmp_path.iterdir()) == []


def test_a_write_over_a_folder_is_refused(tmp_path):
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
def test_a_write_that_fails_leaves_the_earlier_file(tmp_path, fault, earlier):
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
        assert read_file(path).words == [b"earlier"]


def test_a_write_that_is_interrupted_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "model.bin"
    write_file(one_word(b"earlier"), path)
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(one_word(b"later"), path)
    assert list(tmp_path.iterdir()) == [path]
    assert read_file(path).words == [b"earlier"]

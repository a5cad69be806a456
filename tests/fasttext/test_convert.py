"""Models to and from fastText's files: the real library and this program give the same answers.

And the losses that such models have: their tree, and their draws, against plain Python.
"""

from __future__ import annotations

import heapq
import itertools
import math
import struct
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fasttext_app as ft
from fasttext_app.core.arrow import python_strings
from fasttext_app.core.device import torch_threads
from fasttext_app.core.ragged import Ragged
from fasttext_app.errors import ArtifactError, ConfigError
from fasttext_app.fasttext.convert import from_fasttext, to_fasttext
from fasttext_app.fasttext.file_format import read_file, write_file
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.forward import CpuForward, torch_forward
from fasttext_app.model.directory import save_artifact
from fasttext_app.model.huffman import HuffmanTree
from fasttext_app.model.product_quantizer import Coded
from fasttext_app.model.quantize import product_quantize
from fasttext_app.training.losses import hierarchical_softmax, negative_sampling
from tests.fasttext.cases import FEATURES, LOSSES, QUANTIZED
from tests.helpers import code_path

NEAR = 2e-6  # sums of 32-bit floats in another order
FLOOR = 1.1e-5  # what the original adds to a probability, and the rounding of 32-bit floats


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with torch_threads(1):
        yield


@pytest.fixture
def texts(odd_texts):
    return [text for text in odd_texts if len(text) < 1000]


def imported(path, **options):
    return TextClassifier(from_fasttext(read_file(path), str(path), **options))


def read_back(artifact, path, original, **options):
    """Write a model, and read it with the original and here."""
    write_file(to_fasttext(artifact, **options), path)
    return original.load_model(str(path)), imported(path)


def proba_of(model, classes, texts, prefix="__label__"):
    """Return the probabilities of a model of the original, [B, C], none above 1; NaN: not said.

    Of a text of nothing known it says none, and with ``hs`` it leaves out those below 1e-5.
    """
    answers = [
        dict(zip(labels, proba, strict=True))
        for labels, proba in zip(*model.predict(texts, k=-1), strict=True)
    ]
    rows = [[answer.get(prefix + name, np.nan) for name in classes] for answer in answers]
    return np.minimum(np.array(rows, np.float64), 1)


def assert_same_answers(theirs, ours, texts, within=NEAR, prefix="__label__"):
    expected, found = proba_of(theirs, ours.labels, texts, prefix), ours.predict_proba(texts)
    said = ~np.isnan(expected)
    assert said.any(axis=1).mean() > 0.9
    np.testing.assert_allclose(found[said], expected[said], rtol=0, atol=within)
    assert (found[~said & said.any(axis=1, keepdims=True)] < FLOOR).all()


def columns(model, classes, texts):
    """Return the probabilities of a model here, [B, C], its classes in another order."""
    return model.predict_proba(texts)[:, [model.labels.index(name) for name in classes]]


# --- from the original


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("loss", LOSSES)
def test_an_imported_model_answers_as_the_original(original, train_original, texts, loss, features):
    path = train_original(loss=loss, **FEATURES[features])
    model = imported(path)
    assert_same_answers(original.load_model(str(path)), model, texts)
    assert (model.config.model.loss, model.config.model.probabilities) == (loss, "fasttext")
    assert model.artifact.data["source"] == str(path)


@pytest.mark.parametrize("quantized", QUANTIZED)
def test_a_model_of_codes_is_imported_in_codes_or_in_numbers(
    original, train_original, texts, quantized
):
    path = train_original(quantize=QUANTIZED[quantized], **FEATURES["character n-grams"])
    coded, dense = imported(path), imported(path, dequantize=True)
    assert isinstance(coded.artifact.table, Coded)
    assert dense.artifact.tensors["table"].dtype == np.float32
    assert_same_answers(original.load_model(str(path)), coded, texts)
    np.testing.assert_allclose(coded.predict_proba(texts), dense.predict_proba(texts), rtol=1e-6)


@pytest.mark.parametrize(
    ("loss", "quantize"),
    [*((loss, None) for loss in LOSSES), *(("softmax", options) for options in QUANTIZED.values())],
    ids=str,
)
def test_an_imported_model_is_saved_and_loaded_whole(
    train_original, texts, tmp_path, loss, quantize
):
    model = imported(train_original(quantize, loss=loss, **FEATURES["character n-grams"]))
    save_artifact(model.artifact, tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model")
    assert loaded.labels == model.labels
    np.testing.assert_allclose(loaded.predict_proba(texts), model.predict_proba(texts), atol=1e-7)
    assert [answer.labels for answer in loaded.predict(texts, top_k=2)] == [
        answer.labels for answer in model.predict(texts, top_k=2)
    ]


@pytest.mark.parametrize("loss", ["ova", "ns"])
def test_outputs_are_added_up_in_the_order_of_the_original(train_original, loss):
    """There a cell of the sigmoid is wide, and a sum off by its last bit may be in the next."""
    artifact = imported(train_original(loss=loss, dim=100, epoch=1)).artifact
    table, weight = artifact.tensors["table"], artifact.tensors["weight"]
    by_hand = np.zeros((len(table), len(weight)), np.float32)
    for numbers, weights in zip(table.T, weight.T, strict=True):
        by_hand += numbers[:, None] * weights
    one_id_each = Ragged.from_lists([[row] for row in range(len(table))], np.int32)
    np.testing.assert_array_equal(CpuForward(artifact)(one_id_each), by_hand)


@pytest.mark.parametrize("quantize", [None, {}])
def test_torch_gives_an_imported_model_the_same_answers(train_original, texts, quantize):
    model = imported(train_original(quantize, **FEATURES["word n-grams"]))
    by_torch = torch_forward(model.artifact, "cpu")(model.encoder.encode(texts))
    np.testing.assert_allclose(by_torch, model.logits(texts), atol=1e-5)


def test_a_file_of_version_11_has_no_character_ngrams(original, train_original, texts, tmp_path):
    data = bytearray(train_original(minn=2, maxn=3, bucket=700).read_bytes())
    data[4:8] = struct.pack("<i", 11)
    (tmp_path / "old.bin").write_bytes(data)
    model = imported(tmp_path / "old.bin")
    assert model.config.text.maxn == 0
    assert_same_answers(original.load_model(str(tmp_path / "old.bin")), model, texts)


def test_words_that_are_not_utf8_are_kept_byte_by_byte(original, labeled_rows, tmp_path):
    lines = [f"__label__{label} {text}".encode()[:-1] for label, text in labeled_rows]
    (tmp_path / "train.txt").write_bytes(b"\xff\n".join(lines) + b"\n")
    options = {"dim": 5, "minn": 2, "maxn": 3, "bucket": 600, "verbose": 0, "thread": 1}
    trained = original.train_supervised(str(tmp_path / "train.txt"), **options)
    trained.save_model(str(tmp_path / "m.bin"))
    theirs, ours = original.load_model(str(tmp_path / "m.bin")), imported(tmp_path / "m.bin")
    words = python_strings(ours.artifact.vocabulary.words)
    assert sum("\udcff" in word for word in words) > 99
    assert_same_answers(theirs, ours, [text for _, text in labeled_rows])
    write_file(to_fasttext(ours.artifact), tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == (tmp_path / "m.bin").read_bytes()
    save_artifact(ours.artifact, tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model")
    assert python_strings(loaded.artifact.vocabulary.words) == words


def test_a_label_prefix_that_is_named_is_left_out_of_labels(original, labeled_file, tmp_path):
    text = labeled_file.read_text(encoding="utf-8").replace("__label__", "#")
    (tmp_path / "train.txt").write_text(text, encoding="utf-8")
    options = {"label": "#", "minn": 2, "maxn": 3, "bucket": 600, "dim": 5}
    trained = original.train_supervised(str(tmp_path / "train.txt"), verbose=0, thread=1, **options)
    trained.save_model(str(tmp_path / "m.bin"))
    theirs, ours = (
        original.load_model(str(tmp_path / "m.bin")),
        imported(tmp_path / "m.bin", prefix="#"),
    )
    assert ["#" + name for name in ours.labels] == theirs.labels
    questions = ["a b", "a #sport b", "#d"]
    assert_same_answers(theirs, ours, questions, prefix="#")
    write_file(to_fasttext(ours.artifact), tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == (tmp_path / "m.bin").read_bytes()


@pytest.fixture
def file(train_original):
    return read_file(train_original(**FEATURES["character n-grams"]))


def with_number(matrix, number):
    changed = np.array(matrix)
    changed[-1, -1] = number
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: {"settings": replace(f.settings, model=1)}, "holds word vectors, not a class"),
        (lambda f: {"settings": replace(f.settings, word_ngrams=11)}, "has word n-grams up to 11 "),
        (lambda f: {"settings": replace(f.settings, maxn=31)}, "and character n-grams up to 31; "),
        (lambda f: {"input": with_number(f.input, np.nan)}, "has numbers that are not finite"),
        (lambda f: {"output": with_number(f.output, np.inf)}, "has numbers that are not finite"),
        (lambda f: {"labels": [f.labels[0], *f.labels[:-1]]}, "has two labels of one name"),
        (lambda f: {"labels": [*f.labels[:-1], b"\xff"]}, r"its label b'\\xff' is not UTF-8"),
    ],
)
def test_a_file_that_is_no_model_here_is_refused_with_the_reason(file, change, message):
    with pytest.raises(ArtifactError, match=rf"^m\.bin: .*{message}"):
        from_fasttext(replace(file, **change(file)), "m.bin")


def test_word_vectors_are_refused_with_the_way_to_use_them(original, labeled_file, tmp_path):
    text = labeled_file.read_text(encoding="utf-8").replace("__label__", "")
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    options = {"dim": 3, "epoch": 1, "bucket": 10, "verbose": 0, "thread": 1}
    model = original.train_unsupervised(str(tmp_path / "text.txt"), **options)
    model.save_model(str(tmp_path / "v.bin"))
    with pytest.raises(ArtifactError, match=r"v\.bin: holds word vectors, not a classifier; see "):
        imported(tmp_path / "v.bin")


# --- there and back


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_file_comes_back_byte_by_byte(train_original, tmp_path, loss, features):
    path = train_original(loss=loss, **FEATURES[features])
    write_file(to_fasttext(imported(path).artifact), tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("quantized", ["codes", "norms"])
@pytest.mark.parametrize("features", ["words", "character n-grams"])
def test_a_file_of_codes_comes_back_byte_by_byte(train_original, tmp_path, features, quantized):
    path = train_original(QUANTIZED[quantized], **FEATURES[features])
    write_file(to_fasttext(imported(path).artifact, quantized=True), tmp_path / "back.ftz")
    assert (tmp_path / "back.ftz").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("quantized", ["pruned", "pruned, wide, norms"])
def test_a_pruned_file_comes_back_with_its_buckets_in_order(
    original, train_original, texts, tmp_path, quantized
):
    path = train_original(QUANTIZED[quantized], **FEATURES["character n-grams"])
    before, model = read_file(path), imported(path)
    theirs, _ = read_back(model.artifact, tmp_path / "back.ftz", original, quantized=True)
    after = read_file(tmp_path / "back.ftz")
    assert dict(before.pruned.tolist()).keys() == dict(after.pruned.tolist()).keys()
    assert after.pruned[:, 0].tolist() == sorted(before.pruned[:, 0].tolist())
    words = len(before.words)
    rows_before, rows_after = (dict(f.pruned.tolist()) for f in (before, after))
    for bucket in rows_before:
        row, same = words + rows_before[bucket], words + rows_after[bucket]
        np.testing.assert_array_equal(before.input.codes[row], after.input.codes[same])
    kept = asdict(before.settings), before.words, before.labels, before.tokens
    assert kept == (asdict(after.settings), after.words, after.labels, after.tokens)
    answers = proba_of(original.load_model(str(path)), model.labels, texts)
    np.testing.assert_array_equal(proba_of(theirs, model.labels, texts), answers)


def test_what_no_setting_here_stands_for_comes_back_too(original, train_original, texts, tmp_path):
    options = {"ws": 7, "lrUpdateRate": 33, "t": 0.01, "neg": 3, "minCount": 0, "minn": 0}
    path = train_original(maxn=3, bucket=700, **options)
    before = read_file(path)
    theirs, model = read_back(imported(path).artifact, tmp_path / "back.bin", original)
    after = read_file(tmp_path / "back.bin")
    kept = before.settings
    assert (kept.ws, kept.lr_update_rate, kept.t, kept.neg) == (7, 33, 0.01, 3)
    assert (kept.minn, kept.min_count) == (0, 0)  # which mean the same as 1
    assert after.settings == replace(before.settings, min_count=1, minn=1)
    np.testing.assert_array_equal(after.input, before.input)
    np.testing.assert_array_equal(after.output, before.output)
    assert_same_answers(theirs, model, texts)
    assert_same_answers(original.load_model(str(path)), model, texts)


def test_buckets_that_no_text_falls_into_are_left_out(original, train_original, texts, tmp_path):
    path = train_original(minn=4, maxn=2, bucket=700)
    theirs, model = read_back(imported(path).artifact, tmp_path / "back.bin", original)
    after = read_file(tmp_path / "back.bin")
    assert (after.settings.bucket, len(after.input)) == (0, len(after.words))
    assert_same_answers(theirs, model, texts)
    assert_same_answers(original.load_model(str(path)), model, texts)


# --- to the original


@pytest.fixture(scope="module")
def train(labeled_rows):
    """Train here on the rows that the original is trained on."""
    made = {}

    def with_settings(*, text=None, **model):
        key = repr((text, model))
        if key not in made:
            ngrams = {"word_ngrams": 2, "minn": 2, "maxn": 3, "bucket": 500, "prune": False}
            labels, rows = zip(*labeled_rows, strict=True)
            made[key] = ft.train(
                rows,
                labels,
                text={"tokenizer": "fasttext", **ngrams, **(text or {})},
                model={"dim": 7, **model},
                **{"lr": 0.3, "epochs": 3, "validation": 0.0, "device": "cpu", "threads": 1},
            )
        return made[key]

    return with_settings


def assert_near_the_exact_ones(model, again, texts):
    """The original's sigmoid is a table of 512 cells, and the floor enters at each turn."""
    within = {"softmax": FLOOR, "hs": 4 * FLOOR}.get(model.config.model.loss, 0.25 / 32 + FLOOR)
    exact, found = model.predict_proba(texts), columns(again, model.labels, texts)
    assert model.config.model.probabilities == "exact"
    np.testing.assert_allclose(found, exact, rtol=0, atol=within)
    clear = np.diff(np.sort(exact, axis=1)[:, -2:], axis=1)[:, 0] > 2 * within
    assert clear.sum() > len(texts) / 2
    assert (found.argmax(axis=1) == exact.argmax(axis=1))[clear].all()


def assert_near_on_average(model, again, texts):
    away = np.abs(columns(again, model.labels, texts) - model.predict_proba(texts))
    assert away.mean() < 0.02


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_an_exported_model_answers_in_the_original(original, train, texts, tmp_path, loss, bias):
    model = train(loss=loss, bias=bias)
    assert bool(model.artifact.tensors["bias"].any()) is bias
    theirs, again = read_back(model.artifact, tmp_path / "m.bin", original)
    assert theirs.get_dimension() == 7 + bias  # the bias is one number more of each row
    assert theirs.labels == [f"__label__{name}" for name in again.labels]
    assert sorted(again.labels) == sorted(model.labels)
    assert theirs.words == model.artifact.vocabulary.words.to_pylist()
    assert_same_answers(theirs, again, texts)
    assert_near_the_exact_ones(model, again, texts)


@pytest.mark.parametrize(
    "text",
    [
        {"word_ngrams": 1, "maxn": 0, "minn": 0},
        {"word_ngrams": 1, "bucket": 1},
        {"min_count": 4, "max_size": 100},
    ],
    ids=str,
)
def test_any_features_are_exported(original, train, texts, tmp_path, text):
    model = train(text=text)
    theirs, again = read_back(model.artifact, tmp_path / "m.bin", original)
    assert_same_answers(theirs, again, texts)
    assert_near_the_exact_ones(model, again, texts)


@pytest.mark.parametrize(("loss", "bias"), [*((loss, True) for loss in LOSSES), ("softmax", False)])
def test_a_model_exported_in_codes_answers_in_the_original(
    original, train, texts, tmp_path, loss, bias
):
    model = train(loss=loss, bias=bias)
    theirs, again = read_back(model.artifact, tmp_path / "m.ftz", original, quantized=True)
    assert theirs.is_quantized()
    assert isinstance(again.artifact.table, Coded)
    assert_same_answers(theirs, again, texts)
    assert_near_on_average(model, again, texts)


@pytest.mark.parametrize("bias", [False, True])
def test_a_pruned_model_is_exported_in_codes(original, train, texts, tmp_path, bias):
    model = train(text={"bucket": 30_000, "prune": True}, bias=bias)
    buckets = model.artifact.tensors["buckets"]
    theirs, again = read_back(model.artifact, tmp_path / "m.ftz", original, quantized=True)
    assert read_file(tmp_path / "m.ftz").pruned[:, 0].tolist() == buckets.tolist()
    assert_same_answers(theirs, again, texts)
    assert_near_on_average(model, again, texts)


@pytest.mark.parametrize("cutoff", [0, 300])
@pytest.mark.parametrize("options", [{}, {"width": 3, "norms": True}], ids=str)
def test_a_model_in_codes_is_exported_as_it_is(original, train, texts, tmp_path, cutoff, options):
    model = TextClassifier(product_quantize(train(bias=False).artifact, cutoff, **options))
    theirs, again = read_back(model.artifact, tmp_path / "m.ftz", original, quantized=True)
    assert_same_answers(theirs, again, texts)
    rows = np.arange(len(model.artifact.table))
    np.testing.assert_array_equal(again.artifact.table[rows], model.artifact.table[rows])
    assert_near_the_exact_ones(model, again, texts)


@pytest.mark.parametrize("bias", [False, True])
def test_a_model_of_8_bit_numbers_is_exported(original, train, texts, tmp_path, bias):
    model = train(bias=bias).quantize()
    theirs, again = read_back(model.artifact, tmp_path / "m.bin", original)
    assert_same_answers(theirs, again, texts)
    assert_near_the_exact_ones(model, again, texts)


def test_equal_seeds_give_equal_codes(train, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_file(to_fasttext(train().artifact, quantized=True, seed=seed), tmp_path / name)
    one, same, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert one == same != other


def coded(model):
    return TextClassifier(product_quantize(model.artifact))


NO_NGRAMS = {"word_ngrams": 1, "minn": 0, "maxn": 0}
OBSTACLES = {
    "tokens": (
        lambda train: train(text={"tokenizer": "whitespace"}),
        {},
        'its tokens are cut by text.tokenizer = "whitespace", and there only "fasttext" is known',
    ),
    "weights": (
        lambda train: train(text={"term_weighting": "tfidf"}, mode="sum"),
        {},
        'text.term_weighting = "tfidf"',
    ),
    "sum": (
        lambda train: train(mode="sum"),
        {},
        'model.mode = "sum"; there a text is the mean of its rows',
    ),
    "max": (
        lambda train: train(mode="max", sparse=False),
        {},
        'model.mode = "max"; there a text is the mean of its rows',
    ),
    "padding": (
        lambda train: train(padding_idx=0),
        {},
        "model.padding_idx leaves a row out",
    ),
    "bias": (
        lambda train: coded(train()),
        {"quantized": True},
        "its linear layer has a bias, and its table is in codes",
    ),
    "pruned": (
        lambda train: train(text={"bucket": 30_000, "prune": True}),
        {},
        "a .bin has a row for every hash bucket, and the model only for those of its training "
        "texts (train with text.prune = false, or export an .ftz)",
    ),
    "few rows": (
        lambda train: train(text={**NO_NGRAMS, "max_size": 99}),
        {"quantized": True},
        "an .ftz needs 256 rows, and the table has 99",
    ),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_what_a_file_cannot_hold_is_refused_with_the_reason(train, obstacle):
    make, options, reason = OBSTACLES[obstacle]
    with pytest.raises(ConfigError) as caught:
        to_fasttext(make(train).artifact, **options)
    assert str(caught.value) == f"it cannot be written as a fastText file: {reason}"


def test_a_label_with_a_nul_is_refused(tmp_path):
    model = ft.train(
        ["u v", "w x"] * 5, ["a\0b", "c"] * 5, text={"tokenizer": "fasttext"}, epochs=1
    )
    with pytest.raises(ConfigError, match="NUL"):
        to_fasttext(model.artifact)


# --- the tree


COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=12)


def logits_for(data, counts):
    rows = st.lists(
        st.floats(-30, 30, width=32), min_size=len(counts), max_size=len(counts)
    )  # a column more than there are nodes, as a linear layer has
    return np.array(data.draw(st.lists(rows, min_size=1, max_size=3)), np.float32)


def log_sigmoid(x):
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


def walk(tree, place, logits, so_far, floor=0.0):
    """Return {class: log-probability} below a place, and take each turn by hand."""
    if place < tree.classes:
        return {place: so_far}
    node = place - tree.classes
    found = {}
    for below, sign in ((tree.left[node], -1), (tree.right[node], 1)):
        turn = log_sigmoid(sign * float(logits[node]))
        turn = math.log(math.exp(turn) + floor) if floor else turn
        found |= walk(tree, int(below), logits, so_far + turn, floor)
    return found


def root(tree):
    return 2 * tree.classes - 2


@given(COUNTS, st.data(), st.sampled_from([0.0, 1e-5]))
@settings(deadline=None, max_examples=60)
def test_log_probabilities_are_those_of_a_walk(counts, data, floor):
    tree, logits = HuffmanTree.build(counts), logits_for(data, counts)
    found = tree.log_probabilities(logits, floor)
    assert found.shape == (len(logits), len(counts))
    for row, values in zip(logits, found, strict=True):
        by_hand = walk(tree, root(tree), row, 0.0, floor)
        assert sorted(by_hand) == list(range(len(counts)))
        np.testing.assert_allclose(values, [by_hand[c] for c in sorted(by_hand)], rtol=1e-6)


@given(COUNTS, st.data(), st.sampled_from([0.0, 1e-5]))
@settings(deadline=None, max_examples=60)
def test_turns_are_added_up_alike_in_compiled_code(counts, data, floor):
    tree, logits = HuffmanTree.build(counts), 100 * logits_for(data, counts)
    with code_path(compiled=True):
        compiled = tree.log_probabilities(logits, floor)
    with code_path(compiled=False):
        plain = tree.log_probabilities(logits, floor)
    np.testing.assert_array_equal(compiled, plain)
    assert np.isfinite(plain).all()


@given(COUNTS, st.data())
@settings(deadline=None, max_examples=60)
def test_probabilities_of_classes_sum_to_one(counts, data):
    logs = HuffmanTree.build(counts).log_probabilities(logits_for(data, counts))
    np.testing.assert_allclose(np.exp(logs.astype(np.float64)).sum(axis=1), 1, rtol=1e-5)


@given(COUNTS, st.data())
@settings(deadline=None, max_examples=60)
def test_ways_lead_to_the_log_probabilities(counts, data):
    tree, logits = HuffmanTree.build(counts), logits_for(data, counts)
    nodes, turns = tree.paths()
    assert nodes.shape == turns.shape == (len(counts), max(map(len, ways(tree).values())))
    steps = np.where(turns != 0, -np.logaddexp(0, -turns * logits[:, nodes].astype(np.float64)), 0)
    np.testing.assert_allclose(steps.sum(axis=2), tree.log_probabilities(logits), rtol=1e-6)
    for number, way in ways(tree).items():
        taken = turns[number] != 0
        walked = zip(nodes[number][taken].tolist(), turns[number][taken].tolist(), strict=True)
        assert list(walked) == way


def ways(tree):
    """Return {class: [(node, turn), ...]}, by hand."""
    found, open_places = {}, [(root(tree), [])]
    while open_places:
        place, way = open_places.pop()
        if place < tree.classes:
            found[place] = way
            continue
        node = place - tree.classes
        for below, turn in ((tree.left[node], -1), (tree.right[node], 1)):
            open_places.append((int(below), [*way, (node, turn)]))
    return found


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40))
@settings(deadline=None)
def test_no_tree_has_shorter_ways(counts):
    tree = HuffmanTree.build(counts)
    length = sum(counts[number] * len(way) for number, way in ways(tree).items())
    heap, shortest = sorted(counts), 0
    while len(heap) > 1:
        pair = heapq.heappop(heap) + heapq.heappop(heap)
        shortest += pair
        heapq.heappush(heap, pair)
    assert length == shortest


@given(st.lists(st.integers(1, 50), min_size=2, max_size=12), st.data())
@settings(deadline=None, max_examples=40)
def test_the_loss_of_the_tree_is_minus_the_log_probability_of_the_right_class(counts, data):
    classes, rows = len(counts), data.draw(st.integers(1, 5))
    right = data.draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows))
    linear, bags = random_layer(classes, rows, data.draw(st.integers(0, 99)))
    loss = hierarchical_softmax(counts)(linear, bags, torch.tensor(right))
    logs = HuffmanTree.build(counts).log_probabilities(linear(bags).detach().numpy())
    expected = -logs[np.arange(rows), right].mean()
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def random_layer(classes, rows, seed):
    generator = torch.Generator().manual_seed(seed)
    linear = torch.nn.Linear(3, classes)
    with torch.no_grad():
        linear.weight.uniform_(-2, 2, generator=generator)
        linear.bias.uniform_(-2, 2, generator=generator)
    return linear, torch.rand(rows, 3, generator=generator)


def test_the_loss_of_the_tree_of_no_rows_is_zero():
    linear, _ = random_layer(3, 1, 0)
    loss = hierarchical_softmax([3, 2, 1])(linear, torch.zeros(0, 3), torch.zeros(0, dtype=int))
    assert loss.item() == 0


# --- the draws


def draws(counts, right, rows, negatives, seed=0):
    """Return how often each class was drawn beside the right one, read off a gradient.

    Where every logit is 0, an output that is drawn adds 1/2 to the gradient of its bias, and the
    right one takes 1/2 off.
    """
    linear = torch.nn.Linear(2, len(counts))
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    labels = torch.full((rows,), right)
    loss = negative_sampling(counts, negatives, torch.Generator().manual_seed(seed))(
        linear, torch.zeros(rows, 2), labels
    )
    assert loss.item() == pytest.approx((1 + negatives) * math.log(2), rel=1e-5)
    loss.backward()
    found = np.rint(linear.bias.grad.double().numpy() * 2 * rows).astype(int)
    found[right] += rows
    return found


@given(
    st.lists(st.integers(1, 10_000), min_size=2, max_size=8),
    st.data(),
    st.integers(1, 7),
    st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=60)
def test_the_right_class_is_never_drawn_beside_itself(counts, data, negatives, seed):
    right = data.draw(st.integers(0, len(counts) - 1))
    found = draws(counts, right, 200, negatives, seed)
    assert found[right] == 0
    assert (found >= 0).all()
    assert found.sum() == 200 * negatives


@pytest.mark.parametrize("counts", [[1, 4, 9, 16, 100], [10_000, 1, 1], [5, 5, 5, 5], [3, 0, 7]])
def test_the_others_are_drawn_by_the_square_root_of_their_counts(counts):
    for right in np.flatnonzero(counts).tolist():
        found = draws(counts, right, 4000, 5)
        odds = np.sqrt(counts) * (np.arange(len(counts)) != right)
        expected = 20_000 * odds / odds.sum()
        assert not found[expected == 0].any()
        sure = expected > 0
        chi_square = ((found - expected)[sure] ** 2 / expected[sure]).sum()
        assert chi_square < 4 * len(counts) + 10


def test_draws_go_on_from_step_to_step_and_equal_seeds_draw_alike():
    linear, bags = random_layer(9, 4, 0)
    labels = torch.zeros(4, dtype=torch.int64)

    def losses(seed):
        loss = negative_sampling([1] * 9, 3, torch.Generator().manual_seed(seed))
        return [loss(linear, bags, labels).item() for _ in range(3)]

    assert losses(1) == losses(1) != losses(2)
    assert all(a != b for a, b in itertools.pairwise(losses(1)))


def test_the_loss_of_draws_is_the_sum_of_yes_or_no_losses():
    """With two classes there is nothing to choose: every draw is the other one."""
    linear, bags = random_layer(2, 5, 3)
    labels = torch.tensor([0, 1, 1, 0, 1])
    loss = negative_sampling([2, 5], 3, torch.Generator())(linear, bags, labels)
    logits = linear(bags).detach().numpy()
    by_hand = [
        -log_sigmoid(row[right]) - 3 * log_sigmoid(-row[1 - right])
        for row, right in zip(logits, labels.tolist(), strict=True)
    ]
    assert loss.item() == pytest.approx(math.fsum(by_hand) / 5, rel=1e-5)

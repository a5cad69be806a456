"""Models converted from and to fastText's files give the same answers as the original library."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest

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
from fasttext_app.model.product_quantizer import Coded
from fasttext_app.model.quantize import product_quantize
from tests.fasttext.cases import FEATURES, LOSSES, QUANTIZED
from tests.helpers import WORDS_ONLY, run_cli

NEAR = 2e-6  # the error of adding 32-bit floats in another order
FLOOR = 1.1e-5  # what the original adds to a probability, plus the rounding of 32-bit floats


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with torch_threads(1):
        yield


@pytest.fixture
def texts(odd_texts):
    return [text for text in odd_texts if len(text) < 1000]


def imported(path, **options):
    return TextClassifier(from_fasttext(read_file(path), str(path), **options))


def exported(artifact, path, original, **options):
    """Write a model; return it as the original reads it and as it is read here."""
    write_file(to_fasttext(artifact, **options), path)
    return original.load_model(str(path)), imported(path)


def probabilities(model, classes, texts, prefix="__label__"):
    """Return the probabilities of a model of the original, [B, C], at most 1.

    NaN stands for a label that is missing from the answer. A text without features has none, and
    ``hs`` leaves out labels below 1e-5.
    """
    answers = [
        dict(zip(labels, values, strict=True))
        for labels, values in zip(*model.predict(texts, k=-1), strict=True)
    ]
    rows = [[answer.get(prefix + name, np.nan) for name in classes] for answer in answers]
    return np.minimum(np.array(rows, np.float64), 1)


def assert_same_answers(theirs, ours, texts, within=NEAR, prefix="__label__"):
    expected, found = probabilities(theirs, ours.labels, texts, prefix), ours.predict_proba(texts)
    answered = ~np.isnan(expected)
    assert answered.any(axis=1).mean() > 0.9
    np.testing.assert_allclose(found[answered], expected[answered], rtol=0, atol=within)
    assert (found[~answered & answered.any(axis=1, keepdims=True)] < FLOOR).all()


def probabilities_here(model, classes, texts):
    """Return the probabilities of a model here, [B, C], its classes in another order."""
    return model.predict_proba(texts)[:, [model.labels.index(name) for name in classes]]


# --- from the original


@pytest.mark.slow
@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("loss", LOSSES)
def test_an_imported_model_gives_the_answers_of_the_original(
    original, train_original, texts, loss, features
):
    path = train_original(loss=loss, **FEATURES[features])
    model = imported(path)
    assert_same_answers(original.load_model(str(path)), model, texts)
    assert (model.config.model.loss, model.config.model.probabilities) == (loss, "fasttext")
    assert model.artifact.data["source"] == str(path)


@pytest.mark.parametrize("quantized", QUANTIZED)
def test_a_quantized_model_is_imported_as_codes_or_dequantized(
    original, train_original, texts, quantized
):
    path = train_original(quantize=QUANTIZED[quantized], **FEATURES["character n-grams"])
    coded, dense = imported(path), imported(path, dequantize=True)
    assert isinstance(coded.artifact.table, Coded)
    assert dense.artifact.tensors["table"].dtype == np.float32
    assert_same_answers(original.load_model(str(path)), coded, texts)
    np.testing.assert_allclose(coded.predict_proba(texts), dense.predict_proba(texts), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "quantize"),
    [*((loss, None) for loss in LOSSES), *(("softmax", options) for options in QUANTIZED.values())],
    ids=str,
)
def test_an_imported_model_is_unchanged_by_saving_and_loading(
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


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["ova", "ns"])
def test_dot_products_are_added_up_in_the_order_of_the_original(train_original, loss):
    """The last bit of a sum can decide its cell in the original's table of the sigmoid."""
    artifact = imported(train_original(loss=loss, dim=100, epoch=1)).artifact
    table, weight = artifact.tensors["table"], artifact.tensors["weight"]
    by_hand = np.zeros((len(table), len(weight)), np.float32)
    for table_column, weight_column in zip(table.T, weight.T, strict=True):
        by_hand += table_column[:, None] * weight_column
    one_id_each = Ragged.from_lists([[row] for row in range(len(table))], np.int32)
    np.testing.assert_array_equal(CpuForward(artifact)(one_id_each), by_hand)


@pytest.mark.slow
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


def test_words_that_are_not_utf8_keep_their_bytes(original, labeled_rows, tmp_path):
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


def test_a_given_label_prefix_is_removed_from_labels(original, labeled_file, tmp_path):
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


def with_last(matrix, value):
    changed = np.array(matrix)
    changed[-1, -1] = value
    return changed


def test_texts_can_be_rewritten_before_an_imported_model(original, tmp_path):
    lines = ["__label__a see __url__ now\n", "__label__b call __number__ now\n"] * 20
    (tmp_path / "t.txt").write_text("".join(lines), encoding="utf-8")
    options = {"dim": 4, "epoch": 20, "lr": 0.5, "verbose": 0, "thread": 1}
    model = original.train_supervised(str(tmp_path / "t.txt"), **options)
    model.save_model(str(tmp_path / "m.bin"))
    ours = ft.load(tmp_path / "m.bin", text={"lowercase": True, "replace": ["url", "number"]})
    for text, words in {"SEE http://x.org": "see __url__", "Call 12,5": "call __number__"}.items():
        (label,), (probability,) = model.predict(words)
        for answer in (ours.predict(text), ours.predict([text])[0]):
            assert f"__label__{answer.labels[0]}" == label
            assert answer.probabilities[0] == pytest.approx(probability, abs=NEAR)
        assert ours.explain(text).spans[1] == (text.index(" ") + 1, len(text))
    ours.save(tmp_path / "dir")
    assert ft.load(tmp_path / "dir").config.text.replace == ("url", "number")
    options = ("--set", "text.lowercase=true", "--set", 'text.replace=["url", "number"]')
    run_cli("import", tmp_path / "m.bin", "--output", tmp_path / "by_cli", *options)
    assert ft.load(tmp_path / "by_cli").config.text == ours.config.text
    with pytest.raises(ConfigError, match=r"text\.minn: the settings of a fastText file are fixed"):
        ft.load(tmp_path / "m.bin", text={"minn": 3})
    with pytest.raises(ConfigError, match="dir: a model directory has its settings"):
        ft.load(tmp_path / "dir", text={"lowercase": False})
    with pytest.raises(ConfigError, match=r"text\.lowercase and text\.replace; fastText takes"):
        to_fasttext(ours.artifact)


def with_labels(file, labels):
    return replace(file, dictionary=replace(file.dictionary, labels=labels(file.dictionary.labels)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: replace(f, args=replace(f.args, model=1)), "holds word vectors, not a class"),
        (lambda f: replace(f, args=replace(f.args, word_ngrams=11)), "has word n-grams up to 11 "),
        (lambda f: replace(f, args=replace(f.args, maxn=31)), "and character n-grams up to 31; "),
        (lambda f: replace(f, input=with_last(f.input, np.nan)), "has a weight that is not finite"),
        (
            lambda f: replace(f, output=with_last(f.output, np.inf)),
            "has a weight that is not finit",
        ),
        (lambda f: with_labels(f, lambda names: [names[0], *names[:-1]]), "have the same name"),
        (lambda f: with_labels(f, lambda names: [*names[:-1], b"\xff"]), r"b'\\xff' is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_represented_is_refused_with_the_reason(file, change, message):
    with pytest.raises(ArtifactError, match=rf"^m\.bin: .*{message}"):
        from_fasttext(change(file), "m.bin")


@pytest.mark.slow
def test_word_vectors_are_refused_with_a_way_to_use_them(original, labeled_file, tmp_path):
    text = labeled_file.read_text(encoding="utf-8").replace("__label__", "")
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    options = {"dim": 3, "epoch": 1, "bucket": 10, "verbose": 0, "thread": 1}
    model = original.train_unsupervised(str(tmp_path / "text.txt"), **options)
    model.save_model(str(tmp_path / "v.bin"))
    with pytest.raises(ArtifactError, match=r"v\.bin: holds word vectors, not a classifier; query"):
        imported(tmp_path / "v.bin")


# --- there and back


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("loss", LOSSES)
def test_an_imported_file_is_exported_unchanged(train_original, tmp_path, loss, features):
    path = train_original(loss=loss, **FEATURES[features])
    write_file(to_fasttext(imported(path).artifact), tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("quantized", ["codes", "norms"])
@pytest.mark.parametrize("features", ["words", "character n-grams"])
def test_an_imported_quantized_file_is_exported_unchanged(
    train_original, tmp_path, features, quantized
):
    path = train_original(QUANTIZED[quantized], **FEATURES[features])
    write_file(to_fasttext(imported(path).artifact, quantized=True), tmp_path / "back.ftz")
    assert (tmp_path / "back.ftz").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("quantized", ["pruned", "pruned, wide, norms"])
def test_an_imported_pruned_file_is_exported_with_its_buckets_in_order(
    original, train_original, texts, tmp_path, quantized
):
    path = train_original(QUANTIZED[quantized], **FEATURES["character n-grams"])
    before, model = read_file(path), imported(path)
    theirs, _ = exported(model.artifact, tmp_path / "back.ftz", original, quantized=True)
    after = read_file(tmp_path / "back.ftz")
    assert after.args == before.args
    assert after.dictionary.words == before.dictionary.words
    assert after.dictionary.labels == before.dictionary.labels
    assert after.dictionary.tokens == before.dictionary.tokens
    rows_before, rows_after = (dict(f.dictionary.pruneidx.tolist()) for f in (before, after))
    assert list(rows_after) == sorted(rows_before)
    words = len(before.dictionary.words)
    for bucket in rows_before:
        codes_before = before.input.codes[words + rows_before[bucket]]
        codes_after = after.input.codes[words + rows_after[bucket]]
        np.testing.assert_array_equal(codes_before, codes_after)
    answers = probabilities(original.load_model(str(path)), model.labels, texts)
    np.testing.assert_array_equal(probabilities(theirs, model.labels, texts), answers)


def test_args_without_a_setting_are_exported_unchanged(original, train_original, texts, tmp_path):
    options = {"ws": 7, "lrUpdateRate": 33, "t": 0.01, "neg": 3, "minCount": 0, "minn": 0}
    path = train_original(maxn=3, bucket=700, **options)
    before = read_file(path)
    theirs, model = exported(imported(path).artifact, tmp_path / "back.bin", original)
    after = read_file(tmp_path / "back.bin")
    args = before.args
    assert (args.ws, args.lr_update_rate, args.t, args.neg) == (7, 33, 0.01, 3)
    assert (args.minn, args.min_count) == (0, 0)  # which mean the same as 1
    assert after.args == replace(args, min_count=1, minn=1)
    np.testing.assert_array_equal(after.input, before.input)
    np.testing.assert_array_equal(after.output, before.output)
    assert_same_answers(theirs, model, texts)
    assert_same_answers(original.load_model(str(path)), model, texts)


def test_buckets_without_ngrams_are_not_exported(original, train_original, texts, tmp_path):
    path = train_original(minn=4, maxn=2, bucket=700)
    theirs, model = exported(imported(path).artifact, tmp_path / "back.bin", original)
    after = read_file(tmp_path / "back.bin")
    assert (after.args.bucket, len(after.input)) == (0, len(after.dictionary.words))
    assert_same_answers(theirs, model, texts)
    assert_same_answers(original.load_model(str(path)), model, texts)


# --- to the original


@pytest.fixture(scope="module")
def train(labeled_rows):
    """Train here on the rows of ``train_original``."""
    models = {}

    def with_settings(*, text=None, **model):
        key = repr((text, model))
        if key not in models:
            ngrams = {"word_ngrams": 2, "minn": 2, "maxn": 3, "bucket": 500, "prune": False}
            labels, rows = zip(*labeled_rows, strict=True)
            models[key] = ft.train(
                rows,
                labels,
                text={
                    **{"tokenizer": "fasttext", "term_weighting": "none"},
                    **ngrams,
                    **(text or {}),
                },
                model={"dim": 4, **model},
                optimizer={"name": "adagrad", "lr": 0.3, "eps": 1e-8},
                **{"epochs": 3, "batch_size": 64, "validation": 0.0},
                **{"device": "cpu", "threads": 1},
            )
        return models[key]

    return with_settings


def assert_near_exact(model, again, texts):
    """Assert that probabilities differ by the original's floor, and a cell of its sigmoid table."""
    within = {"softmax": FLOOR, "hs": 4 * FLOOR}.get(model.config.model.loss, 0.25 / 32 + FLOOR)
    exact, found = model.predict_proba(texts), probabilities_here(again, model.labels, texts)
    assert model.config.model.probabilities == "exact"
    np.testing.assert_allclose(found, exact, rtol=0, atol=within)
    clear = np.diff(np.sort(exact, axis=1)[:, -2:], axis=1)[:, 0] > 2 * within
    assert clear.sum() > len(texts) / 2
    assert (found.argmax(axis=1) == exact.argmax(axis=1))[clear].all()


def assert_near_on_average(model, again, texts):
    error = np.abs(probabilities_here(again, model.labels, texts) - model.predict_proba(texts))
    assert error.mean() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_an_exported_model_gives_the_same_answers_in_the_original(
    original, train, texts, tmp_path, loss, bias
):
    model = train(loss=loss, bias=bias)
    assert bool(model.artifact.tensors["bias"].any()) is bias
    theirs, again = exported(model.artifact, tmp_path / "m.bin", original)
    assert theirs.get_dimension() == 4 + bias  # the bias takes one more dimension
    assert theirs.labels == [f"__label__{name}" for name in again.labels]
    assert sorted(again.labels) == sorted(model.labels)
    assert theirs.words == model.artifact.vocabulary.words.to_pylist()
    assert_same_answers(theirs, again, texts)
    assert_near_exact(model, again, texts)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        {"word_ngrams": 1, "maxn": 0, "minn": 0},
        {"word_ngrams": 1, "bucket": 1},
        {"min_count": 4, "max_size": 100},
    ],
    ids=str,
)
def test_an_exported_model_may_have_any_features(original, train, texts, tmp_path, text):
    model = train(text=text)
    theirs, again = exported(model.artifact, tmp_path / "m.bin", original)
    assert_same_answers(theirs, again, texts)
    assert_near_exact(model, again, texts)


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "bias"), [*((loss, True) for loss in LOSSES), ("softmax", False)])
def test_a_model_exported_as_ftz_gives_the_same_answers_in_the_original(
    original, train, texts, tmp_path, loss, bias
):
    model = train(loss=loss, bias=bias)
    theirs, again = exported(model.artifact, tmp_path / "m.ftz", original, quantized=True)
    assert theirs.is_quantized()
    assert isinstance(again.artifact.table, Coded)
    assert_same_answers(theirs, again, texts)
    assert_near_on_average(model, again, texts)


@pytest.mark.slow
@pytest.mark.parametrize("bias", [False, True])
def test_a_pruned_model_is_exported_as_ftz(original, train, texts, tmp_path, bias):
    ngrams = {"word_ngrams": 1, "maxn": 2, "bucket": 3000}
    model = train(text={**ngrams, "prune": True}, bias=bias)
    buckets = model.artifact.tensors["buckets"]
    theirs, again = exported(model.artifact, tmp_path / "m.ftz", original, quantized=True)
    assert read_file(tmp_path / "m.ftz").dictionary.pruneidx[:, 0].tolist() == buckets.tolist()
    assert_same_answers(theirs, again, texts)
    assert_near_on_average(model, again, texts)


@pytest.mark.slow
@pytest.mark.parametrize("cutoff", [0, 300])
@pytest.mark.parametrize("options", [{}, {"width": 3, "norms": True}], ids=str)
def test_a_quantized_model_is_exported_with_the_same_codes(
    original, train, texts, tmp_path, cutoff, options
):
    model = TextClassifier(product_quantize(train(bias=False).artifact, cutoff, **options))
    theirs, again = exported(model.artifact, tmp_path / "m.ftz", original, quantized=True)
    assert_same_answers(theirs, again, texts)
    rows = np.arange(len(model.artifact.table))
    np.testing.assert_array_equal(again.artifact.table[rows], model.artifact.table[rows])
    assert_near_exact(model, again, texts)


@pytest.mark.parametrize("bias", [False, True])
def test_an_8_bit_model_is_exported_as_floats(original, train, texts, tmp_path, bias):
    model = train(bias=bias).quantize()
    theirs, again = exported(model.artifact, tmp_path / "m.bin", original)
    assert_same_answers(theirs, again, texts)
    assert_near_exact(model, again, texts)


@pytest.mark.slow
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
        'text.tokenizer = "whitespace"; fastText can only tokenize as "fasttext" does',
    ),
    "weights": (
        lambda train: train(text={"term_weighting": "tfidf"}, mode="sum"),
        {},
        'text.term_weighting = "tfidf"; fastText does not weight its tokens',
    ),
    "sum": (
        lambda train: train(mode="sum"),
        {},
        'model.mode = "sum"; fastText can only average the rows of a text',
    ),
    "max": (
        lambda train: train(mode="max", sparse=False),
        {},
        'model.mode = "max"; fastText can only average the rows of a text',
    ),
    "padding": (
        lambda train: train(padding_idx=0),
        {},
        "model.padding_idx excludes a row, which fastText cannot do",
    ),
    "bias": (
        lambda train: coded(train()),
        {"quantized": True},
        "its linear layer has a bias, which cannot be folded into a quantized table",
    ),
    "pruned": (
        lambda train: train(text={"bucket": 30_000, "prune": True}),
        {},
        "a .bin has a row for every hash bucket, but the model only has rows for the buckets of "
        "its training texts; train with text.prune = false, or export an .ftz",
    ),
    "few rows": (
        lambda train: train(text={**NO_NGRAMS, "max_size": 99}),
        {"quantized": True},
        "an .ftz needs at least 256 rows, but the table has 99",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_model_that_a_file_cannot_express_is_refused_with_the_reason(train, obstacle):
    make, options, reason = OBSTACLES[obstacle]
    with pytest.raises(ConfigError) as caught:
        to_fasttext(make(train).artifact, **options)
    assert str(caught.value) == f"the model cannot be written as a fastText file: {reason}"


def test_a_label_with_a_nul_is_refused(tmp_path):
    model = ft.train(
        ["u v", "w x"] * 5,
        ["a\0b", "c"] * 5,
        **{**WORDS_ONLY, "tokenizer": "fasttext", "epochs": 1},
    )
    with pytest.raises(ConfigError, match="NUL"):
        to_fasttext(model.artifact)

"""Retraining, of pruned models above all; and a quantized linear layer."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
import pytest

import fasttext_app as ft
from fasttext_app import compat
from fasttext_app.errors import ArtifactError, ConfigError, DataError, TrainingError
from fasttext_app.fasttext.convert import from_fasttext, to_fasttext
from fasttext_app.fasttext.file_format import read_file, write_file
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.forward import torch_forward
from fasttext_app.model.directory import load_artifact, save_artifact
from fasttext_app.model.product_quantizer import Coded
from fasttext_app.model.quantize import keep_largest_rows, product_quantize, quantize
from fasttext_app.pipeline import retrain
from tests.fasttext.cases import LOSSES
from tests.helpers import WORDS_ONLY

SETTINGS = {
    **WORDS_ONLY,
    **{"dim": 4, "lr": 0.5, "epochs": 4, "device": "cpu", "threads": 1, "validation": 0.0},
    **{"word_ngrams": 2, "bucket": 500},
}


@pytest.fixture(scope="module")
def trained(labeled_rows):
    """Return a function that trains an artifact, once for each set of settings."""
    labels, texts = zip(*labeled_rows, strict=True)

    @cache
    def train(**settings):
        return ft.train(texts, labels, **{**SETTINGS, **settings}).artifact

    return train


def batch_of(rows):
    labels, texts = zip(*rows, strict=True)
    return pa.record_batch({"text": pa.array(texts), "label": pa.array(labels)})


# --- learning on


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_retraining_improves_a_pruned_model(trained, labeled_rows, loss):
    labels, texts = zip(*labeled_rows, strict=True)
    pruned = keep_largest_rows(trained(loss=loss), 200)
    again = retrain(pruned, [batch_of(labeled_rows)], {"trainer": {"epochs": 8}})
    before, after = (
        TextClassifier(artifact).evaluate(texts, labels)["accuracy"] for artifact in (pruned, again)
    )
    assert after > before + 0.02
    assert again.vocabulary.words.equals(pruned.vocabulary.words)
    np.testing.assert_array_equal(again.tensors["buckets"], pruned.tensors["buckets"])
    assert again.labels == pruned.labels
    assert again.config.trainer.epochs == 8
    assert again.config.data == pruned.config.data
    assert again.metrics == {}


@pytest.mark.slow
def test_retraining_starts_from_the_weights_of_the_model(trained, labeled_rows):
    artifact = trained()
    rows = [batch_of(labeled_rows)]
    settings = {"optimizer": {"lr": 1e-20}, "trainer": {"epochs": 1}}
    same = retrain(artifact, rows, settings)
    for name, values in artifact.tensors.items():
        np.testing.assert_allclose(same.tensors[name], values, atol=1e-7, err_msg=name)
    one, other = (retrain(artifact, rows, {"trainer": {"epochs": 2}}) for _ in range(2))
    for name in artifact.tensors:
        np.testing.assert_array_equal(one.tensors[name], other.tensors[name], err_msg=name)
    assert not np.array_equal(one.tensors["table"], artifact.tensors["table"])


def test_idf_weights_are_kept(trained, labeled_rows):
    artifact = trained(term_weighting="tfidf", mode="sum")
    again = retrain(artifact, [batch_of(labeled_rows)], {"trainer": {"epochs": 1}})
    np.testing.assert_array_equal(again.tensors["idf"], artifact.tensors["idf"])


def test_rows_of_unknown_labels_are_left_out(trained, labeled_rows):
    artifact = trained()
    strange = [("strange", text) for _, text in labeled_rows[:99]]
    rows = [batch_of(labeled_rows), batch_of(strange)]
    once = retrain(artifact, rows[:1], {"trainer": {"epochs": 1}})
    again = retrain(artifact, rows, {"trainer": {"epochs": 1}})
    np.testing.assert_array_equal(again.tensors["table"], once.tensors["table"])
    with pytest.raises(TrainingError, match="no row to train on has a label that the model knows"):
        retrain(artifact, rows[1:])
    with pytest.raises(TrainingError, match="no row to train on has a label"):
        retrain(artifact, [])


@pytest.mark.slow
def test_a_quantized_model_is_refused(trained, labeled_rows):
    artifact = trained()
    for smaller in (quantize(artifact), product_quantize(artifact)):
        with pytest.raises(ConfigError, match="the model is already quantized"):
            retrain(smaller, [batch_of(labeled_rows)])


@pytest.mark.slow
@pytest.mark.parametrize("make", [quantize, product_quantize])
def test_only_a_model_that_lost_rows_is_retrained(trained, make):
    artifact, seen = trained(), []

    def train_on(smaller):
        seen.append(len(smaller.table))
        return smaller

    make(artifact, 0, retrain=train_on)
    make(artifact, 10**6, retrain=train_on)
    assert seen == []
    make(artifact, 300, retrain=train_on)
    assert seen == [300]


@pytest.mark.slow
def test_impossible_quantization_is_refused_before_retraining(trained):
    def train_on(smaller):
        raise AssertionError

    for options in ({"output": True}, {"width": 0}):
        with pytest.raises(ConfigError):
            product_quantize(trained(), 300, retrain=train_on, **options)


# --- beside the original


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_retraining_is_as_accurate_as_in_fasttext(original, labeled_file, tmp_path, loss):
    options = {"dim": 5, "lr": 0.5, "epoch": 6, "wordNgrams": 2, "bucket": 600, "loss": loss}
    theirs = original.train_supervised(str(labeled_file), verbose=0, thread=1, **options)
    theirs.save_model(str(tmp_path / "m.bin"))
    ours = compat.load_model(tmp_path / "m.bin")
    plain = compat.load_model(tmp_path / "m.bin")
    plain.quantize(cutoff=300)
    for model in (theirs, ours):
        model.quantize(str(labeled_file), cutoff=300, retrain=True, epoch=6, lr=0.5, thread=1)
    ours.save_model(tmp_path / "m.ftz")
    read = original.load_model(str(tmp_path / "m.ftz"))
    expected, found = (model.test(str(labeled_file))[1] for model in (theirs, read))
    assert abs(found - expected) < 0.05
    assert found > plain.test(labeled_file)[1]
    assert sorted(read.words) == sorted(theirs.words)
    assert read_file(tmp_path / "m.ftz").args.epoch == 6


@pytest.mark.slow
def test_retraining_uses_the_learning_rate_of_training(labeled_file, tmp_path, monkeypatch):
    from fasttext_app.compat import quantize

    seen = []

    def retrain_nothing(artifact, rows, layer):
        seen.append((layer["optimizer"]["lr"] / layer["trainer"]["batch_size"], layer["trainer"]))
        return artifact

    monkeypatch.setattr(quantize, "retrain", retrain_nothing)
    options = {"dim": 4, "lr": 0.25, "epoch": 3, "wordNgrams": 2, "bucket": 500, "thread": 1}
    model = compat.train_supervised(labeled_file, **options)
    model.save_model(tmp_path / "m.bin")
    again = compat.load_model(tmp_path / "m.bin")
    given = compat.load_model(tmp_path / "m.bin")
    for one in (model, again):
        one.quantize(labeled_file, cutoff=300, retrain=True)
    given.quantize(labeled_file, cutoff=300, retrain=True, lr=2.0, epoch=7, thread=2)
    rates = [rate for rate, _ in seen]
    assert rates == [0.25, 0.05, 2.0]  # a file does not tell it
    assert [trainer["epochs"] for _, trainer in seen] == [3, 3, 7]
    assert seen[2][1]["threads"] == 2


def test_retraining_needs_a_file(original, train_original, tmp_path):
    path = train_original(wordNgrams=2, bucket=300)
    for model in (original.load_model(str(path)), compat.load_model(path)):
        with pytest.raises(ValueError, match="Need input file path if retraining"):
            model.quantize(retrain=True)
    model = compat.load_model(path)
    with pytest.raises(DataError, match=r"none\.txt: no such file"):
        model.quantize(tmp_path / "none.txt", cutoff=300, retrain=True)
    assert not model.is_quantized()


# --- codes of the linear layer


@pytest.fixture(scope="module")
def many_labels(labeled_rows, tmp_path_factory):
    """A file of lines with 300 labels."""
    path = tmp_path_factory.mktemp("many") / "many.txt"
    rows = [f"__label__{n % 300} {text}\n" for n, (_, text) in enumerate(labeled_rows)]
    path.write_text("".join(rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def many(original, many_labels):
    """Return a function that trains the original on 300 labels; it returns the model's path."""

    @cache
    def train(loss="softmax", norms=None):
        settings = {"dim": 3, "lr": 1.0, "epoch": 3, "verbose": 0, "thread": 1, "loss": loss}
        model = original.train_supervised(str(many_labels), **settings)
        if norms is not None:
            model.quantize(qout=True, qnorm=norms)
        path = many_labels.with_name(f"{loss}-{norms}.model")
        model.save_model(str(path))
        return path

    return train


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("norms", [False, True])
def test_codes_of_the_output_come_back_byte_by_byte(many, many_labels, tmp_path, loss, norms):
    path = many(loss, norms)
    artifact = from_fasttext(read_file(path), str(path))
    assert isinstance(artifact.weight, Coded)
    save_artifact(artifact, tmp_path / "model")
    loaded = load_artifact(tmp_path / "model")
    assert sorted(loaded.tensors) == sorted(artifact.tensors)
    assert ("weight_norm_codes" in loaded.tensors) is norms
    write_file(to_fasttext(loaded, quantized=True), tmp_path / "back.ftz")
    assert (tmp_path / "back.ftz").read_bytes() == path.read_bytes()
    dense = from_fasttext(read_file(path), str(path), dequantize=True)
    texts = ["a b c", "", *many_labels.read_text(encoding="utf-8").splitlines()[:40]]
    by_codes, by_numbers = (TextClassifier(a).predict_proba(texts) for a in (loaded, dense))
    np.testing.assert_allclose(by_codes, by_numbers, rtol=1e-6)
    bags = TextClassifier(loaded).encoder.encode(texts)
    by_torch = torch_forward(loaded, "cpu")(bags)
    np.testing.assert_allclose(by_torch, TextClassifier(loaded).logits(texts), rtol=1e-6, atol=2e-5)


WIDE_NORMS = {"qnorm": True, "dsub": 3}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "options"),
    [("softmax", {}), ("softmax", WIDE_NORMS), ("ova", {}), ("ns", WIDE_NORMS), ("hs", WIDE_NORMS)],
)
def test_an_output_coded_here_gives_the_same_answers_in_the_original(
    original, many, many_labels, tmp_path, loss, options
):
    path = many(loss)
    model = compat.load_model(path)
    model.quantize(qout=True, **options)
    model.save_model(tmp_path / "m.ftz")
    theirs = original.load_model(str(tmp_path / "m.ftz"))
    within = 0.25 / 32 if loss in ("ova", "ns") else 1e-5
    for line in many_labels.read_text(encoding="utf-8").splitlines()[:30]:
        (labels, proba), (named, numbers) = (m.predict(line, k=-1) for m in (theirs, model))
        of_label = dict(zip(named, numbers, strict=True))
        for label, p in zip(labels, proba, strict=True):
            assert abs(of_label[label] - min(p, 1)) <= within


@pytest.mark.slow
def test_codes_of_the_output_are_no_matrix_of_numbers(many):
    model = compat.load_model(many(norms=False))
    with pytest.raises(ValueError, match="Can't get quantized Matrix"):
        model.get_output_matrix()


def test_few_labels_are_not_put_into_codes(original, train_original):
    path = train_original()
    with pytest.raises(ValueError, match="at least 256 rows"):
        original.load_model(str(path)).quantize(qout=True)
    model = compat.load_model(path)
    with pytest.raises(ConfigError, match="it has 4 labels and needs 256"):
        model.quantize(qout=True)


@pytest.mark.slow
def test_codes_of_the_output_that_do_not_fit_are_refused(many, tmp_path):
    artifact = from_fasttext(read_file(many(norms=False)), "m.ftz")
    artifact.tensors["weight_codes"] = artifact.tensors["weight_codes"][:-1]
    save_artifact(artifact, tmp_path / "model")
    with pytest.raises(ArtifactError, match="do not fit the configuration"):
        load_artifact(tmp_path / "model")


@pytest.mark.slow
def test_a_model_with_codes_of_its_output_takes_other_matrices(many):
    model = compat.load_model(many(norms=False))
    rows, classes = len(model.words), len(model.labels)
    model.set_matrices(np.ones((rows, 3)), np.ones((classes, 3)))
    assert not model.is_quantized()
    assert model.get_output_matrix().tolist() == [[1, 1, 1]] * classes

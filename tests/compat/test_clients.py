"""Libraries that import ``fasttext``: they find this package, and its models do what they call.

The clients themselves come with the extra ``clients``; without them, the tests that mirror their
calls remain.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from pathlib import Path

import numpy as np
import pytest

from fasttext_app import compat
from fasttext_app.errors import ArtifactError, ConfigError, DataError, TrainingError
from tests.helpers import installs_undone

QUICK = {"dim": 4, "epoch": 5, "lr": 0.5, "thread": 1}


@pytest.fixture
def installed():
    """Put compat in place of fasttext for a test; forget what the test imports."""
    with installs_undone():
        before = set(sys.modules)
        compat.install()
        yield
        for name in set(sys.modules) - before:
            if name.split(".")[0] in {"ftlangdetect", "datatrove"}:
                del sys.modules[name]


@pytest.fixture(scope="module")
def model_path(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("client")
    lines = "__label__en the cat sat\n__label__fr le chat noir\n" * 20
    (folder / "train.txt").write_text(lines, encoding="utf-8")
    compat.train_supervised(folder / "train.txt", **QUICK).save_model(folder / "m.bin")
    return folder / "m.bin"


# --- the place of fasttext


def test_every_way_to_import_it_finds_this_package(installed, model_path):
    import fasttext
    import fasttext.FastText
    import fasttext.util
    from fasttext import FastText, load_model, train_supervised
    from fasttext.FastText import _FastText

    assert fasttext is compat
    assert fasttext.FastText is FastText is compat.FastText
    assert fasttext.util is compat.util
    assert FastText._FastText is _FastText
    assert (load_model, train_supervised) == (FastText.load_model, FastText.train_supervised)
    assert FastText.model_name.supervised.name == "supervised"
    for model in (_FastText(str(model_path)), _FastText(model_path=str(model_path))):
        assert isinstance(model, _FastText)
        assert isinstance(load_model(str(model_path)), _FastText)
        assert model.predict("the cat")[0] == ("__label__en",)
    assert importlib.util.find_spec("fasttext") is not None
    names = {distribution.name for distribution in importlib.metadata.distributions()}
    assert {"fasttext", "fasttext-wheel", "fasttext-numpy2-wheel"} <= names
    assert importlib.metadata.version("fasttext") == "0.9.3"
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("fasttext-of-nobody")
    compat.install()
    assert len(sys.meta_path) == len(set(map(id, sys.meta_path)))


def test_the_compiled_object_answers_what_clients_ask(original, model_path):
    theirs, ours = original.load_model(str(model_path)).f, compat.load_model(model_path).f
    for k, threshold in ((1, 0.0), (-1, 0.0), (2, 0.9)):
        expected = theirs.predict("the chat\n", k, threshold, "strict")
        found = ours.predict("the chat\n", k, threshold, "strict")
        assert [label for _, label in found] == [label for _, label in expected]
        np.testing.assert_allclose(*([p for p, _ in answer] for answer in (found, expected)), 1e-5)
    lines = ["the cat\n", "noir\n"]
    assert (
        ours.multilinePredict(lines, 1, 0.0, "strict")[0]
        == (theirs.multilinePredict(lines, 1, 0.0, "strict")[0])
    )
    assert ours.getVocab("strict") == theirs.getVocab("strict")
    assert ours.getLabels("strict") == theirs.getLabels("strict")
    assert ours.getLine("the __label__en x\n", "strict") == theirs.getLine(
        "the __label__en x\n", "strict"
    )
    assert ours.isQuant() is theirs.isQuant() is False
    assert ours.getWordId("the") == theirs.getWordId("the")
    found, expected = ours.getArgs(), theirs.getArgs()
    names = "dim", "ws", "epoch", "minCount", "neg", "wordNgrams", "bucket", "minn", "maxn", "t"
    assert [getattr(found, n) for n in names] == [getattr(expected, n) for n in names]
    assert (found.loss.name, found.model.name) == (expected.loss.name, expected.model.name)
    with pytest.raises(AttributeError, match=r"model\.f has no 'getWordVector' here"):
        ours.getWordVector  # noqa: B018


def test_a_model_becomes_that_of_another_file(model_path, tmp_path):
    model = compat.load_model(model_path)
    (tmp_path / "other.txt").write_text("__label__x u v\n__label__y w\n" * 5, encoding="utf-8")
    compat.train_supervised(tmp_path / "other.txt", **QUICK).save_model(tmp_path / "other.bin")
    model.f.loadModel(str(tmp_path / "other.bin"))
    assert sorted(model.labels) == ["__label__x", "__label__y"]


# --- errors


def refused(kind, own, call, message):
    with pytest.raises(kind, match=message) as caught:
        call()
    assert isinstance(caught.value, own)


@pytest.mark.slow
def test_errors_are_of_the_kind_of_the_original_too(model_path, tmp_path):
    train, path = compat.train_supervised, model_path.with_name("train.txt")
    model, damaged, empty = compat.load_model(model_path), tmp_path / "d.bin", tmp_path / "e.txt"
    damaged.write_bytes(model_path.read_bytes()[:99])
    empty.touch()
    (tmp_path / "w.vec").write_text("1 3\nthe 1 2 3\n", encoding="utf-8")
    vectors = {**QUICK, "pretrainedVectors": str(tmp_path / "w.vec")}
    for own, call, message in [
        (ArtifactError, lambda: compat.load_model(tmp_path / "none"), "there is no such file"),
        (ArtifactError, lambda: compat.load_model(damaged), "not a valid fastText model"),
        (ArtifactError, lambda: compat.load_model(empty), "the file is empty"),
        (ArtifactError, lambda: model.save_model(tmp_path / "no" / "m.bin"), "m.bin"),
        (DataError, lambda: train(tmp_path / "none", **QUICK), "none"),
        (DataError, lambda: train(empty, **QUICK), "the file is empty"),
        (DataError, lambda: train(path, **vectors), "set dim = 3"),
        (DataError, lambda: model.test(tmp_path / "none"), "none"),
        (ConfigError, lambda: train(path, loss="hinge"), "loss: must be"),
        (ConfigError, lambda: train(path, dim=-1), "dim: must be"),
        (ConfigError, model.quantize, "it has 7 rows and needs 256"),
        (ConfigError, lambda: compat.train_unsupervised(path), "classifiers only"),
    ]:
        refused(ValueError, own, call, message)
    refused(RuntimeError, TrainingError, lambda: train(path, dim=4, lr=1e20), "not finite")
    for own, call, message in [
        (ConfigError, lambda: train(path, epochs=3), "epochs: no such option"),
        (ConfigError, lambda: train(path, dim="x"), "dim: must be an integer"),
        (ConfigError, lambda: train(path, lr="x"), "lr: must be a number"),
        (ConfigError, lambda: train(5), "input: must be the path of a file"),
        (ConfigError, lambda: train(path, 0.1, lr=0.1), "lr: is given twice"),
        (TypeError, lambda: model.predict(5), "predict: got int; pass a text"),
        (TypeError, lambda: model.predict({"text": "a"}), "predict: got dict"),
        (TypeError, lambda: model.predict(["a", None]), "predict: got list"),
    ]:
        refused(TypeError, own, call, message)
    refused(ValueError, ValueError, lambda: model.get_input_vector(-1), "row -1 is out of range")
    refused(ValueError, ValueError, lambda: model.get_subword_id("ab"), "bucket is 0")


@pytest.mark.slow
def test_a_quantized_model_is_not_quantized_again(tmp_path):
    words = [f"w{number}" for number in range(300)]
    lines = "".join(f"__label__{i % 2} {word}\n" for i, word in enumerate(words))
    (tmp_path / "many.txt").write_text(lines, encoding="utf-8")
    model = compat.train_supervised(tmp_path / "many.txt", **QUICK)
    matrices = model.get_input_matrix(), model.get_output_matrix()
    model.quantize()
    refused(ValueError, ConfigError, model.quantize, "already quantized")
    model.set_matrices(*matrices)
    assert not model.is_quantized()


# --- fasttext.util


def test_scores_are_those_of_the_models_test(model_path):
    util = compat.util
    assert util.test([["a"], ["b"], ["a"]], [["a"], ["a", "b"], ["b"]]) == (2 / 3, 2 / 4)
    vectors = np.array([[2.0, 0], [1, 0], [0, 3]])
    products = np.empty(3)
    assert util.find_nearest_neighbor(np.array([1.0, 0]), vectors, {0}, products) == 1
    assert products.tolist() == [2, 1, 0]
    refused(ValueError, ConfigError, lambda: util.download_model("en"), "downloads no models")


@pytest.mark.slow
def test_a_reduced_model_answers_like_the_whole_one(original, labeled_file, tmp_path):
    model = compat.train_supervised(labeled_file, dim=20, epoch=5, lr=0.5, thread=1)
    whole = model.test(labeled_file)[1]
    refused(ValueError, ConfigError, lambda: compat.util.reduce_model(model, 21), "must be 1 to 20")
    assert compat.util.reduce_model(model, 8) is model
    assert model.get_dimension() == 8
    assert model.test(labeled_file)[1] > whole - 0.02
    vectors = original.train_unsupervised(
        str(labeled_file), dim=10, minCount=1, epoch=1, bucket=100, verbose=0, thread=1
    )
    vectors.save_model(str(tmp_path / "v.bin"))
    model = compat.util.reduce_model(compat.load_model(tmp_path / "v.bin"), 4)
    model.save_model(tmp_path / "small.bin")
    smaller = original.load_model(str(tmp_path / "small.bin"))
    assert smaller.get_dimension() == 4
    np.testing.assert_array_equal(smaller.get_input_matrix(), model.get_input_matrix())


# --- what clients do


def test_what_dolma_imports_and_trains_with(installed, model_path, tmp_path):
    from fasttext import train_supervised
    from fasttext.FastText import _FastText

    model = train_supervised(
        input=str(model_path.with_name("train.txt")), lr=0.1, dim=4, ws=5, epoch=2, minCount=1,
        minCountLabel=1, minn=0, maxn=0, neg=5, wordNgrams=2, loss="softmax", bucket=2000,
        thread=0, lrUpdateRate=100, t=1e-4, label="__label__", verbose=2, pretrainedVectors=None,
    )  # fmt: skip
    model.save_model(str(tmp_path / "saved"))
    labels, scores = _FastText(str(tmp_path / "saved")).predict("the cat", k=-1)
    assert dict(zip(labels, scores.tolist(), strict=True)).keys() == set(model.labels)


def test_what_dclm_asks_a_model(installed, model_path):
    import fasttext

    fasttext.FastText.eprint = lambda text: None
    del fasttext.FastText.eprint
    model = fasttext.FastText._FastText(model_path=str(model_path))
    pred_label, pred_prob = model.predict("the cat sat")
    assert pred_label == ("__label__en",)
    assert pred_prob.item() > 0.5


def test_datatrove_filters_by_a_model(installed, model_path):
    pytest.importorskip("datatrove")
    from datatrove.data import Document
    from datatrove.pipeline.filters import FastTextClassifierFilter

    keep = FastTextClassifierFilter(str(model_path), keep_labels=("en", 0.6))
    documents = [Document(text="the cat sat", id="1"), Document(text="le chat noir", id="2")]
    assert [keep.filter(document) for document in documents] == [True, False]
    assert documents[0].metadata["__label__en"] > 0.6
    unknown = FastTextClassifierFilter(str(model_path), keep_labels=("de", 0.5))
    with pytest.raises(ValueError, match="'de' passed as keep_labels"):
        unknown.filter(documents[0])


def test_datatrove_detects_languages(installed, model_path):
    lid = pytest.importorskip("datatrove.utils.lid")
    from datatrove.data import Document

    names = {"MODEL_URL": str(model_path), "MODEL_SUBFOLDER": "none"}
    detector = type("Detector", (lid.FastTextLID,), names)(k=-1)
    (best, score), scores = detector.predict(Document(text="le chat\nnoir", id="1"))
    assert best == "fr"
    assert scores.keys() == {"en", "fr"}
    assert score == scores["fr"]


def test_fasttext_langdetect_replaces_a_damaged_file(installed, model_path, tmp_path, monkeypatch):
    detect = pytest.importorskip("ftlangdetect.detect")
    monkeypatch.setenv("FTLANG_CACHE", str(tmp_path))
    (tmp_path / "lid.176.ftz").write_text("<html>not found</html>")

    def download(name, cache_dir=None):
        path = tmp_path / name
        if not path.exists():
            path.write_bytes(model_path.read_bytes())
        return path

    monkeypatch.setattr(detect, "download_model", download)
    found = detect.detect("the cat\nsat", low_memory=True)
    assert found["lang"] == "en"
    assert [entry["lang"] for entry in detect.detect("le chat", True, k=2)] == ["fr", "en"]

"""What a model tells of itself: in a session, in a notebook, and by scikit-learn's names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fasttext_app as ft
from fasttext_app.inference.forward import bag_vectors
from fasttext_app.inference.predictions import Prediction
from tests.helpers import WORDS_ONLY, code_path

TEXTS = ["great fun", "dull and slow", "a joy to watch", "a waste of time"] * 6
LABELS = ["<good>", "bad"] * 12


def train(**settings: Any) -> ft.TextClassifier:
    quick = {"epochs": 2, "dim": 4, "threads": 1}
    return ft.train(TEXTS, LABELS, **WORDS_ONLY | quick | settings)


def test_the_repr_of_a_model():
    model = train(model={"fold": False})
    words = len(model.artifact.vocabulary)
    accuracy = model.artifact.metrics["validation_accuracy"]
    assert repr(model) == (
        f"<TextClassifier: 2 labels (<good>, bad), {words} rows x 4, 0.2 kB, 22 texts, "
        f"accuracy {accuracy:.4f}>"
    )
    assert "<td>2 labels (&lt;good&gt;, bad)</td>" in model._repr_html_()
    assert "<good>" not in model._repr_html_()
    assert "accuracy" not in repr(train(validation=0.0))
    assert repr(model.quantize()).startswith("<TextClassifier: 2 labels")


def test_many_or_long_labels_are_cut_short():
    labels = [f"{number:02}{'x' * 50}" for number in range(12)] * 2
    shown = repr(ft.train(TEXTS, labels, **WORDS_ONLY | {"epochs": 1, "dim": 2}))
    assert "12 labels (00xxx" in shown
    assert ", ...)" in shown
    assert len(shown) < 300


def test_the_repr_of_a_prediction():
    prediction = Prediction(("a", "<b>"), (0.75, 0.123456789), 0.5)
    assert repr(prediction) == (
        "Prediction(labels=('a', '<b>'), probabilities=(0.7500, 0.1235), known=0.50)"
    )
    assert eval(repr(prediction)).labels == prediction.labels
    assert repr(Prediction(("a",), (1.0,))) == (
        "Prediction(labels=('a',), probabilities=(1.0000,), known=1.00)"
    )
    shown = prediction._repr_html_()
    assert "50% of the text known" in shown
    assert "<th>&lt;b&gt;</th><td>0.1235</td>" in shown
    assert repr(Prediction((), ())) == "Prediction(labels=(), probabilities=(), known=1.00)"


def test_classes_and_history():
    model = train()
    assert model.classes_.tolist() == list(model.labels)
    assert [epoch["epoch"] for epoch in model.history] == [1, 2]
    assert all(epoch["train_loss"] > 0 for epoch in model.history)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    "settings", [{}, {"mode": "sum", "term_weighting": "tfidf"}, {"loss": "hs"}, {"threads": 2}]
)
def test_embeddings_are_the_vectors_under_the_linear_layer(settings, compiled):
    model = train(model={"fold": False}, **settings)
    with code_path(compiled=compiled):
        vectors = model.embed([*TEXTS, "zzz", ""])
    assert (vectors.shape, vectors.dtype) == ((len(TEXTS) + 2, 4), np.float32)
    tensors = model.artifact.tensors
    bags = model.encoder.encode(TEXTS)
    expected = bag_vectors(tensors["table"], bags, model.config.model.mode, tensors.get("idf"))
    assert np.array_equal(vectors[: len(TEXTS)], expected)
    assert not vectors[len(TEXTS) :].any()
    if "loss" not in settings:
        logits = vectors @ tensors["weight"].T + tensors["bias"]
        assert np.allclose(model.logits(TEXTS), logits[: len(TEXTS)], atol=1e-5)
    assert model.embed([]).shape == (0, 4)


def test_embeddings_of_a_folded_model_are_its_logits_without_the_bias():
    model = train()
    assert model.embed(TEXTS).shape == (len(TEXTS), 2)
    assert np.allclose(model.embed(TEXTS) + model.artifact.tensors["bias"], model.logits(TEXTS))


@pytest.mark.slow
def test_embeddings_on_a_device_of_torch():
    model = train()
    on_torch = ft.TextClassifier(model.artifact, device="auto")
    assert np.array_equal(on_torch.embed(TEXTS), model.embed(TEXTS))
    assert np.allclose(on_torch.logits(TEXTS), model.logits(TEXTS))  # of a folded model

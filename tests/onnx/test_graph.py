"""The ONNX graph of a model gives the logits and probabilities of our own forward pass."""

from __future__ import annotations

import numpy as np
import pytest

from fasttext_app.core.ragged import Ragged
from fasttext_app.errors import ConfigError
from fasttext_app.inference.forward import CpuForward
from fasttext_app.onnx import graph
from fasttext_app.onnx.graph import build_graph
from tests.onnx.models import random_model

onnxruntime = pytest.importorskip("onnxruntime")

LOSSES = "softmax", "ova", "ns", "hs", "adaptive"
MODES = "sum", "mean", "max"


def session(artifact):
    return onnxruntime.InferenceSession(build_graph(artifact).SerializeToString())


def run(model, bags):
    feeds = {"ids": bags.indices.astype(np.int64), "offsets": bags.offsets}
    return model.run(["logits", "probabilities"], feeds)


def check(artifact, *, near=2e-6):
    """Compare on bags of all kinds: empty ones at either end, and between others; none at all."""
    draw, rows = np.random.default_rng(0), len(artifact.table)
    lists = [[], [0], [rows - 1] * 3, [], [], draw.integers(0, rows, 50).tolist(), [2], [2, 1], []]
    exported, forward, head = session(artifact), CpuForward(artifact), artifact.head()
    for bags in (lists, lists[:1], lists[1:2], lists[5:6], []):
        batch = Ragged.from_lists(bags, np.int32)
        logits, probabilities = run(exported, batch)
        expected = forward(batch)
        assert logits.shape == probabilities.shape == expected.shape
        np.testing.assert_allclose(logits, expected, rtol=near, atol=near)
        np.testing.assert_allclose(probabilities, head.probabilities(logits), atol=near)
        assert (probabilities <= 1).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("table", ["floats", "int8", "codes"])
def test_every_loss_mode_and_table(loss, mode, table):
    check(random_model(table, loss=loss, mode=mode))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("table", ["floats", "int8", "codes"])
def test_a_padding_row_takes_no_part(mode, table):
    check(random_model(table, mode=mode, padding_idx=2))


@pytest.mark.parametrize("padding_idx", [None, 2])
@pytest.mark.parametrize("table", ["floats", "int8", "codes"])
def test_tfidf_weights(table, padding_idx):
    weighted = {"mode": "sum", "term_weighting": "tfidf", "word_ngrams": 2, "bucket": 30}
    check(random_model(table, padding_idx=padding_idx, **weighted))


@pytest.mark.parametrize("loss", ["softmax", "ova", "ns", "hs"])
def test_the_probabilities_of_fasttext(loss):
    check(random_model(loss=loss, probabilities="fasttext"))


def test_the_steps_of_the_sigmoid_of_fasttext():
    """Logits at and beyond the ends of the table, which every text gets as its bias."""
    artifact = random_model(loss="ova", probabilities="fasttext")
    edges = np.array([-9, -8, -7.99, 0, 7.98, 8, 8.01], np.float32)
    artifact.tensors["bias"][:] = edges
    logits, probabilities = run(session(artifact), Ragged.from_lists([[]], np.int32))
    assert np.array_equal(logits[0], edges)
    np.testing.assert_allclose(probabilities, artifact.head().probabilities(logits), atol=1e-7)


@pytest.mark.parametrize("loss", ["softmax", "ova", "hs"])
@pytest.mark.parametrize("classes", [1, 2])
def test_few_classes(loss, classes):
    check(random_model(loss=loss, classes=classes))


def test_the_sums_have_our_bits_whatever_the_number_of_threads():
    artifact = random_model(mode="sum")
    draw = np.random.default_rng(0)
    lists = [draw.integers(0, len(artifact.table), 300).tolist() for _ in range(50)]
    bags = Ragged.from_lists(lists, np.int32)
    artifact.tensors["weight"][:] = np.eye(*artifact.tensors["weight"].shape)
    artifact.tensors["bias"][:] = 0
    assert np.array_equal(run(session(artifact), bags)[0], CpuForward(artifact)(bags))


def test_a_model_beyond_the_size_of_a_file_is_refused(monkeypatch):
    monkeypatch.setattr(graph, "MAX_BYTES", 300)
    with pytest.raises(ConfigError, match=r"too large for an ONNX file.*fasttext-app quantize"):
        build_graph(random_model())

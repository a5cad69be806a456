"""The loaded model: NumPy's pass equals torch's, and answers do not depend on how one asks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.config.schema import ModelConfig
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.labels import Labels
from fasttext_app.errors import ConfigError, DataError, DeviceError
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.forward import MODES, bag_vectors
from fasttext_app.inference.kernels import sum_bags
from fasttext_app.inference.predictions import Prediction, TopK
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.model.heads import build_head
from fasttext_app.text.chunks import CHUNK_ROWS
from fasttext_app.text.tfidf import tfidf_weights
from fasttext_app.text.vocabulary import Vocabulary
from tests.helpers import make_config

WORDS = ["alpha", "beta", "gamma", "delta"]
LABELS = ("eins", "zwei", "drei")
DIM = 5

bag_lists = st.lists(st.lists(st.integers(0, len(WORDS) - 1), max_size=5), min_size=1, max_size=6)
texts = st.lists(st.lists(st.sampled_from([*WORDS, "unknown"]), max_size=5).map(" ".join))


def make_classifier(
    *, idf: bool = False, device: str = "cpu", seed: int = 0, **settings
) -> TextClassifier:
    """A model of four words with weights drawn by ``seed``."""
    config = make_config(**{"dim": DIM, "bucket": 7} | settings)
    generator = np.random.default_rng(seed)
    rows = len(WORDS) + config.text.bucket_count
    tensors = {
        "table": generator.normal(size=(rows, DIM)).astype(np.float32),
        "weight": generator.normal(size=(len(LABELS), DIM)).astype(np.float32),
        "bias": generator.normal(size=len(LABELS)).astype(np.float32),
    }
    if idf:
        tensors["idf"] = generator.uniform(1, 3, size=rows).astype(np.float32)
    vocabulary = Vocabulary(pa.array(WORDS), np.array([4, 3, 2, 1]))
    artifact = Artifact(config, vocabulary, Labels(LABELS, (3, 2, 1)), tensors)
    return TextClassifier(artifact, device=device, threads=1)


@pytest.fixture(scope="module")
def model() -> TextClassifier:
    return make_classifier(word_ngrams=2)


# --------------------------------------------------------------------------------- the forward pass


@pytest.mark.slow
@given(
    bag_lists,
    st.sampled_from(["mean", "sum", "max"]),
    st.booleans(),
    st.sampled_from([None, 0, 2]),
    st.sampled_from([np.int32, np.int64]),
    st.data(),
)
@settings(deadline=None, max_examples=60)
def test_bag_vectors_equal_those_of_torch(bags, mode, weighted, padding_idx, dtype, data):
    ragged = Ragged.from_lists(bags, dtype)
    table = np.random.default_rng(0).normal(size=(len(WORDS), DIM)).astype(np.float32)
    idf = None
    if weighted and mode == "sum":
        number = st.floats(0.5, 3, width=32)
        drawn = data.draw(st.lists(number, min_size=len(WORDS), max_size=len(WORDS)))
        idf = np.array(drawn, dtype=np.float32)
    weights = None if idf is None else tfidf_weights(ragged, idf)

    vectors = bag_vectors(table, ragged, mode, idf, padding_idx)

    expected = torch.nn.functional.embedding_bag(
        torch.from_numpy(ragged.indices),
        torch.from_numpy(table),
        torch.from_numpy(ragged.offsets.astype(dtype)),
        mode=mode,
        per_sample_weights=None if weights is None else torch.from_numpy(weights),
        padding_idx=padding_idx,
        include_last_offset=True,
    )
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@given(
    st.lists(st.integers(0, 3000), min_size=1, max_size=4),
    st.integers(1, 20),
    st.sampled_from(["mean", "sum", "max"]),
    st.sampled_from([None, 0, 7]),
    st.booleans(),
    st.sampled_from([np.float32, np.int8]),
    st.integers(0, 1000),
)
@settings(deadline=None, max_examples=50)
def test_bag_vectors_have_the_bits_of_compiled_code(
    lengths, dim, mode, padding_idx, weighted, dtype, seed
):
    generator = np.random.default_rng(seed)
    table = (30 * generator.normal(size=(50, dim))).clip(-127, 127).astype(dtype)
    scale = generator.random(50, np.float32) if dtype == np.int8 else None
    idf = generator.random(50, np.float32) + 1 if weighted and mode == "sum" else None
    bags = Ragged.from_lists([generator.integers(0, 50, size).tolist() for size in lengths])
    plain = bag_vectors(table, bags, mode, idf, padding_idx, scale)
    none = np.empty(0, np.float32)
    compiled = sum_bags(
        bags.indices.astype(np.int32),
        bags.offsets,
        table,
        none if scale is None else scale,
        none if idf is None else idf,
        MODES.index(mode),
        -1 if padding_idx is None else padding_idx,
    )
    np.testing.assert_array_equal(plain, compiled)


@pytest.mark.parametrize("mode", ["mean", "sum", "max"])
def test_the_inputs_of_bag_vectors_stay_as_they_are(mode):
    table, bags = np.ones((3, 2), dtype=np.float32), Ragged.from_lists([[0, 1], [2, 2]])
    idf = np.array([1, 2, 3], dtype=np.float32) if mode == "sum" else None
    bag_vectors(table, bags, mode, idf, padding_idx=1)
    assert (table == 1).all()
    assert bags.to_lists() == [[0, 1], [2, 2]]
    assert idf is None or idf.tolist() == [1, 2, 3]


SETTINGS = [
    {"mode": "mean"},
    {"mode": "sum", "word_ngrams": 2, "minn": 2, "maxn": 3},
    {"mode": "max", "sparse": False},
    {"mode": "mean", "padding_idx": 1},
    {"mode": "max", "sparse": False, "padding_idx": 0},
    {"mode": "sum", "term_weighting": "tfidf"},
    {"mode": "sum", "term_weighting": "tfidf", "padding_idx": 2, "word_ngrams": 3},
    {"mode": "mean", "include_last_offset": False},
]


@pytest.mark.slow
@pytest.mark.parametrize("settings_", SETTINGS)
@given(texts=texts)
@settings(deadline=None, max_examples=15)
def test_logits_equal_those_of_the_torch_model(settings_, texts):
    weighted = "term_weighting" in settings_
    plain = make_classifier(idf=weighted, **settings_)
    torched = make_classifier(idf=weighted, device="auto", **settings_)
    np.testing.assert_allclose(plain.logits(texts), torched.logits(texts), rtol=1e-4, atol=1e-4)


def test_logits_are_those_of_the_trained_module(model):
    module = FastTextClassifier.from_config(model.config.model, 11, 3)
    module.load_tensors(model.artifact.tensors)
    bags = model.encoder.encode(["alpha beta", "", "gamma"])
    expected = module(torch.from_numpy(bags.indices), torch.from_numpy(bags.offsets).int())
    logits = model.logits(["alpha beta", "", "gamma"])
    np.testing.assert_allclose(logits, expected.detach().numpy(), rtol=1e-5, atol=1e-5)


def test_a_text_without_known_features_gets_the_bias(model):
    unigrams = make_classifier()
    bias = unigrams.artifact.tensors["bias"]
    for row in unigrams.logits(["", "unknown", "unknown unknown"]):
        assert row.tolist() == bias.tolist()


# ------------------------------------------------------------------------------------ probabilities

logit_arrays = st.lists(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3), min_size=1, max_size=5
).map(lambda rows: np.array(rows, dtype=np.float32))


@pytest.mark.slow
@given(logit_arrays)
@settings(deadline=None, max_examples=50)
def test_softmax_probabilities_sum_to_one_and_keep_the_order(logits):
    proba = build_head(ModelConfig()).probabilities(logits)
    assert proba.sum(axis=1) == pytest.approx(np.ones(len(logits)))
    assert (proba >= 0).all()
    assert (proba <= 1).all()
    assert (np.diff(np.take_along_axis(proba, np.argsort(logits, axis=1), axis=1)) >= 0).all()


@pytest.mark.slow
@given(logit_arrays)
@settings(deadline=None, max_examples=50)
def test_ova_probabilities_are_sigmoids_of_each_class(logits):
    proba = build_head(ModelConfig(loss="ova")).probabilities(logits)
    sigmoid = torch.sigmoid(torch.from_numpy(logits).double()).numpy()
    np.testing.assert_allclose(proba, sigmoid, rtol=1e-9, atol=1e-300)
    assert (proba <= 1).all()


def test_probabilities_do_not_overflow():
    logits = np.array([[3e38, -3e38, 0.0]], dtype=np.float32)
    assert build_head(ModelConfig()).probabilities(logits).tolist() == [[1, 0, 0]]
    assert build_head(ModelConfig(loss="ova")).probabilities(logits).tolist() == [[1, 0, 0.5]]


def test_the_loss_of_the_model_decides():
    softmax, ova = make_classifier(), make_classifier(loss="ova")
    assert softmax.predict_proba(["alpha"]).sum() == pytest.approx(1)
    assert ova.predict_proba(["alpha"]).sum() != pytest.approx(1, abs=1e-3)


# --------------------------------------------------------------------------------- rank and predict


def with_bias(bias: list[float], **settings) -> TextClassifier:
    classifier = make_classifier(**settings)
    classifier.artifact.tensors["bias"][:] = bias
    return classifier


def test_equal_scores_go_by_class():
    ranked = with_bias([1.0, 2.0, 2.0]).rank(["unknown"], top_k=3)
    assert ranked.classes.tolist() == [[1, 2, 0]]
    assert ranked.probabilities[0, 0] == ranked.probabilities[0, 1]


@pytest.mark.slow
@given(logit_arrays, st.sampled_from(["softmax", "ova", "hs"]))
@settings(deadline=None, max_examples=50)
def test_the_probabilities_of_some_classes_are_among_those_of_all(logits, loss):
    head = build_head(ModelConfig(loss=loss))
    everything = head.probabilities(np.minimum(logits, 0))
    classes = np.argsort(logits, axis=1)[:, :2]
    found = head.class_probabilities(np.minimum(logits, 0), classes)
    np.testing.assert_array_equal(found, np.take_along_axis(everything, classes, axis=1))


def test_top_k_is_a_prefix_of_the_whole_ranking(model):
    several = ["alpha", "beta gamma", ""]
    whole = model.rank(several, top_k=3)
    for k in (1, 2):
        part = model.rank(several, top_k=k)
        assert part.classes.tolist() == whole.classes[:, :k].tolist()
        assert part.probabilities.tolist() == whole.probabilities[:, :k].tolist()


def test_top_k_beyond_the_classes_gives_all_of_them(model):
    assert model.rank(["alpha"], top_k=10).classes.shape == (1, 3)


@pytest.mark.parametrize("most", [1, 7, 3 * 4])
def test_texts_are_ranked_alike_however_few_at_a_time(model, monkeypatch, most):
    texts = ["alpha", "", "beta beta", "alpha gamma", "unknown"] * 3
    whole = model.rank(texts, top_k=2)
    monkeypatch.setattr("fasttext_app.model.heads.MAX_LOGITS", most)
    parts = model.rank(texts, top_k=2)
    assert parts.classes.tolist() == whole.classes.tolist()
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, rtol=1e-6)


def test_predict_one_text_or_several(model):
    one = model.predict("alpha beta")
    assert isinstance(one, Prediction)
    assert model.predict(["alpha beta"]) == [one]
    assert [answer.labels for answer in model.predict(["gamma", "alpha beta"])] == [
        model.predict("gamma").labels,
        one.labels,
    ]
    assert model.predict([]) == []


@pytest.mark.slow
def test_a_warm_model_runs_compiled_code_and_a_cold_one_does_not(tiny_model_dir):
    code = (
        "import json, sys\n"
        "import fasttext_app as ft\n"
        "model = ft.load(sys.argv[1])\n"
        "model.predict('the team scored')\n"
        "cold = 'fasttext_app.text.kernels' in sys.modules\n"
        "model.warm_up()\n"
        "print(json.dumps([cold, 'fasttext_app.text.kernels' in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_model_dir)], capture_output=True, check=True
    )
    assert json.loads(done.stdout) == [False, True]


@pytest.mark.parametrize("kind", [tuple, np.array, pa.array, lambda t: pa.chunked_array([t])])
def test_texts_come_in_any_column(model, kind):
    several = ["alpha beta", "gamma"]
    assert model.predict(kind(several)) == model.predict(several)


def test_predictions_name_the_labels_best_first():
    answer = with_bias([1.0, 3.0, 2.0]).predict("", top_k=2)
    assert answer.labels == ("zwei", "drei")
    assert answer.probabilities[0] > answer.probabilities[1]


def test_labels_below_the_threshold_are_left_out():
    classifier = with_bias([0.0, 5.0, -5.0], loss="ova")
    probability = classifier.predict("", top_k=1).probabilities[0]
    assert classifier.predict("", top_k=3, threshold=0.5).labels == ("zwei", "eins")
    assert classifier.predict("", threshold=probability).labels == ("zwei",)
    assert classifier.predict("", threshold=probability + 1e-6) == Prediction((), (), 0.0)


def test_ranked_columns_filter_row_by_row():
    classes = np.array([[0, 1], [1, 0], [0, 1]])
    ranked = TopK(classes, np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.3]]))
    labels, values = ranked.columns(["a", "b"], ranked.mask(0.4))
    assert labels.to_pylist() == [["a"], ["b", "a"], []]
    assert values.to_pylist() == [[0.9], [0.6, 0.4], []]


@pytest.mark.slow
@given(texts.filter(bool))
@settings(deadline=None, max_examples=25)
def test_one_by_one_equals_in_bulk(texts):
    classifier = make_classifier(word_ngrams=2)
    bulk = classifier.predict_proba(texts)
    single = np.concatenate([classifier.predict_proba([text]) for text in texts])
    np.testing.assert_allclose(bulk, single, rtol=1e-5)  # BLAS rounds by the shape of a matrix


def test_several_chunks_on_several_threads_keep_the_order():
    classifier = make_classifier()
    several = [WORDS[number % 4] for number in range(CHUNK_ROWS + 100)]
    one_thread = classifier.logits(several)
    classifier.threads = 2
    assert np.array_equal(classifier.logits(several), one_thread)
    four = classifier.logits(WORDS)
    np.testing.assert_allclose(one_thread, np.tile(four, (len(several) // 4, 1)), rtol=1e-5)


# --------------------------------------------------------------------------------------- evaluation


def test_evaluate_on_texts_and_labels():
    classifier = with_bias([9.0, 0.0, -9.0])
    scores = classifier.evaluate(["", "", "", ""], ["eins", "eins", "zwei", "eins"])
    assert scores["examples"] == 4
    assert scores["accuracy"] == 0.75
    assert scores["precision_at_k"] == {"1": 0.75, "3": pytest.approx(1 / 3)}
    assert scores["confusion_matrix"] == [[3, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_an_unknown_label_is_an_error_and_is_named():
    classifier = with_bias([9.0, 0.0, -9.0])
    scores = classifier.evaluate(["", "", "", ""], ["eins", "vier", "five", "vier"])
    assert scores["accuracy"] == 0.25
    assert scores["unknown_labels"] == {"vier": 2, "five": 1}
    assert scores["labels"] == [*LABELS, "vier", "five"]
    assert scores["per_label"]["vier"]["recall"] == 0


@pytest.mark.parametrize("wrap", [str, Path])
def test_evaluate_on_a_file(tmp_path, wrap):
    path = tmp_path / "data.csv"
    path.write_text("text,label\nalpha,eins\nbeta,zwei\n,drei\n", encoding="utf-8")
    classifier = make_classifier()
    expected = classifier.evaluate(["alpha", "beta", ""], ["eins", "zwei", "drei"])
    assert classifier.evaluate(wrap(path)) == expected


def test_evaluate_takes_the_split_that_is_named(tmp_path):
    for split, label in (("train", "eins"), ("test", "zwei")):
        path = tmp_path / f"{split}.csv"
        path.write_text(f"text,label\nalpha,{label}\n", encoding="utf-8")
    classifier = make_classifier()
    assert classifier.evaluate(str(tmp_path))["per_label"]["zwei"]["support"] == 1
    scores = classifier.evaluate(str(tmp_path), split="train")
    assert scores["per_label"]["eins"]["support"] == 1


def test_evaluate_reads_columns_as_the_model_was_told(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("title,body,class\nalpha,beta,eins\n", encoding="utf-8")
    classifier = make_classifier(text_columns=("title", "body"), label_column="class")
    assert classifier.evaluate(str(path)) == classifier.evaluate(["alpha beta"], ["eins"])


def test_evaluation_in_batches_equals_evaluation_at_once():
    classifier = make_classifier()
    labels = ["vier", "eins", "zwei", "fünf", "vier", "drei"]
    table = pa.table({"text": ["alpha", "beta", "", "gamma", "delta", "beta"], "label": labels})
    whole = classifier.evaluate_batches(table.to_batches())
    assert classifier.evaluate_batches(table.to_batches(max_chunksize=2)) == whole


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["a", "b"], ["eins"], "evaluate: got 1 labels for 2 texts"),
        (["a"], None, "evaluate: the texts have no labels"),
        ([], [], "evaluate: there are no texts"),
        (["a"], [None], "evaluate, row 1: column 'label' has no label"),
        ([None], ["eins"], "evaluate, row 1: column 'text' has no value"),
        ([1.5], ["eins"], "evaluate, row 1: got a float where a text is expected"),
        (["\ud800"], ["eins"], "evaluate, row 1: is not valid Unicode"),
        ("sample", ["eins"], "evaluate: labels can only be passed with texts; sample has its own"),
        ("no/such/file.csv", None, "no/such/file.csv: no such file"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(model, texts, labels, message):
    with pytest.raises(DataError, match=message):
        model.evaluate(texts, labels)


# ------------------------------------------------------------------------------------ save and load


@pytest.mark.slow
@pytest.mark.parametrize("settings_", SETTINGS)
def test_a_saved_model_answers_bit_for_bit_as_before(tmp_path, settings_):
    classifier = make_classifier(idf="term_weighting" in settings_, **settings_)
    classifier.save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model")
    several = ["alpha beta gamma", "", "unknown delta", "beta beta"]
    assert np.array_equal(loaded.predict_proba(several), classifier.predict_proba(several))
    assert loaded.config == classifier.config
    assert loaded.labels == LABELS


def test_the_tiny_model_tells_its_labels_apart(tiny_model_dir, tiny_examples):
    loaded = TextClassifier.load(tiny_model_dir)
    texts, labels = zip(*tiny_examples, strict=True)
    assert loaded.evaluate(texts, labels)["accuracy"] == 1.0


def test_a_model_for_a_device_that_is_not_there(tiny_model_dir):
    with pytest.raises(DeviceError, match="device tpu: expected auto, cpu, cuda"):
        TextClassifier.load(tiny_model_dir, device="tpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("settings_", SETTINGS)
def test_cuda_answers_as_the_cpu_does(settings_):
    weighted = "term_weighting" in settings_
    plain = make_classifier(idf=weighted, **settings_)
    cuda = make_classifier(idf=weighted, device="cuda", **settings_)
    several = ["alpha beta gamma", "", "unknown delta", "beta beta"]
    np.testing.assert_allclose(cuda.logits(several), plain.logits(several), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("top_k", [0, -1])
def test_asking_for_no_labels_is_refused(tiny_model_dir, top_k):
    model = TextClassifier.load(tiny_model_dir)
    for ask in (model.predict, model.rank, model.predict_batches):
        with pytest.raises(ConfigError, match=r"top_k = .* at least 1"):
            ask(["a text"], top_k)
    with pytest.raises(ConfigError, match=r"top_k = .* at least 1"):
        model.predict("a text", top_k=top_k)

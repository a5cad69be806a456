"""A text has the same bits alone, in a list, in a column, in another process, cold and warm."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import fasttext_app as ft
from fasttext_app import compat
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.kernels import FEW_TERMS, sum_like_numpy
from tests.helpers import code_path

TRAINING = {"validation": 0.0, "epochs": 2, "lr": 0.5, "device": "cpu", "threads": 1, "seed": 3}
TEXTS = [
    "the team won the final",
    "shares of the bank fell",
    "",
    "nothing known here at all: zyx wvu",
    "Der Trainer lobte die Mannschaft, ähnlich wie früher",
    "goal " * 60,
    "x" * 700,
    "the market feared inflation and the coach named his team for the cup",
]
SETTINGS = {
    "softmax": {},
    "softmax, dim 1": {"dim": 1},
    "softmax, dim 100, many n-grams": {"dim": 100, "word_ngrams": 3, "minn": 2, "maxn": 5},
    "sum": {"mode": "sum"},
    "max": {"mode": "max", "sparse": False},
    "padding": {"padding_idx": 0},
    "tf-idf": {"mode": "sum", "term_weighting": "tfidf", "minn": 2, "maxn": 4},
    "tf-idf, padding": {"mode": "sum", "term_weighting": "tfidf", "padding_idx": 1},
    "ova": {"loss": "ova"},
    "ova, fastText's probabilities": {"loss": "ova", "probabilities": "fasttext"},
    "ns": {"loss": "ns"},
    "hs": {"loss": "hs"},
    "hs, fastText's probabilities": {"loss": "hs", "probabilities": "fasttext"},
    "adaptive": {"loss": "adaptive", "cutoffs": (2, 5), "dim": 20},
    "adaptive, tf-idf": {
        "loss": "adaptive",
        "cutoffs": (3,),
        "mode": "sum",
        "term_weighting": "tfidf",
    },
}
FORMS = {
    "as trained": lambda model: model,
    "int8": lambda model: model.quantize(),
    "product codes": lambda model: model.quantize(product=True),
    "product codes with norms": lambda model: model.quantize(product=True, qnorm=True),
}
IN_CODES = ["softmax", "max", "tf-idf, padding", "hs"]
CASES = [
    (name, form) for name in SETTINGS for form in FORMS if name in IN_CODES or "codes" not in form
]


def logits_each_way(model: TextClassifier, texts: list[str]) -> dict[str, np.ndarray]:
    """Return the logits of the texts by the way they took, each [B, C]."""
    ways = {}
    for path in ("plain", "compiled"):
        fresh = TextClassifier(model.artifact)
        with code_path(compiled=path == "compiled"):
            alone = [fresh.chunk_logits(pa.array([text], pa.string())) for text in texts]
            single = [fresh._forward(fresh.encoder.encode_text(text)) for text in texts]
            ways[f"{path}, alone"] = np.concatenate(alone)
            ways[f"{path}, as a string"] = np.concatenate(single)
            ways[f"{path}, in a list"] = fresh.logits(texts)
            ways[f"{path}, in a long column"] = fresh.logits(pa.array(texts * 7))[: len(texts)]
            ways[f"{path}, reversed"] = fresh.logits(texts[::-1])[::-1]
    forward = fresh._text_forward
    if forward is not None:  # the output layer is linear
        outputs = [forward.logits(fresh.encoder.text_bytes(text))[0] for text in texts]
        ways["compiled, in one call"] = np.concatenate(outputs)
    return ways


def assert_all_equal(ways: dict[str, np.ndarray]) -> None:
    (first, expected), *others = ways.items()
    for name, logits in others:
        np.testing.assert_array_equal(expected, logits, err_msg=f"{first} and {name} differ")


@pytest.fixture(scope="session")
def twelve_labels(tiny_examples):
    """The tiny examples with twelve labels, so that there are rare ones."""
    texts, labels = zip(*tiny_examples * 16, strict=True)
    return list(texts), [f"{label}{number**2 % 7}" for number, label in enumerate(labels)]


@pytest.fixture(scope="session")
def trained(twelve_labels):
    """Return a function that trains with some settings, once each."""
    models: dict[str, TextClassifier] = {}

    def train(name: str) -> TextClassifier:
        if name not in models:
            shape = {"dim": 7, "word_ngrams": 2, "minn": 3, "maxn": 3, "bucket": 5000}
            models[name] = ft.train(*twelve_labels, **shape | TRAINING | SETTINGS[name])
        return models[name]

    return train


@pytest.mark.slow
@pytest.mark.parametrize(("name", "form"), CASES)
def test_a_text_has_the_same_logits_on_every_path(trained, name, form):
    model = FORMS[form](trained(name))
    assert_all_equal(logits_each_way(model, TEXTS))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_a_text_has_the_same_probabilities_on_every_path(trained, name):
    model, found, best = trained(name), [], []
    for compiled in (False, True):
        with code_path(compiled=compiled):
            found += [model.predict(TEXTS, top_k=12), [model.predict(t, top_k=12) for t in TEXTS]]
            table = pa.record_batch({"text": TEXTS})
            (batch,) = model.predict_batches([table], top_k=12, known=True)
            names = ("labels", "probabilities", "known")
            rows = zip(*(batch.column(name).to_pylist() for name in names), strict=True)
            found.append([ft.Prediction(tuple(n), tuple(p), known) for n, p, known in rows])
            best.append([model.predict(text) for text in TEXTS])
    for answers in found[1:]:
        assert answers == found[0]
    for answers in best:
        expected = [(names[:1], p[:1], known) for names, p, known in found[0]]
        assert answers == expected


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["basic_english", "whitespace", "fasttext", "unicode"])
@pytest.mark.parametrize("rewriting", [{}, {"lowercase": True, "replace": ("number",)}])
def test_a_text_alone_is_tokenized_as_in_a_list(twelve_labels, tokenizer, rewriting):
    options = {"tokenizer": tokenizer, "minn": 2, "maxn": 3, "word_ngrams": 2, "bucket": 500}
    model = ft.train(*twelve_labels, **TRAINING | options | rewriting).warm_up()
    texts = [*TEXTS, "The TEAM won 12 CUPS </s> final", "a __label__sport b", "日本語の学校"]
    assert [model.predict(text) for text in texts] == model.predict(texts)


@settings(deadline=None)
@given(arrays.arrays(np.float64, st.integers(1, FEW_TERMS), elements=st.floats(0, 1)))
def test_a_compiled_sum_is_that_of_numpy(terms):
    assert sum_like_numpy(terms) == np.add.reduce(terms)
    assert sum_like_numpy(terms) == np.stack([terms, terms]).sum(axis=1)[1]


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 9, 130])
def test_the_best_label_of_one_text_has_the_probability_that_it_has_in_a_list(classes):
    labels = [str(row % classes) for row in range(3 * classes)]
    texts = [f"w{row % classes} v{row % 7}" for row in range(3 * classes)]
    model = ft.train(texts, labels, **TRAINING).warm_up()
    found = [model.predict(text) for text in texts]
    assert found == model.predict(texts)
    for prediction, text in zip(found, texts, strict=True):
        labels, probabilities, known = model.predict(text, top_k=classes)
        assert prediction == (labels[:1], probabilities[:1], known)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"qnorm": True}])
@pytest.mark.parametrize("loss", ["softmax", "ova", "hs", "ns"])
def test_a_fasttext_file_gives_the_same_logits_on_every_path(train_original, loss, options):
    form = {"qout": False, "retrain": False, **options} if options else None
    path = train_original(form, loss=loss, minn=2, maxn=4, wordNgrams=2, bucket=2000)
    assert_all_equal(logits_each_way(compat.load_model(path).classifier, TEXTS))


@pytest.mark.slow
def test_another_process_gives_the_same_bits_cold_and_warm(tiny_model_dir):
    code = (
        "import sys\n"
        "import fasttext_app as ft\n"
        "model = ft.load(sys.argv[1])\n"
        "cold = [model.logits([text]).tobytes().hex() for text in sys.argv[2:]]\n"
        "model.warm_up()\n"
        "warm = [model.logits([text]).tobytes().hex() for text in sys.argv[2:]]\n"
        "assert warm == cold\n"
        "print(*cold)"
    )
    command = [sys.executable, "-c", code, str(tiny_model_dir), *TEXTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ours = ft.load(tiny_model_dir).logits(TEXTS)
    assert done.stdout.split() == [row.tobytes().hex() for row in ours]

"""Models in other processes: pickled, copied, sent to workers."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fasttext_app as ft
from fasttext_app import compat
from tests.helpers import WORDS_ONLY

TEXTS = ["great fun", "dull and slow", "a joy to watch", "a waste of time"] * 6
LABELS = ["good", "bad"] * 12
QUICK: dict[str, Any] = WORDS_ONLY | {"dim": 4, "epochs": 2, "threads": 1}

MODELS: dict[str, Any] = {
    "words": {},
    "n-grams": {"minn": 2, "maxn": 3, "word_ngrams": 2, "term_weighting": "tfidf", "mode": "sum"},
    "one-vs-all": {"loss": "ova"},
    "tree": {"loss": "hs"},
    "adaptive": {"loss": "adaptive", "cutoffs": [1]},
    "fasttext tokenizer": {"tokenizer": "fasttext"},
    "torchtext tokenizer": {"tokenizer": "torchtext:basic_english"},
}


def cloudpickled(model: Any) -> Any:
    return pickle.loads(pytest.importorskip("cloudpickle").dumps(model))


def joblib_dumped(model: Any) -> Any:
    joblib, file = pytest.importorskip("joblib"), io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


COPIES = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "protocol 2": lambda model: pickle.loads(pickle.dumps(model, 2)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "cloudpickle": cloudpickled,
    "joblib": joblib_dumped,
}


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
def test_a_copy_predicts_the_same(settings):
    model = ft.train(TEXTS, LABELS, **QUICK | settings)
    for make_copy in COPIES.values():
        same = make_copy(model)
        assert np.array_equal(same.predict_proba(TEXTS), model.predict_proba(TEXTS))
        assert same.predict(TEXTS) == model.predict(TEXTS)
        assert (same.labels, same.config, same.threads) == (model.labels, model.config, 1)
        assert same.training_warnings == model.training_warnings


def test_a_quantized_a_calibrated_and_a_loaded_model(tmp_path):
    model = ft.train(TEXTS, LABELS, **QUICK)
    model.save(tmp_path / "model")
    models = [
        model.quantize(),
        model.calibrate(TEXTS, LABELS, thresholds="f1"),
        ft.load(tmp_path / "model", threads=1).warm_up(),
    ]
    for original in models:
        same = pickle.loads(pickle.dumps(original))
        assert np.array_equal(same.predict_proba(TEXTS), original.predict_proba(TEXTS))
        assert same.evaluate(TEXTS, LABELS) == original.evaluate(TEXTS, LABELS)


def test_a_pickle_holds_no_caches():
    model = ft.train(TEXTS, LABELS, **QUICK)
    size = len(pickle.dumps(model))
    model.warm_up().predict(TEXTS)
    model.predict("some unknown words")
    assert len(pickle.dumps(model)) == size
    assert len(pickle.dumps(model.encoder)) < size


def test_a_model_with_the_methods_of_the_original(tmp_path: Path):
    path = tmp_path / "train.txt"
    path.write_text("".join(f"__label__{b} {a}\n" for a, b in zip(TEXTS, LABELS, strict=True)))
    model = compat.train_supervised(str(path), dim=4, epoch=2, thread=1)
    model.get_nearest_neighbors("fun")
    model.classifier.warm_up()
    best, _ = [model.predict("great fun") for _ in range(2)]  # the second by compiled code
    for make_copy in COPIES.values():
        same = make_copy(model)
        labels, probabilities = same.predict(TEXTS, k=2)
        assert labels == model.predict(TEXTS, k=2)[0]
        assert np.array_equal(probabilities, model.predict(TEXTS, k=2)[1])
        assert same.predict("great fun") == best
        assert np.array_equal(same.get_word_vector("fun"), model.get_word_vector("fun"))
        assert same.epoch == 2


@pytest.mark.slow
def test_a_model_in_a_spawned_process():
    model = ft.train(TEXTS, LABELS, **QUICK)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        assert list(executor.map(model.predict, TEXTS[:3])) == model.predict(TEXTS[:3])

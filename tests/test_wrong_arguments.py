"""Wrong arguments of public functions: one clear error, never a TypeError from somewhere inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import fasttext_app as ft
from fasttext_app.errors import FastTextAppError
from tests.helpers import WORDS_ONLY

TEXTS, LABELS = ["good fine", "bad poor"] * 10, ["p", "n"] * 10
TABLE = pa.table({"text": TEXTS, "label": LABELS})

ODD = [
    3, 1.5, "odd", b"odd", True, [], [1], ["odd"], {}, {"a": 1}, object(), (1, 2),
    float("nan"), -1, np.array([1.5, 2.5]), pa.table({"a": [1]}), len,
]  # fmt: skip

Call = Callable[[ft.TextClassifier, Any], object]

CALLS: dict[str, Call] = {
    "predict": lambda model, odd: model.predict(odd),
    "top_k": lambda model, odd: model.predict("a", top_k=odd),
    "threshold": lambda model, odd: model.predict("a", threshold=odd),
    "text": lambda model, odd: model.predict(TABLE, text=odd),
    "nulls": lambda model, odd: model.predict(["a"], nulls=odd),
    "abstain": lambda model, odd: model.predict(["a"], abstain=odd),
    "keep": lambda model, odd: list(model.predict_batches(TABLE, keep=odd)),
    "known": lambda model, odd: list(model.predict_batches(TABLE, known=odd)),
    "batches": lambda model, odd: list(model.predict_batches(odd)),
    "predict_proba": lambda model, odd: model.predict_proba(odd),
    "embed": lambda model, odd: model.embed(odd),
    "rank": lambda model, odd: model.rank(["a"], odd),
    "evaluate": lambda model, odd: model.evaluate(odd),
    "labels": lambda model, odd: model.evaluate(["a"], odd),
    "split": lambda model, odd: model.evaluate("sample", split=odd),
    "evaluate threshold": lambda model, odd: model.evaluate(TEXTS, LABELS, threshold=odd),
    "evaluate text": lambda model, odd: model.evaluate(TABLE, text=odd),
    "evaluate label": lambda model, odd: model.evaluate(TABLE, label=odd),
    "evaluate_batches": lambda model, odd: model.evaluate_batches(odd),
    "explain": lambda model, odd: model.explain(odd),
    "explain label": lambda model, odd: model.explain("a", odd),
    "explain against": lambda model, odd: model.explain("a", "p", odd),
    "label_features": lambda model, odd: model.label_features(odd),
    "label_features top": lambda model, odd: model.label_features("p", odd),
    "label_features texts": lambda model, odd: model.label_features("p", 3, odd),
    "calibrate": lambda model, odd: model.calibrate(odd, odd),
    "calibrate thresholds": lambda model, odd: model.calibrate(TEXTS, LABELS, thresholds=odd),
    "calibrate split": lambda model, odd: model.calibrate("sample", split=odd),
    "quantize": lambda model, odd: model.quantize(odd),
    "quantize dsub": lambda model, odd: model.quantize(product=True, dsub=odd),
    "load": lambda model, odd: ft.load(odd),
    "load device": lambda model, odd: ft.TextClassifier(model.artifact, device=odd),
    "load threads": lambda model, odd: ft.TextClassifier(model.artifact, threads=odd),
    "from_pretrained": lambda model, odd: ft.TextClassifier.from_pretrained(odd),
    "revision": lambda model, odd: ft.TextClassifier.from_pretrained("a/b", revision=odd),
    "token": lambda model, odd: ft.TextClassifier.from_pretrained("a/b", token=odd),
    "save_pretrained": lambda model, odd: model.save_pretrained(odd),
    "license": lambda model, odd: model.save_pretrained("m", license=odd),
    "language": lambda model, odd: model.save_pretrained("m", language=odd),
    "scores": lambda model, odd: model.save_pretrained("m", scores=odd),
    "push_to_hub": lambda model, odd: model.push_to_hub(odd),
    "private": lambda model, odd: model.push_to_hub("a/b", private=odd),
    "push revision": lambda model, odd: model.push_to_hub("a/b", revision=odd),
    "commit_message": lambda model, odd: model.push_to_hub("a/b", commit_message=odd),
    "push token": lambda model, odd: model.push_to_hub("a/b", token=odd),
    "encode": lambda model, odd: model.encoder.encode(odd),
    "encode_text": lambda model, odd: model.encoder.encode_text(odd),
    "train config": lambda model, odd: ft.train(TEXTS, LABELS, config=odd),
    "train callback": lambda model, odd: ft.train(TEXTS, LABELS, callback=3, lr=odd),
    "train checkpoints": lambda model, odd: ft.train(TEXTS, [], checkpoints=odd),
    "train start_from": lambda model, odd: ft.train(TEXTS, LABELS, start_from=odd),
    "train resume": lambda model, odd: ft.train(TEXTS, [], resume=odd),
    "train verbose": lambda model, odd: ft.train(TEXTS, [], verbose=odd),
    "train text": lambda model, odd: ft.train(TABLE, text=odd, label="none"),
    "train label": lambda model, odd: ft.train(TABLE, label=odd),
    "train dim": lambda model, odd: ft.train(TEXTS, [], dim=odd),
    "train model": lambda model, odd: ft.train(TEXTS, [], model=odd),
    "train data": lambda model, odd: ft.train(data=odd),
    "tune trials": lambda model, odd: ft.tune(TEXTS, [], trials=odd),
    "tune space": lambda model, odd: ft.tune(TEXTS, LABELS, space=odd, trials=0),
}


@pytest.fixture(scope="module")
def model() -> ft.TextClassifier:
    return ft.train(TEXTS, LABELS, **WORDS_ONLY | {"dim": 2, "epochs": 1, "threads": 1})


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_argument_is_an_error_of_this_program(
    model: ft.TextClassifier, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    messages = []
    for odd in ODD:
        try:
            CALLS[name](model, odd)
        except FastTextAppError as error:
            messages.append(str(error))
    assert len(messages) > len(ODD) // 3
    assert not [message for message in messages if "\n" in message or len(message) > 400]


@pytest.mark.parametrize(
    ("name", "odd", "message"),
    [
        ("top_k", 1.5, "top_k = 1.5: must be a whole number of at least 1"),
        ("threshold", [], "threshold = []: must be a number"),
        ("text", 1.5, "text = 1.5: must be the name of a column"),
        ("abstain", "odd", "abstain = 'odd': must be True or False"),
        ("explain label", 3, "label = 3: must be a string"),
        ("license", 3, "license = 3: must be a string"),
        ("language", ["en", 3], "language = 3: must be a string"),
        ("token", b"hf_secret", "token: must be a string"),
        ("load", None, "path: must be a path; got None"),
        ("evaluate_batches", "odd", "batches: got a str; pass tables or record batches"),
    ],
)
def test_the_error_names_the_argument(model, name, odd, message):
    with pytest.raises(FastTextAppError) as caught:
        CALLS[name](model, odd)
    assert str(caught.value) == message


def test_batches_of_any_labels_are_evaluated(model):
    numbers = pa.table({"text": TEXTS, "label": [1, 0] * 10})
    assert model.evaluate_batches(numbers)["unknown_labels"] == {"1": 10, "0": 10}
    assert model.evaluate_batches(TABLE) == model.evaluate_batches(TABLE.to_batches())

"""``fasttext-app inspect``, ``info`` and ``data``: what texts, models and datasets consist of."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

import fasttext_app
from fasttext_app.config.loading import resolve
from tests.helpers import read_json


def test_inspect_json_follows_texts_to_their_batch(run, tiny_model_dir):
    document = read_json(run("inspect", tiny_model_dir, "The bank, unseen", "", "--json"))
    assert list(document) == [
        *("texts", "indices", "offsets", "bag_sizes", "vocabulary", "bucket"),
        *("labels", "logits", "probabilities"),
    ]
    first, empty = document["texts"]
    assert first["tokens"] == ["the", "bank", ",", "unseen"]
    assert first["word_rows"][3] is None
    assert [ngram for ngram, _ in first["ngrams"]] == ["the bank", "bank ,", ", unseen"]
    rows = [row for row in first["word_rows"] if row is not None]
    assert document["indices"] == rows + [row for _, row in first["ngrams"] if row is not None]
    assert document["offsets"] == [0, len(document["indices"]), len(document["indices"])]
    assert document["bag_sizes"] == [len(document["indices"]), 0]
    assert empty["tokens"] == []
    for row in document["probabilities"]:
        assert sum(row) == pytest.approx(1)


@pytest.mark.slow
def test_inspect_and_predict_give_the_same_probabilities(run, tiny_model_dir):
    inspected = read_json(run("inspect", tiny_model_dir, "the team won", "--json"))
    predicted = json.loads(
        run("predict", tiny_model_dir, "the team won", "--format", "jsonl", "--top-k", "2").stdout
    )
    expected = dict(zip(inspected["labels"], inspected["probabilities"][0], strict=True))
    for label, value in zip(predicted["labels"], predicted["probabilities"], strict=True):
        assert value == pytest.approx(expected[label], abs=1e-6)


def test_inspect_without_a_model_makes_the_vocabulary_of_the_texts(run):
    settings = ["--set", "text.maxn=0", "--set", "text.bucket=50"]
    document = read_json(
        run("inspect", "--without-model", "to be or", "not to be", "--json", *settings)
    )
    assert list(document) == ["texts", "indices", "offsets", "bag_sizes", "vocabulary", "bucket"]
    assert (document["vocabulary"], document["bucket"]) == (4, 50)
    assert [text["tokens"] for text in document["texts"]] == [
        ["to", "be", "or"],
        ["not", "to", "be"],
    ]
    assert document["bag_sizes"] == [5, 5]
    shown = run("inspect", "--without-model", "to be").stdout
    assert "tokens (2)" in shown
    assert "Logits" not in shown


def test_inspect_refuses_conflicting_arguments(run, tiny_model_dir):
    assert "give a model directory and at least one text" in run(
        "inspect", tiny_model_dir, code=2
    ).stderr.replace("\n", " ")
    result = run("inspect", tiny_model_dir, "text", "--set", "text.word_ngrams=2", code=2)
    assert "needs --without-model" in result.stderr


def test_info_json_describes_the_model(run, tiny_model_dir, tiny_examples):
    document = read_json(run("info", tiny_model_dir, "--json"))
    assert list(document) == [
        *("config", "labels", "vocabulary", "table", "bytes", "metrics", "calibration"),
        *("history", "data"),
    ]
    assert document["labels"] == {"money": 10, "sport": 10}
    bigrams = {pair for text, _ in tiny_examples for pair in pairwise(text.split())}
    assert document["vocabulary"] < document["table"][0] <= document["vocabulary"] + len(bigrams)
    assert document["table"][1] == 2  # a column for each label
    assert document["bytes"] == sum(path.stat().st_size for path in tiny_model_dir.iterdir())
    assert resolve(document["config"]) == fasttext_app.load(tiny_model_dir).config
    assert len(document["history"]["epochs"]) == 10


def test_info_shows_the_settings(run, tiny_model_dir):
    shown = run("info", tiny_model_dir, "--all").stdout
    for part in ("text.word_ngrams", "words up to 2, characters", "sport", "texts given in Python"):
        assert part in shown


def test_data_json_counts_rows_labels_and_words(run, tiny_csv):
    document = read_json(run("data", tiny_csv, "--json"))
    assert list(document) == [
        *("source", "split", "splits", "rows", "words", "empty_texts", "labels", "first_rows"),
        "findings",
    ]
    assert document["rows"] == 20
    assert document["labels"] == {"money": 10, "sport": 10}
    assert set(document["splits"]) == {"train", "test"}
    assert len(document["first_rows"]) == 5
    assert list(document["words"]) == ["total", "mean", "median", "longest"]
    assert read_json(run("data", tiny_csv, "--split", "test", "--json"))["rows"] == 7


@pytest.mark.slow
def test_data_shows_rows_and_balance(run, tiny_csv, tiny_examples):
    shown = run("data", tiny_csv / "train.csv").stdout
    assert "one file" in shown
    assert "50.0%" in shown
    assert tiny_examples[0][0] in shown
    assert "science" in run("data", "sample").stdout

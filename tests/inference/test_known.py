"""How much of a text a model knows, and texts of which it knows nothing."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fasttext_app as ft
from fasttext_app.model.train_warnings import UnknownTexts
from fasttext_app.text.features import text_features
from tests.helpers import WORDS_ONLY, code_path, read_json, run_cli

TEXTS = ["great fun", "dull and slow", "a joy to watch", "a waste of time"] * 6
LABELS = ["good", "bad"] * 12
ASKED = ["great fun", "great zzz", "zzz", "😀😀", "", " ", "a joy zzz to", "greater"]

SETTINGS: dict[str, dict[str, Any]] = {
    "words": {},
    "bigrams": {"word_ngrams": 2},
    "n-grams": {"word_ngrams": 3, "minn": 1, "maxn": 3},
    "fasttext": {"tokenizer": "fasttext", "word_ngrams": 2},
    "unpruned": {"minn": 3, "maxn": 3, "prune": False, "bucket": 50},
}


def train(**settings: Any) -> ft.TextClassifier:
    quick = {"epochs": 1, "dim": 4, "validation": 0.0, "threads": 1}
    return ft.train(TEXTS, LABELS, **WORDS_ONLY | quick | settings)


@pytest.fixture(scope="module")
def model() -> ft.TextClassifier:
    return train()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_known_is_the_share_of_the_features_that_have_a_row(settings, compiled):
    model = train(**settings)
    expected = []
    for tokens in model.encoder.tokenizer.split(ASKED):
        features = text_features(tokens, model.encoder)
        features = [feature for feature in features if feature.name != "</s>"]
        known = sum(feature.row is not None for feature in features)
        expected.append(known / max(len(features), 1))
    with code_path(compiled=compiled):
        assert [one.known for one in model.predict(ASKED)] == expected
        assert [model.predict(text).known for text in ASKED] == expected
        (batch,) = model.predict_batches([pa.table({"text": ASKED})], known=True)
        assert batch.column("known").to_pylist() == expected
        bags = model.encoder.encode(ASKED)
        assert (model.encoder.count_known(bags) == 0).tolist() == [k == 0 for k in expected]


def test_nothing_is_counted_where_nobody_asks(model, monkeypatch):
    monkeypatch.setattr(type(model.encoder), "count_features", None)
    model.rank(ASKED)
    model.predict_proba(ASKED)
    (batch,) = model.predict_batches([pa.table({"text": ASKED})])
    assert batch.schema.names == ["text", "labels", "probabilities"]


def test_a_model_abstains_from_texts_of_which_it_knows_nothing(model):
    unknown = [2, 3, 4, 5, 7]
    for row, (plain, abstaining) in enumerate(
        zip(model.predict(ASKED), model.predict(ASKED, abstain=True), strict=True)
    ):
        assert len(plain.labels) == 1
        assert abstaining.labels == (() if row in unknown else plain.labels)
        assert model.predict(ASKED[row], abstain=True) == abstaining
    (batch,) = model.predict_batches([pa.table({"text": ASKED})], abstain=True)
    empty = [row for row, labels in enumerate(batch.column("labels").to_pylist()) if not labels]
    assert empty == unknown
    assert "known" not in batch.schema.names


def test_every_format_tells_of_a_text_without_a_known_word(tmp_path, tiny_model_dir):
    def run(*options: object) -> str:
        return run_cli("predict", tiny_model_dir, "the match", "😀😀", *options).stdout

    first, second = map(json.loads, run("--format", "jsonl").splitlines())
    assert (first["known"] > 0.5, second["known"]) == (True, 0)
    assert len(second["labels"]) == 1
    for form, answer in (("text", "-\t😀😀"), ("csv", "😀😀,,"), ("fasttext", "")):
        lines = run("--format", form, "--abstain").splitlines()
        assert "sport" in lines[-2]
        assert lines[-1] == answer
    assert json.loads(run("--format", "jsonl", "--abstain").splitlines()[1])["labels"] == []
    run("--format", "parquet", "--output", tmp_path / "rows.parquet")
    assert pq.read_table(tmp_path / "rows.parquet")["known"].to_pylist() == [first["known"], 0]
    kept = run("--label", "sport", "--abstain", "--format", "jsonl").splitlines()
    assert [json.loads(line)["text"] for line in kept] == ["the match"]


def test_evaluation_counts_them(model, tmp_path, tiny_model_dir):
    scores = model.evaluate(ASKED, ["good"] * len(ASKED))
    assert scores["unknown_texts"] == 5
    (tmp_path / "rows.csv").write_text("text,label\nthe match,sport\nzzz,sport\n")
    arguments = ("evaluate", tiny_model_dir, "--data", tmp_path / "rows.csv")
    assert read_json(run_cli(*arguments, "--json"))["unknown_texts"] == 1
    assert "Texts without a word or n-gram that the model knows: 1" in run_cli(*arguments).stdout


@pytest.mark.parametrize("tokenizer", ["basic_english", "fasttext"])
def test_training_tells_the_share_of_such_validation_texts(tmp_path, tokenizer):
    rows = "".join(f"{a},{b}\n" for a, b in zip(TEXTS, LABELS, strict=True))
    (tmp_path / "train.csv").write_text("text,label\n" + rows)
    (tmp_path / "validation.csv").write_text("text,label\ngreat,good\nzzz,good\nqq rr,bad\n")
    settings = WORDS_ONLY | {"epochs": 1, "dim": 4, "tokenizer": tokenizer}
    warnings = ft.train(tmp_path, **settings).training_warnings
    warning = next(warning for warning in warnings if isinstance(warning, UnknownTexts))
    assert warning == UnknownTexts(2, 3)
    assert "2 of 3 validation texts (66.7%) have no word or n-gram" in str(warning)


# ------------------------------------------------------------------ missing texts and kept columns

ROWS = {
    "id": [7, 8, 9],
    "body": ["great fun", None, "dull"],
    "label": ["x", "y", "z"],
    "tags": [["a"], [], None],
}


def test_missing_texts_are_errors_or_nulls_or_empty(model):
    texts = ROWS["body"]
    with pytest.raises(ft.FastTextAppError, match="texts, row 2: there is no text"):
        model.predict(texts)
    first, second, third = model.predict(texts, nulls="null")
    assert (first, second, third) == (model.predict("great fun"), None, model.predict("dull"))
    assert model.predict(texts, nulls="empty")[1] == model.predict("")
    with pytest.raises(ft.FastTextAppError, match="must be error, null or empty"):
        model.predict(texts, nulls="skip")
    for text in ("body", ["body"], ["body", "body"]):
        (batch,) = model.predict_batches(pa.table(ROWS), text=text, nulls="null", known=True)
        assert [row["labels"] is None for row in batch.to_pylist()] == [False, True, False]
        assert batch.to_pylist()[1] == dict.fromkeys(batch.schema.names)
        (batch,) = model.predict_batches(pa.table(ROWS), text=text, nulls="empty")
        assert batch.column("labels")[1].as_py() == list(model.predict("").labels)


def test_kept_columns_stand_beside_the_right_texts(model, monkeypatch):
    monkeypatch.setattr("fasttext_app.text.chunks.CHUNK_ROWS", 2)  # several chunks a batch
    table = pa.concat_tables([pa.table(ROWS)] * 3)
    batches = list(model.predict_batches(table, text="body", nulls="null", keep=["id", "label"]))
    result = pa.Table.from_batches(batches)
    assert len(batches) > 1
    assert result.schema.names == ["id", "input_label", "text", "labels", "probabilities"]
    assert result["id"].to_pylist() == ROWS["id"] * 3
    assert result["input_label"].to_pylist() == ROWS["label"] * 3
    assert result["text"].to_pylist() == ROWS["body"] * 3
    batch = next(model.predict_batches(pa.table(ROWS), text="body", nulls="null", keep="all"))
    assert batch.schema.names[:3] == ["id", "input_label", "tags"]
    with pytest.raises(ft.FastTextAppError, match="no column 'ids'; did you mean 'id'"):
        list(model.predict_batches(pa.table(ROWS), text="body", keep="ids"))


def write_inputs(folder) -> None:
    rows = pa.table(ROWS)
    pq.write_table(rows, folder / "in.parquet")
    lines = "".join(json.dumps(row) + "\n" for row in rows.to_pylist())
    (folder / "in.jsonl").write_text(lines)
    for suffix, separator in ((".csv", ","), (".tsv", "\t")):
        cells = [[row["id"], row["body"] or "", row["label"]] for row in rows.to_pylist()]
        lines = "".join(separator.join(map(str, row)) + "\n" for row in cells)
        (folder / f"in{suffix}").write_text(separator.join(["id", "body", "label"]) + "\n" + lines)


@pytest.mark.parametrize("name", ["in.parquet", "in.jsonl", "in.csv", "in.tsv"])
def test_predict_keeps_columns_of_every_format(tmp_path, tiny_model_dir, name):
    write_inputs(tmp_path)
    read = ("predict", tiny_model_dir, "--input", tmp_path / name, "--text-column", "body")
    typed = name in ("in.parquet", "in.jsonl")
    ids = ROWS["id"] if typed else list(map(str, ROWS["id"]))
    output = run_cli(*read, "--keep", "id,label", "--format", "jsonl", "--nulls", "null").stdout
    rows = [json.loads(line) for line in output.splitlines()]
    assert [row["id"] for row in rows] == ids
    assert [row["input_label"] for row in rows] == ROWS["label"]
    assert [row["labels"] is None for row in rows] == [False, typed, False]
    output = run_cli(*read, "--keep", "all", "--format", "csv", "--nulls", "empty").stdout
    names = ["id", "input_label", *(["tags"] if typed else [])]
    header, *lines = output.splitlines()
    assert header.split(",") == [*names, "text", "label", "probability"]
    assert [line.split(",")[0] for line in lines] == ["7", "8", "9"]
    output = run_cli(*read, "--keep", "id", "--nulls", "empty").stdout
    assert [line.split("\t")[1] for line in output.splitlines()] == ["7", "8", "9"]
    target = tmp_path / "out.parquet"
    run_cli(*read, "--keep", "all", "--output", target, "--nulls", "null", "--label", "sport")
    table = pq.read_table(target)
    assert table.schema.names == [*names, "text", "labels", "probabilities", "known"]
    assert set(table["id"].to_pylist()) <= set(ids)
    if typed:
        assert "no value" in run_cli(*read, code=1).stderr
    assert "no column 'ids'" in run_cli(*read, "--keep", "ids", code=1).stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--keep", "id", "the match"], 2, "needs a file with columns"),
        (["--keep", "id", "--format", "fasttext", "--input", "in.txt"], 2, "has no columns"),
        (["--keep", "id", "--input", "in.txt"], 1, "have no columns"),
        (["--nulls", "skip", "the match"], 2, "is not one of error, null, empty"),
    ],
)
def test_columns_that_cannot_be_kept(tmp_path, tiny_model_dir, monkeypatch, options, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("the match\n")
    result = run_cli("predict", tiny_model_dir, *options, code=code)
    assert message in " ".join(result.stderr.split())


def test_lines_have_no_columns_to_keep(tmp_path, tiny_model_dir):
    (tmp_path / "in.txt").write_text("the match\n")
    read = ("predict", tiny_model_dir, "--input", tmp_path / "in.txt")
    assert run_cli(*read, "--keep", "all").stdout == run_cli(*read).stdout


def test_json_of_several_types_is_kept_as_json(tmp_path, tiny_model_dir):
    values = [1, "x", {"a": [1]}, None]
    lines = "".join(json.dumps({"text": "match", "value": value}) + "\n" for value in values)
    (tmp_path / "in.jsonl").write_text(lines)
    read = ("predict", tiny_model_dir, "--input", tmp_path / "in.jsonl", "--keep", "value")
    output = run_cli(*read, "--format", "jsonl").stdout.splitlines()
    kept = [json.loads(line)["value"] for line in output]
    assert [None if value is None else json.loads(value) for value in kept] == values

"""Soft labels: read from every file format, checked row by row, learned and scored."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import fasttext_app
from fasttext_app.config.loading import resolve
from fasttext_app.data.labels import LabelEncoder, Labels
from fasttext_app.data.soft_labels import SoftLabels, parse_soft_labels
from fasttext_app.data.spec import open_source
from fasttext_app.data.split import Examples
from fasttext_app.errors import DataError
from fasttext_app.training.losses import build_loss
from fasttext_app.training.prepare import prepare
from tests.helpers import read_json, run_cli

SOFT = {"label_separator": "|", "soft_labels": True}
PROBABILITIES = [{"news": 0.75, "sport": 0.25}, {"sport": 1.0}, {"arts": 0.5, "news": 0.5}]
ROWS = [(f"w{n % 3} common", PROBABILITIES[n % 3]) for n in range(30)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same rows in every format that can hold soft labels."""
    folder = tmp_path_factory.mktemp("soft")
    texts = [text for text, _ in ROWS]
    cells = [[f"{label}={value}" for label, value in row.items()] for _, row in ROWS]
    lines = [f"{text},{'|'.join(cell)}\n" for text, cell in zip(texts, cells, strict=True)]
    (folder / "rows.csv").write_text("text,label\n" + "".join(lines))
    for name, labels in (("dicts", [row for _, row in ROWS]), ("lists", cells)):
        objects = zip(texts, labels, strict=True)
        objects = [json.dumps({"text": text, "label": label}) + "\n" for text, label in objects]
        (folder / f"{name}.jsonl").write_text("".join(objects))
        pq.write_table(pa.table({"text": texts, "label": labels}), folder / f"{name}.parquet")
    kind = pa.map_(pa.string(), pa.float64())
    maps = pa.array([list(row.items()) for _, row in ROWS], kind)
    pq.write_table(pa.table({"text": texts, "label": maps}), folder / "maps.parquet")
    marked = [" ".join(f"__label__{part}" for part in cell) for cell in cells]
    both = zip(marked, texts, strict=True)
    (folder / "rows.txt").write_text("\n".join(f"{label} {text}" for label, text in both) + "\n")
    return folder


def data_of(path, **settings):
    return resolve({"data": {"source": str(path), **SOFT, **settings}}).data


FORMS = ["rows.csv", "dicts.jsonl", "lists.jsonl", "dicts.parquet", "lists.parquet", "maps.parquet"]


@pytest.mark.parametrize("name", [*FORMS, "rows.txt"])
def test_every_format_gives_the_same_rows(files, name):
    table = open_source(data_of(files / name)).read("train")
    assert table["text"].to_pylist() == [text for text, _ in ROWS]
    found = [parse_soft_labels(cell, "|") for cell in table["label"].to_pylist()]
    assert found == [row for _, row in ROWS]


DISTRIBUTIONS = st.dictionaries(
    st.text("abc =", min_size=1).map(str.strip).filter(bool),
    st.floats(0.01, 1),
    min_size=1,
    max_size=5,
)


@given(DISTRIBUTIONS)
@settings(deadline=None, max_examples=25)
def test_parsing_a_cell_gives_back_its_probabilities(row):
    total = sum(row.values())
    cell = " | ".join(f"{label} = {value / total}" for label, value in row.items())
    assert parse_soft_labels(cell, "|") == pytest.approx({k: v / total for k, v in row.items()})


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("a=0.7|b=much", "the probability 'much' of 'b' must be a number from 0 to 1"),
        ("a=1.5|b=-0.5", "the probability '-0.5' of 'b' must be a number from 0 to 1"),
        ("a=nan", "the probability 'nan' of 'a' must be a number from 0 to 1"),
        ("a=0.7|b=0.2", "the probabilities sum to 0.9, not to 1"),
        ("a=3|b=1", "the probabilities sum to 4, not to 1"),
        ("a=0.5|a=0.5", "'a' has two probabilities"),
        ("a|b", "'a' is not of the form label=probability"),
        ("=1", "'=1' is not of the form label=probability"),
        ("|", "the probabilities sum to 0, not to 1"),
    ],
)
def test_a_malformed_cell_is_refused_with_its_line(tmp_path, cell, reason):
    (tmp_path / "rows.csv").write_text(f"text,label\nx,a\n\nx,a\nx,{cell}\n")
    with pytest.raises(DataError) as caught:
        open_source(data_of(tmp_path / "rows.csv")).read("train")
    assert str(caught.value) == f"{tmp_path}/rows.csv:5: the label {cell!r}: {reason}"
    with pytest.raises(DataError) as caught:
        fasttext_app.train(["x", "y"], ["a", cell], **SOFT)
    assert str(caught.value) == f"train, row 2: the label {cell!r}: {reason}"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("rows.txt", "\n__label__a x\n\n__label__a=0.5 x\n", "rows.txt:4: the label 'a=0.5': "),
        ("rows.jsonl", '{"text": "x", "label": {"a": 1}}\n{"text": "x", "label": {"a": "b"}}\n',
         "rows.jsonl:2: the label 'a=b': the probability 'b' of 'a' must be a number"),
        ("rows.jsonl", '{"text": "x", "label": {"a": 1}}\n{"text": 3, "label": {"a": 1}}\n',
         "rows.jsonl:2: field 'text' is int where str is expected"),
        ("rows.jsonl", '{"text": "x", "label": {"a": 1}}\n{"text": "x", "label": {"a|b": 1}}\n',
         "rows.jsonl:2: the label 'a|b' contains '|'; set data.label_separator"),
        ("rows.jsonl", '{"text": "x", "label": {"a": 1}}\n{"text": "x"}\n',
         "rows.jsonl:2: column 'label' has no label"),
    ],
)  # fmt: skip
def test_errors_in_other_formats_name_the_line_too(tmp_path, name, content, reason):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as caught:
        open_source(data_of(tmp_path / name)).read("train")
    assert str(tmp_path) in str(caught.value)
    assert reason in str(caught.value)


def test_a_dict_without_the_setting_is_refused(files):
    data = resolve({"data": {"source": str(files / "dicts.parquet")}}).data
    with pytest.raises(DataError, match=r"column 'label' holds struct<.*, not labels"):
        open_source(data).read("train")


def test_cells_with_equal_probabilities_share_a_label_set():
    rows = LabelEncoder.build([pa.array(["b=0.5|a=0.5", "a", "a=0.50 | b=0.5", "a=1"])], None, "|",
                           soft=True)  # fmt: skip
    assert rows.encode(pa.array(["b=0.5|a=0.5", "a", "a=0.50 | b=0.5", "a=1"])).tolist() == [
        0, 1, 0, 1,
    ]  # fmt: skip
    assert rows.label_sets.probabilities.tolist() == [0.5, 0.5, 1.0]


def test_the_probability_of_an_unknown_label_goes_to_the_known_ones():
    rows = LabelEncoder(Labels(("a", "b"), (1, 1)), "|", soft=True)
    assert rows.encode(pa.array(["a=0.2|b=0.2|c=0.6", "c=1"])).tolist() == [0, -1]
    assert rows.label_sets.probabilities.tolist() == [0.5, 0.5]


DISTRIBUTIONS_OVER_FOUR = st.lists(
    st.lists(st.floats(0.1, 1), min_size=4, max_size=4), min_size=1, max_size=6
)


@pytest.mark.slow
@given(DISTRIBUTIONS_OVER_FOUR, st.sampled_from([0.0, 0.2]))
@settings(deadline=None, max_examples=15)
def test_the_losses_equal_those_of_torch(rows, smoothing):
    torch.manual_seed(0)
    targets = torch.tensor(rows) / torch.tensor(rows).sum(1, keepdim=True)
    sets = SoftLabels.build([((0, 1, 2, 3), tuple(row)) for row in targets.tolist()])
    linear, bags, numbers = nn.Linear(3, 4), torch.randn(len(rows), 3), torch.arange(len(rows))
    for name in ("softmax", "ova"):
        config = resolve(
            {"model": {"loss": name}, "trainer": {"label_smoothing": smoothing}, "data": SOFT}
        )
        loss = build_loss(config, [1] * 4, sets, torch.Generator())(linear, bags, numbers)
        if name == "softmax":
            expected = functional.cross_entropy(linear(bags), targets, label_smoothing=smoothing)
        else:
            wanted = targets * (1 - smoothing) + smoothing / 4
            expected = functional.binary_cross_entropy_with_logits(linear(bags), wanted) * 4
        torch.testing.assert_close(loss, expected)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["softmax", "ova"])
def test_a_model_learns_the_probabilities(loss):
    texts, cells = ["one"] * 10 + ["two"] * 10, ["a=0.7|b=0.3"] * 10 + ["b"] * 10
    model = fasttext_app.train(
        texts, cells, loss=loss, lr=0.5, epochs=200, dim=4, validation=0.0, threads=1, **SOFT
    )
    assert model.predict("one", top_k=2).labels == ("a", "b")
    assert model.predict("one", top_k=2).probabilities == pytest.approx((0.7, 0.3), abs=0.02)


def test_scores_take_the_most_likely_label_as_the_true_one(files, tmp_path):
    cells = ["a=0.6|b=0.4"] * 20 + ["a=0.1|b=0.9"] * 20
    texts = ["one"] * 20 + ["two"] * 20
    model = fasttext_app.train(texts, cells, lr=0.5, epochs=20, dim=4, threads=1, **SOFT)
    assert model.artifact.metrics["validation_accuracy"] == 1
    assert model.artifact.metrics["validation_loss"] > 0.3  # not below the entropy of the labels
    scores = model.evaluate(["one", "two", "two"], ["a=0.9|b=0.1", "b", "a=0.8|c=0.2"])
    assert scores["confusion_matrix"] == [[1, 1], [0, 1]]
    with pytest.raises(DataError, match=r"the probabilities sum to 0\.5"):
        model.evaluate(["one"], ["a=0.5"])


@pytest.mark.slow
def test_the_commands_take_soft_labels(files, tmp_path):
    soft = ["--set", "data.label_separator=|", "--set", "data.soft_labels=true"]
    run_cli("train", "--data", files / "dicts.jsonl", "--output", tmp_path / "m", *soft)
    arguments = ("evaluate", tmp_path / "m", "--data")
    scores = read_json(run_cli(*arguments, files / "rows.txt", "--json"))
    assert scores["examples"] == 30
    assert "accuracy" in run_cli(*arguments, files / "rows.csv").stdout
    shown = read_json(run_cli("data", files / "rows.csv", "--json", *soft))
    assert shown["labels"] == {"news": 20, "sport": 20, "arts": 10}


def test_balanced_class_weights_count_rows_by_probability():
    rows = pa.table({"text": ["x y"] * 4, "label": ["a=0.75|b=0.25", "a", "a", "b=0.5|a=0.5"]})
    config = resolve({"data": SOFT, "trainer": {"class_weights": "balanced"}})
    weights = prepare(config, Examples(rows)).train.weights
    a, b = 1 / 3.25, 1 / 0.75
    by_row = np.array([0.75 * a + 0.25 * b, a, a, 0.5 * a + 0.5 * b])
    assert np.concatenate(weights) == pytest.approx(by_row / by_row.mean(), rel=1e-5)


def test_soft_labels_can_be_dicts_in_python():
    texts, quick = ["one", "two"] * 10, {"epochs": 2, "dim": 4, "threads": 1, **SOFT}
    of_dicts = fasttext_app.train(texts, [{"a": 0.75, "b": 0.25}, "b"] * 10, **quick)
    of_cells = fasttext_app.train(texts, ["a=0.75|b=0.25", "b"] * 10, **quick)
    tables = [model.artifact.tensors["table"] for model in (of_dicts, of_cells)]
    assert np.array_equal(*tables)
    assert of_dicts.evaluate(["one"], [{"a": 0.9, "b": 0.1}])["labels"] == ["a", "b"]
    with pytest.raises(DataError, match=r"^train, row 1: .* the label 'a\|b' contains '\|'"):
        fasttext_app.train(texts, [{"a|b": 1.0}, "b"] * 10, **quick)
    del quick["label_separator"], quick["soft_labels"]
    by_itself = fasttext_app.train(texts, [{"a": 0.75, "b": 0.25}, "b"] * 10, **quick)
    assert np.array_equal(by_itself.artifact.tensors["table"], tables[0])

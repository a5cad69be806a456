"""Labels with shares: read from every kind of file, refused with their place, learnt and scored."""

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
from typer.testing import CliRunner

import fasttext_app
from fasttext_app.cli.app import make_app
from fasttext_app.config.loading import resolve
from fasttext_app.data.labels import LabelSet, RowLabels
from fasttext_app.data.soft_labels import LabelShares, shares_of_cell
from fasttext_app.data.spec import open_source
from fasttext_app.data.split import Examples
from fasttext_app.errors import DataError
from fasttext_app.training.losses import build_loss
from fasttext_app.training.prepare import prepare

SOFT = {"label_separator": "|", "soft_labels": True}
SHARES = [{"news": 0.75, "sport": 0.25}, {"sport": 1.0}, {"arts": 0.5, "news": 0.5}]
ROWS = [(f"w{n % 3} common", SHARES[n % 3]) for n in range(30)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same rows in every form that can hold shares."""
    folder = tmp_path_factory.mktemp("soft")
    texts = [text for text, _ in ROWS]
    cells = [[f"{label}={share}" for label, share in row.items()] for _, row in ROWS]
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
def test_every_form_gives_the_same_rows(files, name):
    table = open_source(data_of(files / name)).read("train")
    assert table["text"].to_pylist() == [text for text, _ in ROWS]
    found = [shares_of_cell(cell, "|") for cell in table["label"].to_pylist()]
    assert found == [row for _, row in ROWS]


shares = st.dictionaries(
    st.text("abc =", min_size=1).map(str.strip).filter(bool),
    st.floats(0.01, 1),
    min_size=1,
    max_size=5,
)


@given(shares)
@settings(deadline=None, max_examples=60)
def test_a_cell_gives_back_its_shares(row):
    total = sum(row.values())
    cell = " | ".join(f"{label} = {share / total}" for label, share in row.items())
    assert shares_of_cell(cell, "|") == pytest.approx({k: v / total for k, v in row.items()})


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("a=0.7|b=much", "the share 'much' of 'b' is no number"),
        ("a=1.5|b=-0.5", "the share -0.5 of 'b' must be from 0 to 1"),
        ("a=nan", "the share nan of 'a' must be from 0 to 1"),
        ("a=0.7|b=0.2", "the shares sum to 0.9 and not to 1"),
        ("a=3|b=1", "the shares sum to 4 and not to 1"),
        ("a=0.5|a=0.5", "the label 'a' has two shares"),
        ("a|b", "'a' is not of the form label=share"),
        ("=1", "'=1' is not of the form label=share"),
        ("|", "the shares sum to 0 and not to 1"),
    ],
)
def test_what_is_no_distribution_is_refused_with_its_place(tmp_path, cell, reason):
    (tmp_path / "rows.csv").write_text(f"text,label\nx,a\n\nx,a\nx,{cell}\n")
    with pytest.raises(DataError) as caught:
        open_source(data_of(tmp_path / "rows.csv")).read("train")
    assert str(caught.value) == f"{tmp_path}/rows.csv:5: the label {cell!r}: {reason}"
    with pytest.raises(DataError) as caught:
        fasttext_app.train(["x", "y"], ["a", cell], **SOFT)
    assert str(caught.value) == f"the label {cell!r}: {reason}"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("rows.txt", "\n__label__a x\n\n__label__a=0.5 x\n", "rows.txt:4: the label 'a=0.5': "),
        ("rows.jsonl", '{"text": "x", "label": {"a": 1}}\n{"text": "x", "label": {"a": "b"}}\n',
         "rows.jsonl:2: the label 'a=b': the share 'b' of 'a' is no number"),
        ("rows.jsonl", '{"text": "x", "label": {"a": 1}}\n{"text": 3, "label": {"a": 1}}\n',
         "rows.jsonl:2: field 'text' is int where str is expected"),
        ("rows.jsonl", '{"text": "x", "label": {"a": 1}}\n{"text": "x", "label": {"a|b": 1}}\n',
         "rows.jsonl:2: a label has '|' in it; set data.label_separator"),
        ("rows.jsonl", '{"text": "x", "label": {"a": 1}}\n{"text": "x"}\n',
         "rows.jsonl:2: column 'label' has no label"),
    ],
)  # fmt: skip
def test_other_forms_name_the_place_too(tmp_path, name, content, reason):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as caught:
        open_source(data_of(tmp_path / name)).read("train")
    assert str(tmp_path) in str(caught.value)
    assert reason in str(caught.value)


def test_a_dict_without_the_setting_is_refused(files):
    data = resolve({"data": {"source": str(files / "dicts.parquet")}}).data
    with pytest.raises(DataError, match=r"column 'label' holds struct<.*, not labels"):
        open_source(data).read("train")


def test_rows_of_equal_shares_have_one_number():
    rows = RowLabels.build([pa.array(["b=0.5|a=0.5", "a", "a=0.50 | b=0.5", "a=1"])], None, "|",
                           soft=True)  # fmt: skip
    assert rows.numbers(pa.array(["b=0.5|a=0.5", "a", "a=0.50 | b=0.5", "a=1"])).tolist() == [
        0, 1, 0, 1,
    ]  # fmt: skip
    assert rows.sets.shares.tolist() == [0.5, 0.5, 1.0]


def test_of_labels_that_training_never_saw_the_others_take_the_share():
    rows = RowLabels(LabelSet(("a", "b"), (1, 1)), "|", soft=True)
    assert rows.numbers(pa.array(["a=0.2|b=0.2|c=0.6", "c=1"])).tolist() == [0, -1]
    assert rows.sets.shares.tolist() == [0.5, 0.5]


sets_of_shares = st.lists(
    st.lists(st.floats(0.1, 1), min_size=4, max_size=4), min_size=1, max_size=6
)


@given(sets_of_shares, st.sampled_from([0.0, 0.2]))
@settings(deadline=None, max_examples=40)
def test_the_losses_are_torch_s_own_against_the_distribution(rows, smoothing):
    torch.manual_seed(0)
    targets = torch.tensor(rows) / torch.tensor(rows).sum(1, keepdim=True)
    sets = LabelShares.of([((0, 1, 2, 3), tuple(row)) for row in targets.tolist()])
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


@pytest.mark.parametrize("loss", ["softmax", "ova"])
def test_a_model_learns_the_shares(loss):
    texts, cells = ["one"] * 10 + ["two"] * 10, ["a=0.7|b=0.3"] * 10 + ["b"] * 10
    model = fasttext_app.train(
        texts, cells, loss=loss, lr=0.5, epochs=200, dim=4, validation=0.0, threads=1, **SOFT
    )
    assert model.predict("one", top_k=2).labels == ("a", "b")
    assert model.predict("one", top_k=2).probabilities == pytest.approx((0.7, 0.3), abs=0.02)


def test_the_most_likely_label_is_the_right_one(files, tmp_path):
    cells = ["a=0.6|b=0.4"] * 20 + ["a=0.1|b=0.9"] * 20
    texts = ["one"] * 20 + ["two"] * 20
    model = fasttext_app.train(texts, cells, lr=0.5, epochs=20, dim=4, threads=1, **SOFT)
    assert model.artifact.metrics["validation_accuracy"] == 1
    assert model.artifact.metrics["validation_loss"] > 0.3  # not below the entropy of the shares
    scores = model.evaluate(["one", "two", "two"], ["a=0.9|b=0.1", "b", "a=0.8|c=0.2"])
    assert scores["confusion_matrix"] == [[1, 1], [0, 1]]
    with pytest.raises(DataError, match=r"the shares sum to 0\.5"):
        model.evaluate(["one"], ["a=0.5"])


def test_the_commands_train_evaluate_and_show(files, tmp_path):
    def run(*arguments):
        done = CliRunner().invoke(make_app(), [*map(str, arguments)])
        assert done.exit_code == 0, done.output
        return done.stdout

    soft = ["--set", "data.label_separator=|", "--set", "data.soft_labels=true"]
    run("train", "--data", files / "dicts.jsonl", "--output", tmp_path / "m", *soft)
    scores = json.loads(run("evaluate", tmp_path / "m", "--data", files / "rows.txt", "--json"))
    assert scores["examples"] == 30
    assert "accuracy" in run("evaluate", tmp_path / "m", "--data", files / "rows.csv")
    shown = json.loads(run("data", files / "rows.csv", "--json", *soft))
    assert shown["labels"] == {"news": 20, "sport": 20, "arts": 10}


def test_balanced_classes_are_weighed_by_their_shares():
    rows = pa.table({"text": ["x y"] * 4, "label": ["a=0.75|b=0.25", "a", "a", "b=0.5|a=0.5"]})
    config = resolve({"data": SOFT, "trainer": {"class_weights": "balanced"}})
    weights = prepare(config, Examples(rows)).train.weights
    a, b = 1 / 3.25, 1 / 0.75
    by_row = np.array([0.75 * a + 0.25 * b, a, a, 0.5 * a + 0.5 * b])
    assert np.concatenate(weights) == pytest.approx(by_row / by_row.mean(), rel=1e-5)


def test_in_python_shares_may_be_dicts():
    texts, quick = ["one", "two"] * 10, {"epochs": 2, "dim": 4, "threads": 1, **SOFT}
    of_dicts = fasttext_app.train(texts, [{"a": 0.75, "b": 0.25}, "b"] * 10, **quick)
    of_cells = fasttext_app.train(texts, ["a=0.75|b=0.25", "b"] * 10, **quick)
    tables = [model.artifact.tensors["table"] for model in (of_dicts, of_cells)]
    assert np.array_equal(*tables)
    assert of_dicts.evaluate(["one"], [{"a": 0.9, "b": 0.1}])["labels"] == ["a", "b"]
    with pytest.raises(DataError, match=r"^train: a label has '\|' in it"):
        fasttext_app.train(texts, [{"a|b": 1.0}, "b"] * 10, **quick)
    with pytest.raises(DataError, match="texts and labels must be strings"):
        fasttext_app.train(texts, [{"a": 1.0}, "b"] * 10)

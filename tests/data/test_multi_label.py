"""Rows with several labels: read from every file format, learned, and scored."""

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
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.labels import LabelEncoder, Labels
from fasttext_app.data.spec import open_source
from fasttext_app.data.split import Examples, choose_validation_rows
from fasttext_app.errors import DataError
from fasttext_app.model.metrics import (
    classification_scores,
    from_multi_hot,
    multi_hot,
    multi_label_scores,
    ranking_precision,
)
from fasttext_app.training.losses import build_loss
from fasttext_app.training.prepare import prepare
from tests.helpers import read_json, run_cli

WORDS = {"sport": ["goal", "match"], "money": ["bank", "stock"], "tech": ["chip", "code"]}
SETS = [["sport"], ["money"], ["tech"], ["sport", "money"], ["tech", "money"], ["sport", "tech"]]
ROWS = [
    (" ".join(word for label in labels for word in WORDS[label]) + f" w{n}", labels)
    for n in range(20)
    for labels in SETS
]
QUICK = {"loss": "ova", "lr": 0.5, "epochs": 8, "dim": 8, "batch_size": 8}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same rows in every format that can hold several labels."""
    folder = tmp_path_factory.mktemp("several")
    texts, labels = [text for text, _ in ROWS], [labels for _, labels in ROWS]
    lines = [f'"{text}","{"|".join(row)}"\n' for text, row in ROWS]
    (folder / "rows.csv").write_text("text,label\n" + "".join(lines))
    objects = [json.dumps({"text": text, "label": row}) + "\n" for text, row in ROWS]
    (folder / "rows.jsonl").write_text("".join(objects))
    marked = [" ".join(f"__label__{label}" for label in row) for row in labels]
    both = zip(marked, texts, strict=True)
    (folder / "rows.txt").write_text("".join(f"{label} {text}\n" for label, text in both))
    pq.write_table(pa.table({"text": texts, "label": labels}), folder / "rows.parquet")
    return folder


def config_of(path, **model):
    data = {"source": str(path), "label_separator": "|"}
    return resolve({"data": data, "model": {"loss": "ova", **model}})


@pytest.mark.parametrize("form", ["csv", "jsonl", "txt", "parquet"])
def test_every_format_gives_the_same_rows(files, form):
    table = open_source(config_of(files / f"rows.{form}").data).read("train")
    assert table["text"].to_pylist() == [text for text, _ in ROWS]
    assert [cell.split("|") for cell in table["label"].to_pylist()] == [row for _, row in ROWS]


@pytest.mark.parametrize(
    ("form", "where"),
    [
        ("jsonl", "rows.jsonl:1: column 'label' holds lists; a row must have exactly one label"),
        ("parquet", "rows.parquet, row 1: column 'label' holds lists; a row must have exactly"),
        ("txt", "rows.txt:4: the line has 2 labels (__label__sport, __label__money); a row must"),
    ],
)
def test_several_labels_without_a_separator_are_refused_with_a_hint(files, form, where):
    data = resolve({"data": {"source": str(files / f"rows.{form}")}}).data
    with pytest.raises(DataError) as caught:
        open_source(data).read("train")
    assert where in str(caught.value)
    assert 'set data.label_separator (and model.loss = "ova")' in str(caught.value)


def test_a_label_in_a_list_must_not_contain_the_separator(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "label": [["x"], ["y", "x|y"]]}), path)
    with pytest.raises(DataError, match=r"row 2: a label in column 'label' contains '\|'; set"):
        open_source(config_of(path).data).read("train")


def test_a_separator_changes_nothing_for_rows_with_one_label():
    column = pa.array(["b", "a", "b"])
    one, several = LabelEncoder.build([column]), LabelEncoder.build([column], separator="|")
    assert one.labels == Labels(("a", "b"), (1, 2))
    assert several.encode(column).tolist() == [0, 1, 0]
    assert several.label_sets.to_lists() == [[1], [0]]
    assert several.count(np.array([0, 1, 0])).counts == one.labels.counts


def test_statistics_count_each_label_of_a_row(files):
    config = config_of(files / "rows.csv")
    table = open_source(config.data).read("train")
    prepared = prepare(config, Examples(table, validation_fraction=0.25))
    assert sum(prepared.statistics.labels.values()) > prepared.statistics.train_rows == 90
    assert prepared.statistics.validation_rows == 30


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(0, 3), max_size=3, unique=True).map(sorted), min_size=1))
@settings(deadline=None, max_examples=30)
def test_a_label_never_loses_all_its_rows_to_validation(sets):
    held = choose_validation_rows(np.arange(len(sets)), 0.7, 3, Ragged.from_lists(sets))
    kept = {label for row in np.flatnonzero(~held) for label in sets[row]}
    assert kept == {label for row in sets for label in row}


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(0, 3), max_size=4, unique=True), min_size=1, max_size=6))
@settings(deadline=None, max_examples=15)
def test_the_loss_of_label_sets_is_multi_hot_binary_cross_entropy(sets):
    torch.manual_seed(0)
    linear, bags = nn.Linear(3, 4), torch.randn(len(sets), 3)
    wanted = torch.zeros(len(sets), 4)
    for row, classes in enumerate(sets):
        wanted[row, classes] = 1
    config = resolve({"data": {"label_separator": ","}, "model": {"loss": "ova"}})
    loss = build_loss(config, [1] * 4, Ragged.from_lists(sets))
    loss = loss(linear, bags, torch.arange(len(sets)))
    expected = functional.binary_cross_entropy_with_logits(linear(bags), wanted, reduction="sum")
    torch.testing.assert_close(loss, expected / len(sets))


@pytest.mark.parametrize("name", ["softmax", "ns", "hs"])
def test_other_losses_see_one_label_of_a_row_at_a_time(name):
    torch.manual_seed(0)
    linear, bags, labels = nn.Linear(3, 4), torch.randn(2, 3), torch.tensor([1, 0])
    config = resolve({"data": {"label_separator": ","}, "model": {"loss": name}})
    sets = Ragged.from_lists([[2], [0, 1, 3]])

    def loss(sets=None):
        return build_loss(config, [4, 3, 2, 1], sets, torch.Generator().manual_seed(0))

    drawn, single = loss(sets), loss()
    seen = {drawn(linear, bags, labels).item() for _ in range(60)}
    if name != "ns":  # which draws other labels each time
        expected = [single(linear, bags, torch.tensor([c, 2])).item() for c in (0, 1, 3)]
        assert sorted(seen) == pytest.approx(sorted(expected))
    alone = loss(Ragged.from_lists([[2], [3]]))(linear, bags, labels)
    again = loss()(linear, bags, torch.tensor([3, 2]))
    if name != "ns":
        torch.testing.assert_close(alone, again)


BAGS = st.lists(
    st.tuples(*[st.lists(st.integers(0, 3), max_size=4, unique=True).map(sorted)] * 2), min_size=1
)


@pytest.mark.slow
@given(BAGS)
@settings(deadline=None, max_examples=20)
def test_multi_label_scores_equal_those_of_scikit_learn(rows):
    sklearn = pytest.importorskip("sklearn.metrics")
    flags = np.zeros((2, len(rows), 4), int)
    for row, sides in enumerate(rows):
        for side, classes in enumerate(sides):
            flags[side, row, classes] = 1
    ranked = np.tile(np.arange(4), (len(rows), 1))
    true, predicted = (Ragged.from_lists([row[side] for row in rows]) for side in (0, 1))
    scores = multi_label_scores(true, predicted, ranked, list("abcd"))
    for average in ("micro", "samples"):
        figure = sklearn.f1_score(*flags, average=average, zero_division=0)
        key = {"micro": "micro_f1", "samples": "sample_f1"}[average]
        assert scores[key] == pytest.approx(figure)
    assert scores["exact_match"] == pytest.approx(sklearn.accuracy_score(*flags))
    precision, recall, f1, support = sklearn.precision_recall_fscore_support(
        *flags, zero_division=0
    )
    for number, name in enumerate("abcd"):
        entry = scores["per_label"][name]
        figures = (precision[number], recall[number], f1[number], support[number])
        assert tuple(entry.values()) == pytest.approx(figures)


def test_with_one_label_a_row_both_kinds_of_scores_agree():
    true, best = np.array([0, 1, 2, 2]), np.array([[0, 1, 2], [2, 1, 0], [2, 0, 1], [2, 0, 1]])
    single = classification_scores(true, best, list("abc"))
    rows = [Ragged.from_lists([[c] for c in side]) for side in (true, best[:, 0])]
    several = multi_label_scores(*rows, best, list("abc"))
    assert several["per_label"] == single["per_label"]
    for key in ("macro_f1", "micro_f1", "precision_at_k", "recall_at_k"):
        assert several[key] == pytest.approx(single[key]), key


@pytest.mark.slow
def test_a_model_learns_all_labels_of_a_row(files):
    model = fasttext_app.train(files / "rows.csv", label_separator="|", **QUICK)
    assert model.artifact.metrics["validation_accuracy"] == 1
    assert sorted(model.predict("goal match code chip", 3, 0.5).labels) == ["sport", "tech"]
    scores = model.evaluate(["goal", "stock", "goal what"], ["sport", "money", "sport|other"])
    assert (scores["examples"], scores["unknown_labels"]) == (3, {"other": 1})
    assert scores["precision_at_k"]["1"] == 1


@pytest.mark.slow
def test_the_commands_train_and_evaluate_rows_with_several_labels(files, tmp_path):
    train = ["train", "--data", files / "rows.jsonl", "--output", tmp_path / "m", "--lr", "0.5"]
    run_cli(*train, "--set", "data.label_separator=|", "--set", "model.loss=ova")
    shown = run_cli("evaluate", tmp_path / "m", "--data", files / "rows.parquet")
    assert "exact match" in shown.output
    figures = [
        read_json(run_cli("evaluate", tmp_path / "m", "--data", files / "rows.txt", *more))
        for more in (["--json"], ["--json", "--threshold", "1.0"])
    ]
    assert figures[0]["micro_f1"] > 0.95
    assert figures[1]["micro_recall"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("separator", [" ", "\t", " | "])
def test_set_takes_a_separator_as_it_is(separator, tmp_path):
    rows = "".join(f"{label}\tgoal match {n}\n" for n in range(6) for label in ("a b", "b c", "c"))
    rows = "label\ttext\n" + rows.replace(" b", separator + "b").replace(" c", separator + "c")
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(",".join(f'"{cell}"' for cell in row.rsplit("\t", 1))
                              for row in rows.splitlines()))  # fmt: skip
    setting = ("--set", f"data.label_separator={separator}")
    train = ("train", "--data", path, "--output", tmp_path / "m", "--epochs", 2, "--dim", 4)
    run_cli(*train, "--set", "model.loss=ova", *setting)
    assert set(fasttext_app.load(tmp_path / "m").labels) == {"a", "b", "c"}
    scores = read_json(run_cli("evaluate", tmp_path / "m", "--data", path, *setting, "--json"))
    assert (scores["examples"], scores["unknown_labels"]) == (18, {})


def test_a_threshold_is_refused_when_rows_have_one_label(tiny_model_dir):
    done = run_cli("evaluate", tiny_model_dir, "--data", "sample", "--threshold", "0.5", code=2)
    assert "needs rows that can have several labels" in done.output


def test_only_ova_trains_on_rows_without_a_label():
    rows = pa.table({"text": ["a b", "b c", "c"], "label": ["x", "y", "|"]})
    config = config_of("here")
    assert prepare(config, Examples(rows)).label_sets.to_lists() == [[0], [1], []]
    softmax = resolve({"data": {"label_separator": "|"}})
    with pytest.raises(DataError, match="a row has no label, only the separator"):
        prepare(softmax, Examples(rows, source="here"))


def test_validation_rows_without_a_label_are_skipped_unless_the_loss_is_ova(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\nu v,a\nw x,b|c\nu x,b\n" * 3)
    (tmp_path / "validation.csv").write_text("text,label\nu v,a\nw,|\n")
    result = fasttext_app.train(tmp_path, label_separator="|", validation="validation", epochs=1)
    assert result.artifact.data["validation_rows"] == 1
    several = fasttext_app.train(
        tmp_path, label_separator="|", validation="validation", epochs=1, loss="ova"
    )
    assert several.artifact.data["validation_rows"] == 2


@pytest.mark.slow
def test_evaluate_can_use_another_separator_than_training(files, tmp_path):
    model = fasttext_app.train(files / "rows.csv", label_separator="|", **QUICK)
    model.save(tmp_path / "m")
    other = (files / "rows.csv").read_text().replace("|", ";")
    (tmp_path / "rows.csv").write_text(other)
    arguments = ["--data", tmp_path / "rows.csv", "--json", "--set", "data.label_separator=;"]
    scores = read_json(run_cli("evaluate", tmp_path / "m", *arguments))
    assert scores["labels"] == ["money", "sport", "tech"]
    assert scores["micro_f1"] == 1


SCORES = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=4, max_size=4)


@pytest.mark.slow
@given(st.lists(st.tuples(SCORES, st.sets(st.integers(0, 3))), min_size=1, max_size=8))
@settings(deadline=None, max_examples=60)
def test_ranking_precision_equals_that_of_scikit_learn(rows):
    sklearn = pytest.importorskip("sklearn.metrics")
    scores = np.array([row for row, _ in rows])
    true = Ragged.from_lists([sorted(classes) for _, classes in rows])
    found, r_precision = ranking_precision(scores, true)
    expected = sklearn.label_ranking_average_precision_score(multi_hot(true, 4), scores)
    assert found.mean() == pytest.approx(expected)
    for (row, classes), value in zip(rows, r_precision, strict=True):
        order = sorted(range(4), key=lambda number: (-row[number], number))
        if classes:
            assert value == len(classes & set(order[: len(classes)])) / len(classes)
        else:
            assert np.isnan(value)


def test_an_unknown_label_is_never_ranked():
    scores = np.array([[0.9, 0.1]] * 3)
    true = Ragged.from_lists([[0, 7], [7], [0, 1, 7]])
    precision, r_precision = ranking_precision(scores, true)
    assert precision.tolist() == pytest.approx([0.5, 0, 2 / 3])
    assert r_precision.tolist() == pytest.approx([0.5, 0, 2 / 3])


@pytest.mark.slow
@given(st.lists(st.sets(st.integers(0, 3)).map(sorted)))
@settings(deadline=None, max_examples=30)
def test_multi_hot_vectors_give_back_the_classes(bags):
    assert from_multi_hot(multi_hot(Ragged.from_lists(bags), 4)).to_lists() == bags

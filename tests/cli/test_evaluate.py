"""``fasttext-app evaluate``: scores as JSON and as tables."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from fasttext_app.cli.render.console import SCREEN_ROWS
from fasttext_app.cli.render.evaluation import show_scores
from fasttext_app.model.metrics import classification_scores
from tests.helpers import QUICK, read_json


def test_json_scores_are_consistent(run, tiny_model_dir, tiny_csv, tiny_examples):
    scores = read_json(run("evaluate", tiny_model_dir, "--data", tiny_csv, "--json"))
    assert list(scores) == [
        *("examples", "accuracy", "macro_f1", "micro_f1", "labels", "per_label"),
        *("confusion_matrix", "confusions", "precision_at_k", "recall_at_k", "unknown_labels"),
        *("unknown_texts", "calibration"),
    ]
    assert scores["examples"] == len(tiny_examples[::3]) == 7
    assert scores["labels"] == ["money", "sport"]
    assert list(scores["per_label"]) == scores["labels"]
    for label in scores["per_label"].values():
        assert list(label) == ["precision", "recall", "f1", "support"]
    matrix = scores["confusion_matrix"]
    assert sum(map(sum, matrix)) == 7
    correct = sum(matrix[row][row] for row in range(2))
    assert scores["accuracy"] == scores["micro_f1"] == correct / 7
    supports = [label["support"] for label in scores["per_label"].values()]
    assert [sum(row) for row in matrix] == supports
    assert scores["unknown_labels"] == {}


def test_accuracy_is_the_share_of_correct_predictions(run, tiny_model_dir, tiny_csv):
    with (tiny_csv / "train.csv").open(encoding="utf-8", newline="") as file:
        true = [row["label"] for row in csv.DictReader(file)]
    predicted = run("predict", tiny_model_dir, "--input", tiny_csv / "train.csv")
    labels = [line.split(" ")[0] for line in predicted.stdout.splitlines()]
    hits = sum(a == b for a, b in zip(true, labels, strict=True))
    scores = read_json(
        run("evaluate", tiny_model_dir, "--data", tiny_csv, "--split", "train", "--json")
    )
    assert scores["accuracy"] == hits / len(true)


@pytest.mark.slow
def test_the_tables_show_the_scores_of_json(run, tiny_model_dir, tiny_csv):
    scores = read_json(run("evaluate", tiny_model_dir, "--data", tiny_csv, "--json"))
    shown = run("evaluate", tiny_model_dir, "--data", tiny_csv).stdout
    assert f"{scores['accuracy']:.4f}" in shown
    assert f"{scores['macro_f1']:.4f}" in shown
    for label in scores["labels"]:
        assert label in shown


@pytest.mark.slow
def test_labels_the_model_does_not_know_count_as_errors(run, tiny_model_dir, workdir):
    (workdir / "new.csv").write_text("text,label\nthe team won,sport\na vote,politics\nx,art\n")
    scores = read_json(run("evaluate", tiny_model_dir, "--data", "new.csv", "--json"))
    assert scores["labels"] == ["money", "sport", "politics", "art"]
    assert scores["unknown_labels"] == {"politics": 1, "art": 1}
    assert scores["accuracy"] == pytest.approx(1 / 3)
    assert scores["per_label"]["art"]["recall"] == 0
    shown = run("evaluate", tiny_model_dir, "--data", "new.csv").stdout
    assert (
        "the model does not know, so that all their rows are errors: politics (1), art (1)" in shown
    )


@pytest.mark.slow
def test_a_model_is_not_scored_on_the_file_it_was_trained_on(run, tiny_csv):
    path = tiny_csv / "train.csv"
    run("train", "--data", path, "--output", "model", *QUICK)
    result = run("evaluate", "model", code=1)
    assert result.stderr == (
        f"error: {path}: the model was trained on this very data; pass --data SPEC to score it "
        "on other rows\n"
    )
    assert read_json(run("evaluate", "model", "--data", path, "--json"))["examples"] == 20


def scores_of(classes, confusions):
    """Return the scores of 10 rows for each class, where ``confusions`` are (true, predicted)."""
    true = np.repeat(np.arange(classes), 10)
    predicted = true.copy()
    for row, (label, other) in enumerate(confusions):
        predicted[label * 10 + row % 10] = other
    ranked = np.stack([predicted, (predicted + 1) % classes], axis=1)
    return classification_scores(true, ranked, [f"label{number}" for number in range(classes)])


def test_scores_of_nine_labels_fit_on_a_screen(capsys):
    show_scores(scores_of(9, [(3, 1), (3, 1), (3, 1), (0, 2), (0, 2), (5, 4)]))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 30
    assert lines[-3:] == ["  label3 → label1: 3", "  label0 → label2: 2", "  label5 → label4: 1"]


@pytest.mark.slow
@pytest.mark.parametrize("classes", [40, 2000])
def test_of_many_labels_the_worst_are_shown_and_all_on_request(capsys, classes):
    confusions = [(33, 7), (33, 7), (33, 8), (21, 7)]
    scores = scores_of(classes, confusions)
    show_scores(scores)
    shown = capsys.readouterr().out
    rows = [line for line in shown.splitlines() if "│ label" in line]
    assert len(rows) == SCREEN_ROWS
    assert [row.split()[1] for row in rows[:3]] == ["label33", "label7", "label21"]
    assert f"and {classes - SCREEN_ROWS:,} more labels; --all shows them" in shown
    assert "label33 → label7: 2" in shown
    assert len(shown.splitlines()) < 45
    show_scores(scores, show_all=True)
    shown = capsys.readouterr().out
    assert sum("│ label" in line for line in shown.splitlines()) == classes
    assert "more labels" not in shown
    assert scores["confusions"][0] == {"true": "label33", "predicted": "label7", "rows": 2}
    assert sum(entry["rows"] for entry in scores["confusions"]) == len(confusions)


def test_labels_without_rows_come_last(capsys):
    scores = scores_of(6, [(1, 2)])
    scores["per_label"]["label0"] |= {"support": 0, "f1": 0.0}
    show_scores(scores)
    rows = [line.split()[1] for line in capsys.readouterr().out.splitlines() if "│ label" in line]
    assert rows[0] in ("label1", "label2")
    assert rows[-1] == "label0"

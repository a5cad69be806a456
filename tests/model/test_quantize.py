"""Smaller models: 8-bit rows are near the original ones, and the rows that count most stay."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

import fasttext_app as ft
from fasttext_app.errors import ConfigError
from fasttext_app.model.quantize import keep_largest_rows, quantize_rows
from tests.helpers import run_cli

TEXTS = ["the team won the cup", "a late goal", "the bank lost money", "shares fell"] * 5
LABELS = ["sport", "sport", "money", "money"] * 5
TABLES = numpy_strategies.arrays(
    np.float32,
    st.tuples(st.integers(0, 6), st.integers(1, 5)),
    elements=st.floats(-(2.0**99), 2.0**99, width=32),
)


def trained(**options):
    text = {"word_ngrams": 2, "bucket": 100} | options.pop("text", {})
    return ft.train(TEXTS, LABELS, text=text, dim=6, epochs=5, validation=0.0, **options)


def test_numbers_next_to_nothing_become_zeros():
    numbers, scale = quantize_rows(np.array([[7.3e-44, -1e-45]], np.float32))
    assert (numbers * scale).tolist() == [[0, 0]]


@pytest.mark.slow
@given(TABLES)
@settings(deadline=None)
def test_a_number_is_off_by_half_a_step_at_most(table):
    numbers, scale = quantize_rows(table)
    assert numbers.dtype == np.int8
    exact = numbers.astype(np.float64) * scale[:, None].astype(np.float64)
    assert (np.abs(exact - table) <= scale[:, None] * (0.5 + 1e-4) + 1e-37).all()
    assert numbers.min(initial=0) >= -127


@pytest.mark.slow
@pytest.mark.parametrize("text", [{}, {"term_weighting": "tfidf"}, {"prune": False}])
def test_a_quantized_model_answers_nearly_the_same(tmp_path, text):
    mode = {"mode": "sum"} if "term_weighting" in text else {}
    model = trained(text=text, **mode)
    smaller = model.quantize()
    np.testing.assert_allclose(smaller.predict_proba(TEXTS), model.predict_proba(TEXTS), atol=0.02)
    smaller.save(tmp_path / "small")
    loaded = ft.load(tmp_path / "small")
    assert np.array_equal(loaded.predict_proba(TEXTS), smaller.predict_proba(TEXTS))
    many = loaded.predict_proba(TEXTS * 3000)  # in compiled code
    np.testing.assert_allclose(many[: len(TEXTS)], smaller.predict_proba(TEXTS), rtol=1e-5)


def test_a_quantized_model_is_not_quantized_again():
    with pytest.raises(ConfigError, match="the model is already quantized"):
        trained().quantize().quantize()


def norms_of(model):
    table = model.artifact.tensors["table"]
    return np.linalg.norm(table, axis=1) * model.artifact.tensors.get("idf", 1)


@pytest.mark.parametrize("text", [{}, {"term_weighting": "tfidf"}, {"prune": False}])
@pytest.mark.parametrize("rows", [1, 5, 12])
def test_the_rows_of_the_largest_norms_stay(text, rows):
    mode = {"mode": "sum"} if "term_weighting" in text else {}
    model = trained(text=text, **mode)
    kept = ft.TextClassifier(keep_largest_rows(model.artifact, rows))
    assert kept.encoder.rows == len(kept.artifact.tensors["table"]) == rows
    np.testing.assert_array_equal(np.sort(norms_of(kept)), np.sort(norms_of(model))[-rows:])
    # A row that stayed stands for the same word or n-gram as before.
    for before, after in zip(
        model.encoder.encode(TEXTS).to_lists(), kept.encoder.encode(TEXTS).to_lists(), strict=True
    ):
        table, smaller = model.artifact.tensors["table"], kept.artifact.tensors["table"]
        left = [table[row].tolist() for row in before if table[row].tolist() in smaller.tolist()]
        assert [smaller[row].tolist() for row in after] == left


def test_a_cutoff_of_all_rows_changes_nothing():
    model = trained()
    assert keep_largest_rows(model.artifact, 10_000) is model.artifact
    with pytest.raises(ConfigError, match="cutoff = -1: must be a whole number of at least 0"):
        model.quantize(cutoff=-1)


def test_a_padding_row_forbids_a_cutoff():
    model = trained(padding_idx=0)
    with pytest.raises(ConfigError, match=r"cutoff: cannot be combined with model\.padding_idx"):
        model.quantize(cutoff=3)


# --- the command


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained().save("model")
    rows = "".join(f"{text},{label}\n" for text, label in zip(TEXTS, LABELS, strict=True))
    (tmp_path / "rows.csv").write_text("text,label\n" + rows)
    return tmp_path


def invoke(*arguments):
    return run_cli("quantize", *arguments, code=None)


@pytest.mark.slow
def test_the_command_shows_size_and_accuracy_before_and_after(place):
    result = invoke("model", "--output", "small", "--data", "rows.csv", "--cutoff", 15, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["output"] == "small"
    assert found["after"]["rows"] == 15 < found["before"]["rows"]
    for side, folder in (("before", "model"), ("after", "small")):
        size = sum(path.stat().st_size for path in (place / folder).iterdir())
        assert found[side]["bytes"] == size
        assert found[side]["accuracy"] == ft.load(folder).evaluate(TEXTS, LABELS)["accuracy"]
    shown = invoke("model", "--output", "small", "--data", "rows.csv", "--overwrite").stdout
    assert "size on disk" in shown
    assert "accuracy" in shown
    assert shown.endswith("saved the smaller model to small\n")


def test_without_data_the_accuracy_is_left_out(place):
    result = invoke("model", "--output", "small")
    assert result.exit_code == 0
    assert result.stderr.startswith("accuracy was not measured; pass --data SPEC (")
    assert "accuracy" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model", "--output", "model"), "model: is the model itself; choose another --output"),
        (("model", "--output", "rows.csv"), "rows.csv: "),
        (("none", "--output", "small"), "none: no such model directory"),
        (("model", "--output", "small", "--data", "none.csv"), "none.csv: no such file"),
    ],
)
def test_mistakes_are_one_line_and_save_nothing(place, arguments, message):
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1
    assert not (place / "small").exists()


@pytest.mark.slow
def test_a_source_without_a_test_split_leaves_the_accuracy_out(place):
    (place / "data").mkdir()
    (place / "rows.csv").rename(place / "data" / "train.csv")
    ft.train("data", dim=4, validation=0.0).save("of_folder")
    result = invoke("of_folder", "--output", "small")
    assert result.exit_code == 0
    assert "accuracy was not measured" in result.stderr
    assert (place / "small").exists()
    wanted = invoke("of_folder", "--output", "other", "--split", "test")
    assert wanted.exit_code == 1
    assert not (place / "other").exists()


def test_figures_of_the_original_are_not_those_of_the_smaller_model(tmp_path):
    model = ft.train(TEXTS, LABELS, dim=4, validation=0.2)
    assert model.artifact.metrics
    smaller = model.quantize(cutoff=3)
    assert not smaller.artifact.metrics
    assert smaller.artifact.data["table_rows"] == 3
    assert smaller.artifact.data["vocabulary"] == len(smaller.artifact.vocabulary)
    smaller.save(tmp_path / "m")
    assert "3 rows of 2 numbers" in (tmp_path / "m" / "README.md").read_text()

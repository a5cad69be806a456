"""Keeping a share of texts for one label: the cut, and the commands that find and use it."""

from __future__ import annotations

import csv
import errno
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fasttext_app
from fasttext_app.errors import DataError
from fasttext_app.inference import select as selection
from fasttext_app.inference.select import find_cut, keep_texts, score_texts
from tests.helpers import run_cli

PROBABILITY = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0, 5e-324, 1 - 2**-53]))


def run(*arguments, text=None):
    return run_cli(*arguments, code=None, stdin=text)


@pytest.mark.slow
@given(st.lists(PROBABILITY, min_size=1, max_size=80), st.floats(0.001, 1), st.integers(1, 5))
@settings(deadline=None, max_examples=100)
def test_the_cut_is_that_of_sorting(values, share, pieces):
    numbers = np.abs(np.array(values))  # -0.0 is no probability
    cut = find_cut(np.array_split(numbers, pieces), share)
    wanted = max(round(share * len(numbers)), 1)
    assert cut["threshold"] == np.sort(numbers)[::-1][wanted - 1]
    assert (cut["texts"], cut["wanted"]) == (len(numbers), wanted)
    assert cut["kept"] == (numbers >= cut["threshold"]).sum() >= wanted
    assert cut["above"] == (numbers >= cut["above_threshold"]).sum() < wanted
    assert cut["ties"] == cut["kept"] - cut["above"]


def test_a_cut_of_more_than_one_block(monkeypatch):
    monkeypatch.setattr(selection, "BLOCK", 64)
    numbers = np.random.default_rng(0).random(1000)
    assert find_cut([numbers], 0.1)["threshold"] == np.sort(numbers)[-100]
    assert find_cut([numbers], 0.1)["kept"] == 100


def test_without_texts_there_is_no_cut():
    with pytest.raises(DataError, match="there are no texts"):
        find_cut([np.empty(0)], 0.5)


def test_a_full_disk_is_explained(monkeypatch):
    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(selection.tempfile, "TemporaryFile", lambda prefix: Full())
    with pytest.raises(
        DataError, match=r"No space left on device.*; set TMPDIR to another directory"
    ):
        find_cut([np.ones(1)], 0.5)


@pytest.fixture
def texts(tmp_path, tiny_examples):
    path = tmp_path / "texts.csv"
    rows = [text for text, _ in tiny_examples] * 30
    chance = np.random.default_rng(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        for number, row in enumerate(rows):
            words = [*row.split(), f"w{number}"]
            writer.writerow([number, " ".join(chance.permutation(words)[:5])])
    return path


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["10%", "0.1", "100%"])
def test_the_commands_keep_the_share(tiny_model_dir, texts, tmp_path, keep):
    found = run(
        "threshold", tiny_model_dir, "--input", texts, "--label", "sport", "--keep", keep, "--json"
    )
    assert found.exit_code == 0, found.output
    cut = json.loads(found.stdout)
    assert cut["texts"] == 600
    assert cut["wanted"] == (600 if keep == "100%" else 60)
    out = tmp_path / "kept.csv"
    done = run("predict", tiny_model_dir, "--input", texts, "--label", "sport",
               "--threshold", repr(cut["threshold"]), "--output", out)  # fmt: skip
    assert f"wrote {cut['kept']} rows to {out}" in done.output
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == cut["kept"]
    assert {row["label"] for row in rows} == {"sport"}
    model = fasttext_app.load(tiny_model_dir)
    proba = model.predict_proba([row["text"] for row in rows])[:, model.labels.index("sport")]
    assert proba.min() >= cut["threshold"] - 1e-6


def test_the_table_explains_ties(tiny_model_dir, tmp_path):
    (tmp_path / "same.txt").write_text("unknown\n" * 8)
    shown = run("threshold", tiny_model_dir, "--input", tmp_path / "same.txt", "--label", "sport",
                "--keep", "25%")  # fmt: skip
    assert "8 (100.00%)" in shown.output
    assert "8 texts have exactly this probability, so 2 cannot be kept alone" in shown.output
    assert "keeps 0" in shown.output


def test_scores_and_kept_texts_agree_with_predict(tiny_model_dir, tiny_examples):
    model = fasttext_app.load(tiny_model_dir, threads=1)
    texts = [text for text, _ in tiny_examples]
    batches = [pa.record_batch({"text": pa.array(part)}) for part in (texts[:7], [], texts[7:])]
    scored = list(score_texts(model, batches, "money"))
    assert [text for rows, _ in scored for text in rows.texts.to_pylist()] == texts
    values = np.concatenate([ranked.probabilities[:, 0] for _, ranked in scored])
    expected = model.predict_proba(texts)[:, 0]
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    kept = pa.Table.from_batches(list(keep_texts(model, batches, "money", 0.5)))
    chosen = np.flatnonzero(expected >= 0.5)
    assert kept["text"].to_pylist() == [texts[row] for row in chosen]
    assert kept["labels"].to_pylist() == [["money"]] * len(chosen)
    np.testing.assert_allclose(
        [value for (value,) in kept["probabilities"].to_pylist()], expected[chosen], rtol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("command", ["threshold", "predict"])
def test_a_label_that_is_not_there_is_refused(tiny_model_dir, texts, command):
    more = ["--keep", "1%"] if command == "threshold" else []
    done = run(command, tiny_model_dir, "--input", texts, "--label", "sports", *more)
    assert done.exit_code == 1
    assert "there is no label 'sports'; did you mean 'sport'?" in done.output


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["0", "0%", "110%", "1.5", "-1", "ten", "nan", ""])
def test_an_impossible_share_is_refused(tiny_model_dir, texts, keep):
    done = run("threshold", tiny_model_dir, "--input", texts, "--label", "sport", f"--keep={keep}")
    assert done.exit_code == 2
    assert "is not a share above 0 and up to 1" in " ".join(done.output.replace("│", " ").split())


@pytest.mark.slow
@pytest.mark.parametrize("threshold", ["1.5", "-0.1", "nan", "best"])
def test_an_impossible_threshold_is_refused(tiny_model_dir, threshold):
    done = run("predict", tiny_model_dir, "text", f"--threshold={threshold}")
    assert done.exit_code == 2
    assert "is neither a number from 0 to 1 nor 'fitted'" in " ".join(
        done.output.replace("│", " ").split()
    )


def test_top_k_is_not_for_one_label(tiny_model_dir):
    done = run("predict", tiny_model_dir, "text", "--label", "sport", "--top-k", 2)
    assert done.exit_code == 2
    assert "--top-k" in done.output


def test_a_pipe_is_filtered_too(tiny_model_dir):
    lines = "the striker scored\nshares fell\n"
    done = run("predict", tiny_model_dir, "--label", "sport", "--threshold", 0.5, text=lines)
    assert done.stdout.splitlines()[0].endswith("the striker scored")
    assert len(done.stdout.splitlines()) == 1

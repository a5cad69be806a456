"""``data`` and ``train`` name labels that look alike, texts that say "NA", and copies."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasttext_app
from fasttext_app.config.schema import DataConfig
from fasttext_app.data.describe import describe_data
from fasttext_app.data.findings import (
    MISSING_WORDS,
    Copies,
    JoinedLabels,
    MissingTexts,
    RepeatedTexts,
    SimilarLabels,
    label_findings,
    missing_texts,
    row_findings,
    shared_texts,
    text_hashes,
)
from fasttext_app.data.spec import open_source
from fasttext_app.model.train_warnings import DataFinding, SharedTexts
from tests.helpers import WORDS_ONLY, run_cli

MISSING = "what programs write for a missing value"


def messages(path, split="train", **settings):
    source = open_source(DataConfig.model_validate({"source": str(path)} | settings))
    return [found["message"] for found in describe_data(source, split)["findings"]]


# --- labels


@pytest.mark.parametrize(
    "other", ["p ", " p", "P", "p\N{NO-BREAK SPACE}", "\N{FULLWIDTH LATIN SMALL LETTER P}", "p\t"]
)
def test_labels_that_look_alike_are_named(other):
    (found,) = label_findings({"p": 30, "n": 5, other: 2})
    assert found == SimilarLabels(({"p": 30, other: 2},))
    assert str(found) == (
        f"labels that differ only in blanks or case: 'p' (30) and {other!r} (2); write them alike"
    )


def test_other_labels_are_not_alike():
    assert list(label_findings({"p": 1, "q": 1, "p2": 1, "é": 1, "e": 1})) == []
    assert list(label_findings({"p": 3, "P": 0})) == []  # a name of the data without rows


def test_the_first_groups_are_shown():
    rows_of = {f"{letter}{blank}": 1 for letter in "abcde" for blank in ("", " ")}
    (found,) = label_findings(rows_of)
    assert len(found.groups) == 5
    assert str(found).endswith("'c' (1) and 'c ' (1); and 2 more; write them alike")


def test_joined_labels_are_a_finding():
    rows_of = {"a": 1, "b": 1, "a|b": 1}
    assert list(label_findings(rows_of)) == [JoinedLabels(1, "a|b", "|")]
    assert list(label_findings(rows_of, joined=False)) == []


# --- texts


def test_texts_that_stand_for_a_missing_value_are_counted():
    texts = [*MISSING_WORDS, " NA ", "a NA", "", "Nancy", "nan nan"]
    counts = missing_texts(pa.array(texts))
    assert counts == dict.fromkeys(MISSING_WORDS, 1) | {"NA": 2}
    sliced = pa.array(["NA", "nan", "x" * 20, "null"]).slice(1)
    assert missing_texts(sliced) == {"nan": 1, "null": 1}
    assert str(MissingTexts({"NA": 1})).startswith("1 text is what programs write for a missing")


@given(
    rows=st.lists(st.tuples(st.sampled_from("abc "), st.integers(0, 2)), max_size=12),
)
def test_rows_with_the_same_text_are_counted(rows):
    texts = text_hashes(pa.array([text for text, _ in rows], pa.string()))
    labels = np.array([label for _, label in rows], np.int64)
    found = {type(finding): finding for finding in row_findings(texts, labels)}
    kept = [row for row in rows if row[0].strip()]
    repeated = sum(
        len(own) - max(own.count(label) for label in own)
        for text in "abc"
        if (own := [label for other, label in kept if other == text])
    )
    copies = len(kept) - len(set(kept))
    assert (found[RepeatedTexts].rows if RepeatedTexts in found else 0) == repeated
    assert (found[Copies].rows if Copies in found else 0) == copies
    for kind, same_label in ((RepeatedTexts, False), (Copies, True)):
        if kind in found:
            first, second = (rows[row - 1] for row in found[kind].example)
            assert first[0].strip() == second[0].strip()
            assert (first[1] == second[1]) == same_label


def test_texts_of_two_splits_are_compared():
    texts, others = (
        text_hashes(pa.array(["a", "b ", "", "c"])),
        text_hashes(pa.array(["x", "", "b"])),
    )
    assert shared_texts(texts, others) == (1, (2, 3))
    assert shared_texts(texts[:1], others) is None


# --- ``data``


def test_data_names_everything(tmp_path):
    rows = ["good,p", "good,p", "good,n", "NA,n", "no,p", "bad,p ", "fine,P"]
    (tmp_path / "train.csv").write_text("text,label\n" + "\n".join(rows))
    (tmp_path / "test.csv").write_text("text,label\nnew,p\nbad,p\ngood,p\n")
    (tmp_path / "dev.csv").write_text("broken\n")
    assert messages(tmp_path) == [
        "labels that differ only in blanks or case: 'p' (3) and 'P' (1) and 'p ' (1); "
        "write them alike",
        f"1 text is {MISSING}: 'NA' (1); remove the rows, or fill in their texts",
        "rows that repeat a text with another label: 1 (such as 1 and 3); correct the labels, or "
        "set data.label_separator if there can be several",
        "copies of another row: 1 (such as 1 and 2)",
        "2 of 3 texts of test are in train too (such as 2 and 6); remove them from one of the two",
    ]
    shown = run_cli("data", tmp_path).stdout
    assert "• labels that differ only in blanks or case" in shown
    assert "'p '" in shown
    single = tmp_path / "test.csv"
    assert messages(single) == []


# --- ``train``


def findings(model):
    return [warning for warning in model.training_warnings if isinstance(warning, DataFinding)]


def test_train_names_labels_and_texts():
    texts = ["good fun", "bad luck", "NA", "fine day"] * 5
    labels = ["p", "n", "n", "P "] * 5
    model = fasttext_app.train(texts, labels, **WORDS_ONLY)
    assert [str(warning) for warning in findings(model)] == [
        "labels that differ only in blanks or case: 'P ' (4) and 'p' (4); write them alike",
        f"5 texts are {MISSING}: 'NA' (5); remove the rows, or fill in their texts",
    ]


@pytest.mark.parametrize("split", [False, True])
def test_train_names_validation_texts_that_are_in_training_too(tmp_path, split):
    rows = [f"word{number} w{number % 7},{'pn'[number % 2]}\n" for number in range(40)]
    (tmp_path / "train.csv").write_text("text,label\n" + "".join(rows * (1 if split else 2)))
    if split:
        (tmp_path / "dev.csv").write_text("text,label\n" + "".join(rows[:5]) + "word1 new,n\n" * 5)
    model = fasttext_app.train(tmp_path, **WORDS_ONLY)
    (warning,) = [w for w in model.training_warnings if isinstance(w, SharedTexts)]
    assert warning.validation_rows == (10 if split else 8)
    assert warning.rows >= 5
    assert "validation texts have the same words as a training text" in str(warning)


def test_train_says_nothing_of_clean_data():
    texts = [f"word{number} w{number % 7}" for number in range(40)]
    model = fasttext_app.train(texts, ["p", "n"] * 20, **WORDS_ONLY)
    assert not findings(model)
    assert not [w for w in model.training_warnings if isinstance(w, SharedTexts)]

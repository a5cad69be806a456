"""Reviews: flipped labels, near-duplicates with other labels, and rows to label."""

from __future__ import annotations

import csv
import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

import fasttext_app as ft
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.reviewing.confident_learning import doubts, doubts_of_several
from fasttext_app.reviewing.near_duplicates import SIMILAR, near_duplicates
from fasttext_app.reviewing.next_to_label import next_to_label
from fasttext_app.reviewing.out_of_fold import choose_folds
from tests.browser import CHROMIUM, check_looks
from tests.helpers import WORDS_ONLY, run_cli

SPORT = ["goal", "team", "cup", "match", "coach", "league"]
MONEY = ["bank", "stock", "profit", "trade", "market", "bond"]
QUICK = {**WORDS_ONLY, "epochs": 8, "threads": 1, "validation": 0.0}


def rows(count=60, seed=0):
    """Return texts of two kinds with their labels; no text is nearly a copy of another."""
    generator = np.random.default_rng(seed)
    texts, labels = [], []
    for row in range(count):
        words = [SPORT, MONEY][row % 2]
        unique = [f"w{row}{letter}" for letter in "abcd"]
        texts.append(" ".join([*generator.choice(words, 5), *unique]))
        labels.append(["sport", "money"][row % 2])
    return texts, labels


# --- the rule


def naive_doubts(proba, given):
    """Confident learning, row by row, as the paper and cleanlab write it."""
    classes = proba.shape[1]
    thresholds = [
        np.mean([p[c] for p, g in zip(proba, given, strict=True) if g == c]) if c in given else 2
        for c in range(classes)
    ]
    wrong = []
    for p, g in zip(proba, given, strict=True):
        above = [c for c in range(classes) if p[c] >= thresholds[c]]
        best = max(above, key=lambda c, p=p: p[c], default=g)
        wrong.append(best != g and p[best] > p[g])
    return wrong


@pytest.mark.parametrize("seed", range(5))
def test_doubts_are_those_of_the_paper(seed):
    generator = np.random.default_rng(seed)
    proba = generator.dirichlet(np.full(4, 0.5), 200)
    given = generator.integers(0, 4, 200)
    found = doubts(proba, given, np.full(200, True))
    assert found.is_wrong.tolist() == naive_doubts(proba, given)
    wrong = found.is_wrong
    own = proba[np.arange(200), given]
    likely = proba[np.arange(200), found.likely]
    assert np.allclose(found.margin[wrong], (likely - own)[wrong])


def test_a_class_without_rows_is_never_likely():
    proba = np.array([[0.1, 0.2, 0.7]] * 4 + [[0.2, 0.1, 0.7]] * 4)
    found = doubts(proba, np.array([0, 0, 1, 1, 1, 1, 0, 0]), np.full(8, True))
    assert not (found.likely == 2).any()


def test_of_several_labels_the_missing_and_the_wrong_one_are_found():
    given = np.array([[1, 0], [0, 1], [1, 1]] * 6, bool)
    proba = np.where(given, 0.9, 0.1)
    given[0], given[1] = [1, 1], [0, 0]
    found = doubts_of_several(proba.astype(np.float32), given, np.full(given.shape, True))
    assert np.flatnonzero(found.is_wrong).tolist() == [0, 1]
    assert found.likely[:2].tolist() == [1, 1]


# --- folds


def test_folds_are_even_and_keep_groups_together():
    generator = np.random.default_rng(1)
    strata, groups = generator.integers(0, 3, 300), np.arange(300) // 2 * 2
    folds = choose_folds(strata, groups, 5, seed=0)
    assert (folds[::2] == folds[1::2]).all()
    assert np.ptp(np.bincount(folds)) <= 2
    assert (choose_folds(strata, groups, 5, seed=0) == folds).all()
    assert (choose_folds(strata, groups, 5, seed=1) != folds).any()


# --- near-duplicates


def jaccard(one, other):
    one, other = ({*text.split(), *pairwise(text.split())} for text in (one, other))
    return len(one & other) / len(one | other)


def test_near_duplicates_are_those_of_the_exact_similarity():
    generator = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(400)])
    texts = [" ".join(generator.choice(words, 30)) for _ in range(60)]
    for changes in range(8):  # copies with that many other words
        copy = texts[changes].split()
        for place in generator.choice(30, changes, replace=False):
            copy[place] = "another"
        texts.append(" ".join(copy))
    groups = near_duplicates(pa.chunked_array([texts[:20], texts[20:]]))
    for changes in range(8):
        similarity = jaccard(texts[changes], texts[60 + changes])
        if abs(similarity - SIMILAR) > 0.03:
            assert (groups[changes] == groups[60 + changes]) == (similarity > SIMILAR)
    assert len(set(groups[:60].tolist())) == 60


def test_texts_without_words_are_like_no_other():
    assert near_duplicates(pa.chunked_array([["", " ", "a", "A", ""]])).tolist() == [0, 1, 2, 2, 4]


# --- what to label


def test_uncertain_texts_come_first_and_no_two_are_alike():
    proba = np.array([[0.99, 0.01]] * 5 + [[0.5, 0.5]] * 3 + [[0.45, 0.55]] * 3)
    vectors = np.array([[1, 0]] * 8 + [[0, 1]] * 3, np.float32)
    order = next_to_label(proba, vectors, 2, seed=0)
    assert 5 <= order[0] < 8 <= order[1]
    everything = next_to_label(proba, vectors, 99, seed=0)
    assert sorted(everything.tolist()) == list(range(11))


# --- reviews


def test_flipped_labels_are_listed_first():
    texts, labels = rows()
    flipped = [4, 17, 30]
    for row in flipped:
        labels[row] = {"sport": "money", "money": "sport"}[labels[row]]
    result = ft.review(texts, labels, folds=3, **QUICK)
    wrong = result.of("label")
    assert {suspect.row - 1 for suspect in wrong[:3]} == set(flipped)
    for suspect in wrong[:3]:
        assert suspect.text == texts[suspect.row - 1]
        assert suspect.label == labels[suspect.row - 1] != suspect.suggested
        assert suspect.probability > suspect.label_probability
    assert result.rows == 60
    assert result.to_table().num_rows == len(result.suspects)


def test_the_same_review_gives_the_same_rows():
    texts, labels = rows(40)
    one, other = (ft.review(texts, labels, folds=2, **QUICK) for _ in range(2))
    assert one == other


def test_near_duplicates_with_another_label_are_listed():
    texts, labels = rows()
    texts += [texts[0] + " again", texts[1]]
    labels += ["money", "money"]
    result = ft.review(texts, labels, folds=3, **QUICK)
    (pair,) = [{s.row, s.like} for s in result.suspects if s.row == 61]
    assert pair == {1, 61}
    assert not [s for s in result.suspects if s.like == 2]


def test_rows_without_a_label_are_listed_to_be_labeled():
    texts, labels = rows()
    frame = pa.table(
        {"text": [*texts, "bank goal", "zebra"], "label": [*labels, None, " "], "id": range(62)}
    )
    result = ft.review(frame, folds=2, keep="id", unlabeled=["cup bank"], pick=2, **QUICK)
    assert result.unlabeled == 3
    picked = result.of("unlabeled")
    assert len(picked) == 2
    assert all(s.row > 60 and s.label == "" and s.suggested in ("sport", "money") for s in picked)
    assert all(s.kept == ((s.row - 1,) if s.row <= 62 else (None,)) for s in picked)
    assert "id" in result.to_table().column_names


def test_rows_with_several_labels():
    texts, labels = rows()
    cells = [[label] if row % 3 else [label, "third"] for row, label in enumerate(labels)]
    texts = [f"{text} extra extra" if row % 3 == 0 else text for row, text in enumerate(texts)]
    cells[4] = ["money"]
    result = ft.review(texts, cells, folds=3, **QUICK)
    (first,) = [s for s in result.suspects if s.row == 5]
    assert first.label == "money"
    assert first.suggested in ("", "money|sport")


def test_a_label_that_is_too_rare_is_not_judged():
    texts, labels = rows()
    result = ft.review([*texts, "zebra goal team"], [*labels, "rare"], folds=3, **QUICK)
    assert result.not_judged == 1
    assert 61 not in [s.row for s in result.of("label")]
    assert "rare" not in [s.suggested for s in result.suspects]  # no row says how likely it is


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["a b", "c d"] * 3, ["x", "y"] * 3, "2 different texts with labels are too few"),
        (["a", "b", "c", "d"], ["x"] * 4, "all rows have the label 'x'"),
        (["a", "b"], [None, ""], "no row has a label"),
    ],
)
def test_too_few_rows_or_labels_are_refused(texts, labels, message):
    with pytest.raises(DataError, match=message):
        ft.review(texts, labels, folds=2, **QUICK)


def test_arguments_are_checked():
    with pytest.raises(ConfigError, match="folds"):
        ft.review(["a"], ["b"], folds=1)


# --- the command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts, labels = rows()
    labels[4] = "money"
    with (tmp_path / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label"])
        writer.writerows(zip([f"=r{row}" for row in range(60)], texts, labels, strict=True))
        writer.writerow(["=r60", "bank goal", ""])
    (tmp_path / "new.csv").write_text("text\nzebra\n")
    return tmp_path


def command(*arguments, code=0):
    fixed = ["--folds", 2, "--threads", 1, "--set", "model.dim=4", "--set", "trainer.epochs=8"]
    fixed += ["--set", "text.minn=0", "--set", "text.maxn=0", "--set", "data.validation=0.0"]
    return run_cli("review", *fixed, *arguments, code=code)


def test_the_command_writes_csv(folder):
    done = command("-d", "train.csv", "--keep", "id", "--unlabeled", "new.csv", "-o", "rows.csv")
    assert "61" not in done.stdout
    with (folder / "rows.csv").open() as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == [
        *("row", "id", "reason", "label", "suggested", "probability", "label_probability", "like"),
        "text",
    ]
    (flipped,) = [row for row in table if row["row"] == "5"]
    assert (flipped["reason"], flipped["id"], flipped["suggested"]) == ("label", "=r4", "sport")
    assert {row["row"] for row in table if row["reason"] == "unlabeled"} == {"61", "62"}
    assert "likely mislabeled" in done.stderr
    command("-d", "train.csv", "-o", "rows.csv", code=1)
    command("-d", "train.csv", "--keep", "id", "--safe-csv", "-o", "rows.csv", "--overwrite")
    assert "'=r4" in (folder / "rows.csv").read_text()


def test_copied_columns_keep_their_types(folder):
    """Maps cannot be told from lists of pairs, nor the types of nulls, by their values."""
    import pyarrow.parquet as pq

    texts, labels = rows()
    labels[4] = "money"
    table = pa.table(
        {
            "text": texts,
            "label": labels,
            "score": pa.array(range(60), pa.float32()),
            "tags": pa.array([[("a", row)] for row in range(60)], pa.map_(pa.string(), pa.int64())),
        }
    )
    pq.write_table(table, "rows.parquet")
    review = ft.review("rows.parquet", keep=["score", "tags", "score"], folds=2, **QUICK)
    result = review.to_table()
    assert len(result)
    for name in ("score", "tags"):
        assert result.schema.field(name).type == table.schema.field(name).type
        values = table.column(name).to_pylist()
        expected = [values[row - 1] for row in result.column("row").to_pylist()]
        assert result.column(name).to_pylist() == expected


@pytest.mark.parametrize("name", ["r.parquet", "r.csv.gz", "r.xlsx"])
def test_no_other_format_is_promised(folder, name):
    assert "no format is written under" in command("-o", name, code=1).stderr


def test_the_command_writes_json_lines_to_standard_output(folder):
    lines = command("-d", "train.csv", "--format", "jsonl").stdout.splitlines()
    assert 5 in [json.loads(line)["row"] for line in lines]


def test_files_of_fasttext_can_be_reviewed(folder):
    texts, labels = rows(40)
    lines = [f"__label__{label} {text}\n" for text, label in zip(texts, labels, strict=True)]
    (folder / "train.txt").write_text("".join(lines))
    assert command("-d", "train.txt").stdout.startswith("row,reason,label")
    assert "no columns" in command("-d", "train.txt", "--keep", "id", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-d", "train.csv", "--keep", "nothing"], "there is no column 'nothing'"),
        (["-d", "train.csv", "--label-column", "topic"], "choose with --text-column"),
        (["-d", "train.csv", "--unlabeled", "no.csv"], "no such file"),
        ([], "no data"),
    ],
)
def test_bad_input_is_one_line(folder, arguments, message):
    done = command(*arguments, code=1)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


# --- in a browser


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_review_looks_right(folder):
    texts, labels = rows()
    texts[6:8] = ["goal " * 400, "x" * 300]
    names = {"sport": "a label of many words " * 8, "money": "m" * 200}
    for row in (4, 6, 7, 9):
        labels[row] = {"sport": "money", "money": "sport"}[labels[row]]
    cells = [*map(names.get, labels)]
    table = [
        *zip(range(60), texts, cells, strict=True),
        (60, f"{texts[0]} again", names["money"]),  # like a row with another label
        (61, "rare goal", "rare"),
        *((62 + row, text, "") for row, text in enumerate(["zebra", "bank goal", ""])),
    ]
    with (folder / "nasty.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("a long name of a column " * 6, "text", "label"), *table])
    command("-d", "nasty.csv", "--keep", "a long name of a column " * 6, "-o", "review.html")
    page = folder / "review.html"
    for shown in (
        "Likely mislabeled",
        "like row",
        "Label these first",
        "because their labels are too rare: 1.",
    ):
        assert shown in page.read_text()
    check_looks(page.as_uri(), "location.protocol == 'file:'", folder, "review")
    assert len(list(folder.glob("review-*.png"))) == 4

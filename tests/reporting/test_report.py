"""Reports: what they say agrees with evaluate, whatever the model and the rows are."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

import fasttext_app as ft
from fasttext_app.core.ragged import Ragged
from fasttext_app.foreign_text import for_html
from fasttext_app.reporting.intervals import mcnemar, resampled_f1, share_interval
from tests.browser import CHROMIUM, check_looks
from tests.helpers import WORDS_ONLY, run_cli

NASTY = "<script>alert(1)</script>\"'&\x1b[31m\u202e"
QUICK = {**WORDS_ONLY, "threads": 1, "validation": 0.0}


class Page(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.anchors, self.headings = [], "", [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        values = dict(attributes)
        if tag == "a":
            self.anchors.append(values["href"].removeprefix("#"))
        elif tag == "h2":
            self.headings.append(values["id"])

    def handle_data(self, data):
        self.text += data


def write_rows(path, rows, header="text,label"):
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(*arguments):
    run_cli("report", *arguments, "-o", "report.html", "--overwrite")
    with open("report.html", encoding="utf-8") as file:  # noqa: PTH123 - in the current folder
        page = file.read()
    assert not re.search(r"https?://(?!www.w3.org/2000/svg)|@import|url\(|<script|<link|<img", page)
    return Page(page)


ROWS = [
    ("the bank fell", "money"),
    ("a late goal", "sport"),
    ("the team won the cup", "sport"),
    ("goal of the team", "money"),
    ("stock of the bank", "money"),
]


def test_a_report_says_what_evaluate_says(folder, tiny_model_dir):
    write_rows(folder / "test.csv", ROWS)
    page = written(tiny_model_dir, "-d", "test.csv")
    scores = ft.load(tiny_model_dir).evaluate("test.csv")
    assert f"{scores['accuracy']:.4f}" in page.text
    assert f"{scores['macro_f1']:.4f}" in page.text
    assert f"{scores['calibration']['ece']:.4f}" in page.text
    for row in scores["confusions"]:
        assert row["true"] in page.text
    assert "row 4" in page.text  # the wrong one
    assert "5 rows of test.csv" in page.text
    assert page.anchors == page.headings


def test_texts_and_labels_of_strangers_are_escaped(folder):
    model = ft.train([f"a {NASTY}", "b c"] * 5, [NASTY, "<b>x"] * 5, **QUICK)
    model.save("model")
    write_rows(folder / "test.csv", [("a", "<b>x"), ("b " + NASTY.replace("\x1b", ""), "<i>new")])
    page = written("model", "-d", "test.csv")
    assert not {"script", "b", "i"} & set(page.tags)
    assert "<b>x" in page.text
    assert "<i>new" in page.text
    assert "\x1b" not in page.text
    assert for_html(NASTY)


def test_two_models_are_compared_by_a_paired_test(folder, tiny_model_dir):
    texts, labels = zip(*ROWS, strict=True)
    ft.train(texts, labels, **QUICK | {"epochs": 30}).save("other")
    write_rows(folder / "test.csv", ROWS * 4)
    page = written(tiny_model_dir, "-d", "test.csv", "--compare", "other")
    first, second = (ft.load(m) for m in (tiny_model_dir, "other"))
    right = [
        np.array([model.predict(text).labels[0] == label for text, label in ROWS * 4])
        for model in (first, second)
    ]
    only = [int((right[a] & ~right[1 - a]).sum()) for a in (0, 1)]
    p = mcnemar(*only)
    assert f"{p:.4f}" in page.text
    assert "McNemar" in page.text
    assert "other is right" in page.text


def test_rows_with_several_labels(folder):
    cells = ["money|sport", "sport", "money", "sport"] * 5
    texts = ["bank goal", "goal", "bank", "team goal"] * 5
    model = ft.train(texts, [cell.split("|") for cell in cells], **QUICK)
    model.calibrate(texts, [cell.split("|") for cell in cells], thresholds="f1").save("model")
    write_rows(folder / "test.csv", zip(texts, cells, strict=True))
    page = written("model", "-d", "test.csv")
    assert "Micro F1" in page.text
    assert "Exact match" in page.text
    assert "Fitted for f1" in page.text
    assert "Confusions" not in page.text
    written("model", "-d", "test.csv", "--compare", "model")


@pytest.mark.parametrize("loss", ["hs", "ova", "ns"])
def test_other_losses(folder, loss):
    model = ft.train(["bank", "goal", "team"] * 6, ["a", "b", "c"] * 6, **QUICK, loss=loss)
    model.save("model")
    write_rows(folder / "test.csv", [("bank", "a"), ("goal", "a"), ("", "c")])
    page = written("model", "-d", "test.csv")
    assert ("Words that speak" in page.text) == (loss != "hs")
    assert ("Words in blue" in page.text) == (loss != "hs")


def test_rows_of_one_label(folder):
    ft.train(["a", "b"] * 4, ["x", "y"] * 4, **QUICK).save("model")
    write_rows(folder / "test.csv", [("a", "x"), ("a b", "x")])
    assert "Labels" in written("model", "-d", "test.csv").text


def test_of_many_labels_some_are_shown_and_the_page_says_so(folder):
    texts = [f"word{number} w" for number in range(1200)]
    labels = [f"label{number}" for number in range(1200)]
    ft.train(texts, labels, **QUICK | {"epochs": 1}).save("model")
    write_rows(folder / "test.csv", zip(texts, labels, strict=True))
    page = written("model", "-d", "test.csv")
    assert "The 30 of 1,200 labels with the lowest F1" in page.text
    assert "The 20 of 1,200 labels with the most rows" in page.text
    assert len(page.text) < 200_000


def test_leaks_from_the_training_rows_are_found(folder):
    write_rows(folder / "train.csv", ROWS * 3)
    run_cli(*["train", "-d", "train.csv", "-o", "model", "--set", "model.dim=4", "--epochs", "1"])
    write_rows(folder / "test.csv", ROWS[:2])
    assert (
        "2 of 2 texts of test.csv are in the training data too"
        in written("model", "-d", "test.csv").text
    )
    assert "curves" in written("model", "-d", "test.csv").text


def test_the_rows_are_read_once(folder, tiny_model_dir):
    """So a pipe has findings too, and they count what is reported."""
    write_rows(folder / "test.csv", [*ROWS, ROWS[0]])
    page = written(tiny_model_dir, "-d", "test.csv")
    with (folder / "test.csv").open() as file:
        run_cli(
            *["report", tiny_model_dir, "-d", "-", "-o", "piped.html", "--set", "data.format=csv"],
            stdin=file.read(),
        )
    finding = "copies of another row: 1 (such as 1 and 6)"
    assert finding in page.text
    assert finding in (folder / "piped.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-o", "x.html"], 1, "no data: pass --data"),
        (["-d", "test.csv"], 2, "--output"),
        (["-d", "no.csv", "-o", "x.html"], 1, "no such file"),
        (["-d", "test.csv", "-o", "no/x.html"], 1, "there is no folder no"),
        (["-d", "test.csv", "-o", "test.csv"], 2, "is the input too"),
        (["-d", "test.csv", "-o", "x.html", "--compare", "nothing"], 1, "no such model"),
    ],
)
def test_bad_arguments_are_one_line(folder, arguments, code, message):
    ft.train(["a", "b"] * 4, ["x", "y"] * 4, **QUICK).save("model")
    write_rows(folder / "test.csv", ROWS)
    done = run_cli("report", "model", *arguments, code=code)
    assert message in done.stderr
    assert not list(folder.glob("*.html"))


# --- how sure a score is


def test_the_interval_of_a_share_holds_as_often_as_it_says():
    generator = np.random.default_rng(0)
    for share in (0.05, 0.5, 0.95):
        hits = generator.binomial(80, share, 2000)
        intervals = [share_interval(int(count), 80) for count in hits]
        covered = np.mean([low <= share <= high for low, high in intervals])
        assert 0.92 < covered < 0.98


def test_the_interval_of_f1_is_that_of_accuracy_where_rows_have_one_label():
    generator = np.random.default_rng(0)
    true = generator.integers(0, 3, 400)
    predicted = np.where(generator.random(400) < 0.8, true, 0)
    accuracy = np.mean(true == predicted)
    micro, macro = resampled_f1(Ragged.one_each(true), Ragged.one_each(predicted))
    expected = share_interval(int((true == predicted).sum()), 400)
    assert np.allclose(micro, expected, atol=0.01)
    assert micro.low < accuracy < micro.high
    assert 0 < macro.low < macro.high < 1


def test_mcnemar_is_the_sign_test():
    from math import comb

    for one, other in ((0, 1), (4, 9), (30, 12), (200, 251)):
        total = one + other
        tail = sum(comb(total, k) for k in range(min(one, other) + 1))
        assert mcnemar(one, other) == pytest.approx(min(2 * tail / 2**total, 1.0))
        assert mcnemar(one, other) == mcnemar(other, one)


# --- in a browser


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_report_looks_right(folder, tiny_model_dir):
    labels = [*["money", "sport"] * 2, *(f"label {number} " * 6 for number in range(12))]
    rows = [(f"word{number} bank", label) for number, label in enumerate(labels)]
    write_rows(folder / "test.csv", [*rows, ("x" * 300, "money"), (NASTY[:-6], "sport")])
    ft.train("test.csv", **QUICK).save("other")
    written("other", "-d", "test.csv", "--compare", tiny_model_dir)
    page = folder / "report.html"
    check_looks(page.as_uri(), "location.protocol == 'file:'", folder, "report")
    assert len(list(folder.glob("*.png"))) == 4

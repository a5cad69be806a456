"""The benchmark of the default settings: its sets, scores and tables, with made-up peers."""

from __future__ import annotations

import doctest
import json
import sys
from importlib import import_module

import numpy as np
import pytest

from tests.helpers import HEADER, SCRIPTS

sys.path.insert(0, str(SCRIPTS))
try:
    bench = import_module("bench_defaults")
    contenders, report, scores, sets = (
        import_module(f"defaults.{name}") for name in ("contenders", "report", "scores", "sets")
    )
finally:
    sys.path.remove(str(SCRIPTS))

RIGHT, WRONG = "right", "wrong"
PAGE = "before\n<!-- defaults:start -->\nold\n<!-- defaults:end -->\nafter\n"


def answers_with(label, confidence=None):
    """Return a contender's `fit` that learns nothing and answers one label."""

    def classify(texts):
        certain = None if confidence is None else np.full(len(texts), confidence)
        return scores.Answers([label] * len(texts), certain)

    return lambda rows, seed: classify


def contender(name, label, confidence=None):
    return contenders.Contender(name, answers_with(label, confidence))


@pytest.fixture
def data():
    rows = [(f"text {index}", RIGHT) for index in range(10)]
    return sets.OpenSet("tiny", "tiny set", [*rows, ("other", WRONG)], rows)


@pytest.fixture
def folder(tmp_path):
    for split, copies in (("train", 20), ("test", 3)):
        rows = "the team won,sport\nthe bank fell,money\n" * copies
        (tmp_path / f"{split}.csv").write_text(HEADER + rows, encoding="utf-8")
    return tmp_path


@pytest.fixture
def ag_news(monkeypatch):
    """Rows that stand in for AG_NEWS."""

    def read(spec, split):
        rows = []
        for number in range(400):
            label = ("World", "Sports", "Business", "Sci/Tech")[number % 4]
            rows.append((" ".join(f"{split}{number}w{word}" for word in range(40)), label))
        return rows

    monkeypatch.setattr(sets, "_read", read)
    return sets.Sources(held_out=False, folders={})


@pytest.mark.parametrize(
    "module",
    [pytest.param(contenders, marks=pytest.mark.slow), report, scores, sets],
    ids=lambda module: module.__name__,
)
def test_examples_in_the_docstrings(module):
    assert doctest.testmod(module).failed == 0


def test_cuts_are_balanced_and_stay_in_their_split(ag_news):
    entry = sets.ag_news(40, ag_news)
    labels = [label for _, label in entry.train]
    assert entry.name == "ag_40"
    assert {labels.count(label) for label in set(labels)} == {10}
    assert all(text.startswith("train") for text, _ in entry.train)
    assert all(text.startswith("test") for text, _ in entry.test)


def test_held_out_rows_are_not_trained_on(ag_news):
    ag_news.held_out = True
    entry = sets.ag_news(None, ag_news)
    assert (len(entry.train), len(entry.test)) == (320, 80)
    assert not {text for text, _ in entry.train} & {text for text, _ in entry.test}
    assert all(text.startswith("train") for text, _ in entry.test)


def test_unbalanced_training_rows_have_balanced_test_rows(ag_news, monkeypatch):
    monkeypatch.setattr(sets, "UNBALANCED", {"Business": 50, "Sci/Tech": 5, "World": 2})
    entry = sets.unbalanced(ag_news)
    trained, tested = ([label for _, label in rows] for rows in (entry.train, entry.test))
    assert [trained.count(label) for label in sets.UNBALANCED] == [50, 5, 2]
    assert [tested.count(label) for label in sets.UNBALANCED] == [100, 100, 100]


def test_short_and_long_texts_keep_their_words_in_order(ag_news):
    for text, _ in sets.short(ag_news).test:
        first, *_ = words = text.split()
        prefix, _, start = first.rpartition("w")
        assert words == [f"{prefix}w{int(start) + step}" for step in range(3)]
    long = sets.long(ag_news)
    assert {len(text.split()) for text, _ in long.test} == {520}  # the first multiple of 40
    assert {label for _, label in long.test} == {"World", "Sports", "Business", "Sci/Tech"}


def test_a_tenth_of_each_label_is_held_out_for_autotune():
    rows = [(f"a{index}", "a") for index in range(50)] + [("b0", "b"), ("b1", "b"), ("c", "c")]
    train, validation = contenders.stratified_tenth(rows)
    assert sorted(train + validation) == sorted(rows)
    labels = [label for _, label in validation]
    assert [labels.count(label) for label in "abc"] == [5, 1, 0]


def test_scores_of_answers():
    answers = scores.Answers(["x", "x", "y", "unseen"], np.array([0.9, 0.9, 0.9, 0.9]))
    result = scores.score(["x", "y", "y", "y"], answers, 2.0)
    assert result.accuracy == 0.5
    assert result.macro_f1 == pytest.approx((2 / 3 + 2 / 4) / 2)
    assert result.ece == pytest.approx(0.4)
    assert scores.score(["x"], scores.Answers(["x"]), 1.0).ece is None


@pytest.mark.parametrize(
    ("only_ours", "only_theirs", "verdict"),
    [(9, 1, "better"), (6, 4, "not different"), (1, 9, "worse"), (0, 0, "not different")],
)
def test_the_paired_test_counts_texts_that_one_gets_right(only_ours, only_theirs, verdict):
    ours = np.array([True] * only_ours + [False] * only_theirs + [True] * 50)
    theirs = np.array([False] * only_ours + [True] * only_theirs + [True] * 50)
    assert scores.compare(ours, theirs).verdict == verdict


def test_the_tables_say_who_wins(data):
    entries = [
        contender(contenders.OURS, RIGHT, 0.9),
        contender("good", RIGHT),
        contender("bad", WRONG, 0.5),
    ]
    results = [bench.measure(data, entries, seeds=2)]
    assert [len(entry.runs) for entry in results[0].contenders.values()] == [2, 1, 1]
    text = report.report(results)
    assert "| tiny set | 100.0 | 100.0 | 0.0 ▼ |" in text
    assert "| our defaults | 100.0 ± 0.0 | 100.0 | 0.100 | 0.0 s |  |" in text
    assert "| good | 100.0 | 100.0 | – | 0.0 s | not different (p = 1.000) |" in text  # noqa: RUF001
    assert "| bad | 0.0 | 0.0 | 0.500 | 0.0 s | 1 / 0 / 0 |" in text
    assert "Mean accuracy: 100.0 with our defaults, 100.0 with the best peer, good." in text
    assert "below a peer on 0 of 1 sets." in text


def test_the_summary_names_the_sets_that_are_lost(data):
    entries = [contender(contenders.OURS, WRONG, 0.5), contender("good", RIGHT)]
    results = [bench.measure(data, entries, seeds=1)]
    assert "below a peer on 1 of 1 sets: tiny set (good)." in report.summary(results)
    assert "| tiny set | 0.0 | 100.0 ▲ |" in report.overview(results)
    assert report.summary([bench.measure(data, entries[:1], seeds=1)]) == "No peer took part."


def test_a_missing_peer_is_skipped_in_one_line(capsys):
    missing = contenders.Contender("absent", answers_with(RIGHT), "no_such_module", "no-such")
    assert bench.available([contender(contenders.OURS, RIGHT), missing])[1:] == []
    line = "absent: skipped, not installed; run `pip install -c constraints.txt no-such`\n"
    assert capsys.readouterr().err == line


def test_options_that_cannot_work_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        bench.main(["--only", "langid"])
    assert "name its folder with --langid DIR" in capsys.readouterr().err
    page = tmp_path / "page.md"
    page.write_text("no markers\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"page\.md: the markers .* are missing"):
        bench.main(["--docs", str(page)])


@pytest.mark.slow
def test_a_tiny_run_fills_the_page_and_prints_json(folder, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    command = ["--only", "langid", "--langid", str(folder), "--seeds", "2", "--no-peers", "--json"]
    bench.main([*command, "--docs", str(page)])
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "`langid`: 40 training rows, 6 test rows, 2 labels." in text
    assert "No peer took part." in text
    (result,) = json.loads(capsys.readouterr().out)
    assert [run["accuracy"] for run in result["contenders"]["our defaults"]["runs"]] == [1.0, 1.0]


def test_the_page_in_the_repository_has_the_markers():
    bench.check_markers(SCRIPTS.parent / "docs" / "accuracy.md", bench.MARKER)

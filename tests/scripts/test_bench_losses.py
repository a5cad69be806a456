"""The benchmark of the losses: its texts, its table, and that a tiny run fills the page."""

from __future__ import annotations

import sys
from importlib import import_module

import numpy as np
import pytest

from tests.helpers import SCRIPTS

sys.path.insert(0, str(SCRIPTS))
try:
    bench = import_module("bench_losses")
finally:
    sys.path.remove(str(SCRIPTS))

START, END = "<!-- losses:start -->", "<!-- losses:end -->"


@pytest.mark.slow
def test_labels_follow_zipf_and_texts_tell_them():
    language = bench.Language(50)
    texts, labels = language.texts(20_000, 1)
    names, counts = np.unique(labels, return_counts=True)
    assert len(names) == 50
    ordered = np.sort(counts)[::-1]
    assert ordered[0] / ordered[9] == pytest.approx(10, rel=0.2)
    assert {len(text.split()) for text in texts} == {bench.TEXT_WORDS}
    again = bench.Language(50).texts(20_000, 1)
    assert again == (texts, labels)
    assert language.texts(20_000, 2) != again


def test_frequency_does_not_follow_the_order_of_the_names():
    _, labels = bench.Language(50).texts(5000, 1)
    names, counts = np.unique(labels, return_counts=True)
    assert names[counts.argmax()] != "label0"


def runs(loss: str, seconds: list[float]) -> list:
    return [
        bench.Run(1000, loss, 0.5, taken, 3000, accuracy, 0.25, 1e4, 1.5)
        for taken, accuracy in zip(seconds, [0.5, 0.6, 0.7], strict=True)
    ]


def test_the_table_has_medians_of_times_and_means_of_scores():
    lines = bench.table([*runs("adaptive", [1.0, 9.0, 3.0]), *runs("softmax", [6, 6, 6])])
    assert lines.splitlines()[2:] == [
        "| 1,000 | `softmax` | 0.5 | 6.0 s | 500 | 60.0 % | 0.250 | 10,000 | 1.5 MB |",
        "| 1,000 | `adaptive` | 0.5 | 3.0 s | 1,000 | 60.0 % | 0.250 | 10,000 | 1.5 MB |",
    ]


def test_a_page_without_markers_is_left_alone_before_anything_is_measured(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("no markers\n")
    with pytest.raises(SystemExit, match=r"page\.md: the markers .* are missing"):
        bench.main(["--write-docs", "--docs", str(page)])
    assert page.read_text() == "no markers\n"


@pytest.mark.slow
def test_a_tiny_run_fills_the_page(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    sizes = ["--labels", "20", "--rows", "300", "--test-rows", "50", "--epochs", "1"]
    rounds = ["--rounds", "1", "--dim", "16", "--threads", "1"]
    assert bench.main([*sizes, *rounds, "--write-docs", "--docs", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    for loss in ("softmax", "hs", "ns", "adaptive"):
        assert f"| 20 | `{loss}` | {bench.RATES[loss]:g} |" in text
    assert "python scripts/bench_losses.py --labels 20 --rows 300" in text
    assert text.split(START)[1].split(END)[0].strip() in capsys.readouterr().out


def test_the_page_in_the_repository_has_the_markers():
    bench.check_markers(bench.PAGE, bench.MARKERS)

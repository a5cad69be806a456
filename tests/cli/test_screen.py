"""What a command shows fits on a screen of 80 columns; ``--all`` shows the rest."""

from __future__ import annotations

import io
import re

import pytest

from fasttext_app.cli.render.console import MAX_CELL, Console, Text, new_table
from fasttext_app.training.events import EpochEnd, EpochRecord, TrainBegin
from fasttext_app.training.progress import epoch_line
from tests.helpers import QUICK

LABELS = 30
LONG = 60  # lines, which fit on a screen with a little scrolling


def count_labels(shown):
    """Return how many rows of tables are a label and numbers."""
    return len(re.findall(r"│ label\d+ +│ +[-+\d]", shown))


@pytest.fixture
def many_labels(run, workdir):
    """A file with many labels, ``many.csv``, and a model of it."""
    rows = "".join(f"word{n} and text,label{n}\n" * (LABELS - n + 1) for n in range(LABELS))
    for name in ("many.csv", "copy.csv"):
        (workdir / name).write_text("text,label\n" + rows)
    run("train", "--data", "many.csv", "--output", "many", *QUICK)
    return "many"


@pytest.mark.slow
def test_tables_stop_at_a_screen(run, many_labels):
    commands = [
        ("info", "many"),
        ("data", "many.csv"),
        ("evaluate", "many", "--data", "many.csv"),
        ("inspect", "many", "word3 and text"),
        ("calibrate", "many", "--data", "copy.csv", "--thresholds", "f1", "--no-temperature",
         "--output", "calibrated", "--overwrite"),
    ]  # fmt: skip
    rest = "and 10 more labels; --all shows them"
    for command in commands:
        shown, whole = run(*command).stdout, run(*command, "--all").stdout
        assert rest in shown
        assert count_labels(shown) == LABELS - 10
        assert rest not in whole
        assert count_labels(whole) == LABELS
        assert len(shown.splitlines()) < LONG
    dry = run("train", "--data", "many.csv", "--dry-run").stdout
    assert "and 10 more labels; --json shows them" in dry


@pytest.mark.slow
def test_info_shows_the_settings_that_are_not_the_default(run, many_labels):
    shown, whole = run("info", "many").stdout, run("info", "many", "--all").stdout
    assert "trainer.epochs" in shown
    assert "text.min_count" not in shown
    assert "defaults; --all shows them" in shown
    assert "text.min_count" in whole


@pytest.mark.parametrize("epochs", [6, 100])
@pytest.mark.parametrize("monitor", ["accuracy", "precision@recall:0.95", "f1:a long label"])
@pytest.mark.parametrize("loss", [0.5, 12.5])
def test_the_line_of_an_epoch_fits(epochs, monitor, loss):
    score = None if monitor == "accuracy" else 0.5
    record = EpochRecord(epochs, loss, 9.9, 1_234_567.0, loss, 0.5, 0.5, score)
    line = epoch_line(EpochEnd(record, True), TrainBegin(1, 1, epochs, "cpu", monitor))
    assert len(line) <= 80
    assert line.startswith(f"epoch {epochs}/{epochs}  loss {loss:.4f}  ")
    assert f"{monitor} 0.5000" in line
    if monitor == "accuracy":
        assert f"  val loss {loss:.4f}  accuracy 0.5000" in line
    assert line.endswith("  (best)")


def test_an_epoch_without_validation_shows_its_speed():
    record = EpochRecord(1, 0.5, 9.9, 1_234.0)
    line = epoch_line(EpochEnd(record, True), TrainBegin(1, 0, 6, "cpu"))
    assert line == "epoch 1/6  loss 0.5000  1,234 texts/s"


def test_a_cell_of_a_table_is_cut_before_it_fills_many_screens():
    stream = io.StringIO()
    table = new_table("Labels", "label", "x" * 50_000)
    table.add_row("y" * 5_000_000, Text("z" * 5_000_000))
    Console(file=stream, width=80).print(table)
    shown = stream.getvalue()
    assert shown.count("…") == 3
    assert {shown.count(letter) for letter in "xyz"} == {MAX_CELL}

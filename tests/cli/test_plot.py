"""``fasttext-app plot``: learning curves read from a run, drawn in characters and in files."""

from __future__ import annotations

import io
import json
import re
import sys
from functools import partial
from xml.etree import ElementTree

import pytest
from rich.console import Console

import fasttext_app as ft
from fasttext_app.cli.render.curves import BEST, HEIGHT, show_curves
from fasttext_app.cli.render.plots import draw_curves
from fasttext_app.errors import ArtifactError, MissingDependencyError
from fasttext_app.fasttext.convert import from_fasttext
from fasttext_app.fasttext.file_format import read_file
from fasttext_app.model.directory import save_artifact
from fasttext_app.training.events import EpochRecord
from fasttext_app.training.history import Curve, History, Panel, load_history, panels
from tests.helpers import run_cli

LOSSES = [0.9, 0.5, 0.3, 0.2]
NO_EPOCHS = "there are no epochs to plot; the model was imported, or its first epoch has not ended"
VALIDATED = {"validation_loss": 0.6, "validation_accuracy": 0.8, "validation_macro_f1": 0.7}


def history(name="run", losses=LOSSES, best=None, **scores):
    scores = scores if best is None or scores else VALIDATED
    epochs = [EpochRecord(n, loss, 1.0, 10.0, **scores) for n, loss in enumerate(losses, start=1)]
    return History(name, tuple(epochs), best)


def drawn(found, width=90, encoding="utf-8", color=None):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, highlight=False, soft_wrap=True, color_system=color)
    show_curves(found, console)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    return partial(run_cli, "plot")


@pytest.fixture
def write(tmp_path):
    """Write the history of a run into a folder."""

    def write(name, document):
        (tmp_path / name).mkdir()
        text = document if isinstance(document, str) else json.dumps(document)
        (tmp_path / name / "history.json").write_text(text)
        return tmp_path / name

    return write


def epoch(number, **metrics):
    return {"epoch": number, "train_loss": 1 / number, "seconds": 1.0, "texts_per_second": 9.0} | (
        metrics
    )


# --- reading


def test_a_trained_model_has_its_history(tmp_path, tiny_examples):
    texts, labels = zip(*tiny_examples, strict=True)
    model = ft.train(texts, labels, epochs=3, dim=4, validation=0.2)
    model.save(tmp_path / "model")
    found = load_history(tmp_path / "model")
    assert found.name == str(tmp_path / "model")
    assert [record.epoch for record in found.epochs] == [1, 2, 3]
    written = model.artifact.history
    assert [record.validation_macro_f1 for record in found.epochs] == [
        entry["validation_macro_f1"] for entry in written["epochs"]
    ]
    assert found.best_epoch == written["best_epoch"]


def test_without_validation_no_epoch_is_the_best(tiny_model_dir):
    found = load_history(tiny_model_dir)
    assert found.best_epoch is None
    assert len(found.epochs) == 10
    assert [panel.title for panel in panels([found])] == ["loss"]


def test_unknown_metrics_in_a_history_are_ignored(write):
    found = load_history(write("run", {"best_epoch": 1, "epochs": [epoch(1, warmth=3)]}))
    assert found.epochs == (EpochRecord(1, 1.0, 1.0, 9.0),)


def test_a_score_may_be_a_whole_number_of_any_size(write, run):
    folder = write("run", {"epochs": [epoch(1, train_loss=10**30), epoch(2)]})
    assert load_history(folder).epochs[0].train_loss == 1e30
    assert "loss" in run(folder).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, NO_EPOCHS),
        ({"epochs": [], "best_epoch": 0}, NO_EPOCHS),
        ("{", "history.json: not the history of a run: "),
        ("[]", "history.json: not the history of a run: "),
        ({"epochs": 3}, "history.json: not the history of a run: "),
        ({"epochs": [{"epoch": 1}]}, "not the history of a run: "),
        ({"epochs": [epoch(1, epoch="1")]}, "not the history of a run: "),
        ({"epochs": [epoch(1, validation_loss="low")]}, "not the history of a run: "),
        ({"epochs": [epoch(1, train_loss=float("nan"))]}, "of a run: train_loss is nan"),
        ({"epochs": [epoch(1, train_loss=10**400)]}, "not the history of a run: "),
        ({"epochs": [epoch(1, epoch=None)]}, "not the history of a run: "),
        ({"epochs": [epoch(1, epoch=0.5)]}, "not the history of a run: "),
        ({"epochs": [epoch(1, epoch=10**30)]}, "not the history of a run: "),
    ],
)
def test_a_history_that_cannot_be_plotted_is_refused(write, run, document, reason):
    folder = write("run", document)
    with pytest.raises(ArtifactError, match=re.escape(reason)):
        load_history(folder)
    shown = run("run", code=1).stderr
    assert shown.startswith("error: run")
    assert shown.count("\n") == 1


@pytest.mark.slow
def test_an_imported_model_has_no_curves(run, train_original, tmp_path):
    path = train_original()
    save_artifact(from_fasttext(read_file(path), str(path)), tmp_path / "imported")
    assert run("imported", code=1).stderr == f"error: imported: {NO_EPOCHS}\n"


def test_a_folder_without_a_run_is_refused(tmp_path, run):
    assert run("none", code=1).stderr == "error: none: no such model directory\n"
    assert run(".", code=1).stderr == "error: .: has no history.json\n"


# --- grouping


def test_the_metrics_of_one_run_are_grouped_by_kind():
    loss, scores = panels([history(best=2)])
    assert (loss.title, [curve.name for curve in loss.curves]) == ("loss", ["train", "validation"])
    assert (scores.title, [c.name for c in scores.curves]) == (
        "validation",
        ["accuracy", "macro F1"],
    )
    assert loss.curves[0] == Curve("train", (1, 2, 3, 4), tuple(LOSSES), 2)


def test_each_metric_of_several_runs_has_a_panel():
    found = panels([history("a", best=2), history("b", [0.4])])
    assert [panel.title for panel in found] == [
        *("train loss", "validation loss", "validation accuracy", "validation macro F1")
    ]
    assert [curve.name for curve in found[0].curves] == ["a", "b"]
    assert [curve.name for curve in found[1].curves] == ["a"]
    assert [panel.title for panel in panels([history("a"), history("b")])] == ["train loss"]


# --- drawing in characters


def cells(shown):
    """Return {(row, column): mark} of the first panel."""
    rows = [line.partition("│")[2] for line in shown.splitlines() if "│" in line][:HEIGHT]
    return {
        (row, column): letter
        for row, line in enumerate(rows)
        for column, letter in enumerate(line)
        if letter not in " ·"
    }


def test_markers_are_at_their_values():
    shown = drawn(panels([history(losses=[3.0, 2.0, 1.0])]))
    width = 2 * 12
    assert cells(shown) == {(0, 0): "o", (6, width // 2): "o", (HEIGHT - 1, width): "o"}
    lines = shown.splitlines()
    assert lines[0] == "loss"
    assert lines[1].startswith("3.0000 │o")
    assert lines[HEIGHT].startswith("1.0000 │")
    assert lines[HEIGHT + 2].split() == ["1", "3", "epoch"]
    assert "o train: 1.0000 in epoch 3" in shown


def test_the_best_epoch_is_marked():
    shown = drawn(panels([history(best=3)]))
    assert "* 0.3000 in the best epoch, 3" in shown
    best = [column for (_, column), mark in cells(shown).items() if mark == BEST]
    assert best == [24, 24]  # of both curves
    assert BEST not in drawn(panels([history()]))


def test_a_run_of_one_epoch_is_a_point():
    shown = drawn(panels([history(losses=[0.5])]))
    assert list(cells(shown).values()) == ["o"]
    assert "0.5000 │o" in shown
    assert "o train: 0.5000 in epoch 1" in shown


def test_equal_values_are_a_horizontal_line():
    shown = drawn(panels([history(losses=[0.5] * 3)]))
    assert {row for row, _ in cells(shown)} == {HEIGHT // 2}


@pytest.mark.parametrize("width", [20, 40, 90, 300])
@pytest.mark.parametrize("epochs", [1, 2, 30, 500])
def test_a_panel_fits_the_terminal(width, epochs):
    found = panels([history(losses=[1 / n for n in range(1, epochs + 1)])])
    lines = drawn(found, width).splitlines()
    assert max(map(len, lines[1 : HEIGHT + 2])) <= min(width, 90)


def test_a_terminal_without_unicode_gets_plain_characters():
    shown = drawn(panels([history(best=2)]), encoding="ascii")
    assert "|o" in shown
    assert "+-----" in shown


def test_the_best_mark_is_not_hidden_by_another_epoch():
    losses = [1.0] * 400
    assert "*" in cells(drawn(panels([history(losses=losses, best=200)]))).values()


@pytest.mark.slow
def test_the_command_draws_one_run_and_several(run, tiny_model_dir, write):
    document = {"best_epoch": 1, "epochs": [epoch(1, **VALIDATED), epoch(2, **VALIDATED)]}
    write("mine", document)
    shown = run("mine").stdout
    assert shown.startswith("loss\n")
    assert "x validation: 0.6000 in epoch 2; * 0.6000 in the best epoch, 1" in shown
    shown = run("mine", tiny_model_dir).stdout
    assert shown.startswith("train loss\n")
    assert "o mine: 0.5000 in epoch 2" in shown
    assert f"x {tiny_model_dir}: " in shown


# --- pictures


def texts_of(svg):
    return re.findall(r"<!-- (.*?) -->", svg)


@pytest.mark.slow
def test_an_svg_is_the_same_each_time(run, write, tmp_path):
    write("run", {"best_epoch": 1, "epochs": [epoch(1, **VALIDATED), epoch(2, **VALIDATED)]})
    for name in ("a.svg", "b.SVG"):
        result = run("run", "--output", name)
        assert (result.stdout, result.stderr) == ("", f"wrote {name}\n")
    page = (tmp_path / "a.svg").read_text()
    assert page == (tmp_path / "b.SVG").read_text()
    assert ElementTree.fromstring(page).tag.endswith("svg")
    assert {"loss", "train", "validation", "accuracy", "macro F1"} <= set(texts_of(page))


@pytest.mark.slow
def test_a_png(run, tiny_model_dir, tmp_path):
    run(tiny_model_dir, "--output", "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.slow
def test_any_run_name_is_shown_as_it_is(tmp_path):
    names = ["_hidden", "a$b$", r"$\frac$", "日本", "<b> & c"]
    draw_curves(panels([history(name, [0.5]) for name in names]), tmp_path / "a.svg")
    shown = (tmp_path / "a.svg").read_text(encoding="utf-8")
    texts = [text.strip().replace(r"\$", "$") for text in texts_of(shown)]
    assert {name for name in names if name.isascii() and "<" not in name} <= set(texts)


@pytest.mark.slow
def test_the_best_epoch_is_marked_in_the_picture(tmp_path):
    for best, shown in ((None, False), (2, True)):
        draw_curves(panels([history(best=best)]), tmp_path / "a.svg")
        assert ("epoch  (★ best)" in (tmp_path / "a.svg").read_text(encoding="utf-8")) == shown


@pytest.mark.slow
def test_without_matplotlib_the_error_says_what_to_install(
    run, tiny_model_dir, monkeypatch, tmp_path
):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match="pip install matplotlib"):
        draw_curves([Panel("x", ())], tmp_path / "a.png")
    result = run(tiny_model_dir, "--output", "a.png", code=1)
    assert result.stderr == (
        "error: a plot needs the package matplotlib; "
        "pip install -c constraints.txt '.[plots]', or pip install matplotlib\n"
    )
    assert list(tmp_path.iterdir()) == []
    run(tiny_model_dir)  # characters need none


@pytest.mark.slow
def test_other_file_formats_are_refused(run, tiny_model_dir):
    assert (
        "a.pdf: name a .png or .svg file" in run(tiny_model_dir, "--output", "a.pdf", code=2).stderr
    )
    assert run(tiny_model_dir, "--output", "no/a.png", code=1).stderr == (
        "error: no/a.png: there is no folder no\n"
    )

"""The program as a whole: help, version, and names that look like markup."""

from __future__ import annotations

import csv

import pytest
import typer
from pydantic import TypeAdapter
from typer.testing import CliRunner

from fasttext_app._version import __version__
from fasttext_app.cli.program import COMMANDS, make_app
from tests.helpers import QUICK, read_json


def test_version(run):
    assert run("--version").stdout == f"fasttext-app {__version__}\n"


@pytest.mark.slow
def test_help_lists_every_command(run):
    shown = run("--help").stdout
    for command in COMMANDS:
        assert command in shown
    assert "Usage" in run(code=2).stdout + run(code=2).stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_loaded_alone_shows_the_same_help(run, command):
    shown = run(command, "--help").stdout
    assert "Usage" in shown
    alone = CliRunner().invoke(make_app(command), [command, "--help"], prog_name="fasttext-app")
    assert alone.stdout == shown


def test_only_options_that_have_a_value_get_a_validator(monkeypatch):
    built = []
    build = TypeAdapter.__init__

    def count(self, kind, **named):
        built.append(kind)
        build(self, kind, **named)

    monkeypatch.setattr(TypeAdapter, "__init__", count)
    program = typer.main.get_group(make_app("predict"))
    command = program.commands["predict"]
    context = command.make_context("predict", ["model", "a text", "--top-k", "2"])
    assert (context.params["top_k"], context.params["texts"]) == (2, ["a text"])
    assert (context.params["threshold"], context.params["settings"]) == (None, ())
    assert len(built) < 10  # 25 if every option had one


@pytest.mark.slow
def test_brackets_in_labels_texts_and_names_are_not_markup(run, workdir):
    path = workdir / "odd [bold] :smile:.csv"
    rows = [("a [/b] text", "[/b]"), ("[red]more[/red]", "[red]:100:")] * 6
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    model = "[model] :x:"
    run("train", "--data", path, "--output", model, *QUICK)
    shown = run("evaluate", model, "--data", path).stdout
    assert "[/b]" in shown
    assert "[red]:100:" in shown
    assert "a [/b] text" in run("data", path).stdout
    assert "[red]:100:" in run("info", model).stdout
    assert "[red]more[/red]" in run("inspect", model, "[red]more[/red]").stdout


@pytest.mark.slow
def test_names_in_headings_are_not_markup(run, workdir):
    path = workdir / "m[:x:]" / "[b].csv"
    path.parent.mkdir()
    path.write_text("text,label\n" + "a,x\nb,y\n" * 6)
    assert "m[:x:]/[b].csv" in run("data", path.relative_to(workdir)).stdout
    run("train", "--data", path, "--output", "[/m]", *QUICK)
    assert "Model [/m]" in run("info", "[/m]").stdout


def test_a_line_number_in_a_message_is_not_an_emoji(run, workdir):
    (workdir / "a.csv").write_bytes(b"text,label\n" + b"a,x\n" * 98 + b"caf\xe9,x\n")
    assert run("data", "a.csv", code=1).stderr.startswith("error: a.csv:100: byte 0xe9 is not")


@pytest.mark.slow
def test_settings_fixed_by_training_cannot_be_set_later(run, tiny_model_dir, tiny_csv):
    setting = ["--set", "text.word_ngrams=3"]
    for command in (["predict", tiny_model_dir, "x"], ["evaluate", tiny_model_dir]):
        assert "only data.* can be set here" in run(*command, *setting, code=1).stderr
    setting = ["--set", "model.dim=3"]
    shown = run("inspect", "--without-model", "x", *setting, code=1).stderr
    assert "only text.* can be set here" in shown


@pytest.mark.slow
def test_every_command_reads_the_columns_named_in_training(run, tiny_csv, workdir):
    rows = (tiny_csv / "train.csv").read_text(encoding="utf-8")
    for split in ("train", "test"):
        (workdir / f"{split}.csv").write_text(rows.replace("text,label", "body,topic", 1))
    run("train", "--data", ".", "--output", "model", "--text-column", "body",
        "--label-column", "topic", *QUICK)  # fmt: skip
    assert read_json(run("evaluate", "model", "--json"))["examples"] == 20
    assert run("predict", "model", "--input", "test.csv").stdout.count("\n") == 20

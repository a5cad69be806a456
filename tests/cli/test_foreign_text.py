"""Every command, given labels, texts, columns, files and settings by someone who means harm."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest

from fasttext_app.cli import terminal
from fasttext_app.cli.program import COMMANDS
from fasttext_app.cli.render.console import Console
from fasttext_app.cli.render.progress import LiveBar
from fasttext_app.foreign_text import UNSAFE
from tests.helpers import QUICK, run_cli

TITLE, CLEAR = "\x1b]0;owned\x07", "\x9b2J"
"""Sequences that set the title of a terminal, and clear it."""
LABEL = f"-l{TITLE}{CLEAR}\u202e[red]<script>alert(1)</script>|$=1$\n\u2028forged: line\r"
LABELS = (LABEL, "=1+1")
TEXT = f"the team{TITLE} won\u202e [bold]x[/bold] <img src=x>\x85{CLEAR}"
COLUMN = f"te{TITLE}xt[red]\u202e"
FILE = f"da{TITLE}[red]{CLEAR}\u202e.csv"
FOLDER = f"mo{TITLE}[red]{CLEAR}del"
THRESHOLDS = "--thresholds", "f1", "--no-temperature"
NO_LABEL = f"trainer.monitor=f1:{TITLE}"
MISSING = f"no{TITLE}[red]\n{CLEAR}ne"

FT = {
    **{"predict": ["-"], "predict-prob": ["-"], "test": ["x.txt"], "test-label": ["x.txt"]},
    **{"dump": ["dict"], "nn": ["2"], "analogies": ["1"], "print-ngrams": [f"the{TITLE}"]},
    **{"print-word-vectors": [], "print-sentence-vectors": []},
}
"""The commands of ``ft`` that read a model, with what follows it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with hostile files, and models of them."""
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        rows = [(TEXT, LABEL), ("the bank fell", LABELS[1])] * 10
        with Path(FILE).open("w", newline="") as file:
            csv.writer(file).writerows([(COLUMN, "label"), *rows])
        with Path("more.csv").open("w", newline="") as file:
            csv.writer(file).writerows([(COLUMN, "label"), *rows, ("x y", f"new{LABEL}")])
        with Path("many.csv").open("w", newline="") as file:
            words = ["".join(letters) for letters in permutations("efgh", 3)]
            texts = [(f"{word} {word[::-1]}x", LABELS[word < "g"]) for word in words]
            csv.writer(file).writerows([(COLUMN, "label"), (TEXT, LABEL), *texts])
        word = re.sub(r"\s", "", LABEL)
        lines = f"__label__{word} the{TITLE} team\n__label__b the bank{CLEAR}\n"
        Path("x.txt").write_text(lines * 9)
        run_cli("train", "-d", FILE, "--text-column", COLUMN, "-o", FOLDER, *QUICK)
        quick = ("-epoch", 2, "-dim", 2, "-bucket", 10, "-thread", 1)
        run_cli("ft", "supervised", "-input", "x.txt", "-output", "m", *quick)
    return folder


@pytest.fixture
def terminals(folder, monkeypatch):
    """The folder; standard output and error are guarded as on a terminal."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(terminal, "_guarded", terminal.TerminalStream)


def commands():
    """Yield each command with its arguments."""
    yield "train", "-d", FILE, "--text-column", COLUMN, "-o", f"{FOLDER}2", *QUICK
    yield "train", "-d", FILE, "--text-column", COLUMN, "--dry-run"
    yield (
        "train",
        "-d",
        FILE,
        "--text-column",
        COLUMN,
        "-o",
        "never",
        "-s",
        f"trainer.monitor=f1:{TITLE}",
    )
    yield (
        "tune",
        "-d",
        FILE,
        "--text-column",
        COLUMN,
        "-o",
        "se[red]arch",
        "--trials",
        1,
        "-s",
        (f"trainer.monitor=f1:{LABEL}"),
    )
    yield "predict", FOLDER, TEXT, "-k", 2
    yield "predict", FOLDER, "-i", FILE, "--keep", "all"
    for form in ("jsonl", "csv", "fasttext"):
        yield "predict", FOLDER, TEXT, "-k", 2, "-f", form
    yield "evaluate", FOLDER, "-d", "more.csv"
    yield "evaluate", FOLDER, "-d", "more.csv", "--json"
    yield (
        "calibrate",
        FOLDER,
        "-d",
        "more.csv",
        "-o",
        f"{FOLDER}3",
        "--thresholds",
        "f1",
        "--no-temperature",
    )
    yield "threshold", FOLDER, "-i", FILE, "--label", LABEL, "--keep", "0.5"
    yield "quantize", FOLDER, "-o", f"{FOLDER}4"
    yield "explain", FOLDER, TEXT, "--label", LABEL
    yield "explain", FOLDER, "--label", LABEL, "--against", LABELS[1]
    yield "explain", FOLDER, "--label", LABEL, "-d", FILE
    yield "inspect", FOLDER, TEXT, FILE[:-4]
    yield "inspect", "--without-model", TEXT
    yield "plot", FOLDER, FOLDER
    yield "info", FOLDER
    yield "info", FOLDER, "--all"
    yield "info", FOLDER, "--json"
    yield "data", FILE, "--text-column", COLUMN
    yield "import", "m.bin", "-o", f"{FOLDER}5"
    yield "export", FOLDER, f"{TITLE}.vec"
    yield "export", FOLDER, f"{TITLE}.onnx", "--input", FILE
    yield "report", FOLDER, "-d", FILE, "-o", f"{TITLE}.html"
    yield "review", "-d", "many.csv", "--text-column", COLUMN, "--folds", "2", "-o", f"{TITLE}.csv"
    yield "score", FOLDER, FILE, "-o", f"{FOLDER}6"
    yield "serve", FOLDER, FOLDER
    yield "push", FOLDER, f"owner/[red]{TITLE}"
    yield "pull", f"owner/[red]{TITLE}", "x"
    for name, rest in FT.items():
        yield "ft", name, "m.bin", *rest


def dangerous(shown):
    """Return the characters that a terminal would obey, and what would be a line of its own."""
    return [*re.findall(f"(?![\n\t])[{UNSAFE}]", shown), *re.findall("^forged.*", shown, re.M)]


NAMED = sorted({str(command[0]) for command in commands()})
FAIL = {"never", "push", "pull", "serve"}
SHOW_NOTHING_FOREIGN = {"warm-up"}


def test_every_command_is_walked():
    assert sorted(set(COMMANDS) - SHOW_NOTHING_FOREIGN) == NAMED


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_nothing_foreign_controls_a_terminal(terminals, name):
    for command in commands():
        if command[0] == name:
            result = run_cli(*command, "--overwrite", code=None, stdin=f"the{TITLE} team bank\n")
            if result.exit_code == 2:  # it has no --overwrite
                result = run_cli(*command, code=None, stdin=f"the{TITLE} team bank\n")
            assert dangerous(result.stdout) == [], command
            assert dangerous(result.stderr) == [], command
            assert result.exit_code == (1 if FAIL & {*command} else 0), result.output
            assert "owned" in result.output or name == "ft"


@pytest.mark.parametrize("name", NAMED)
def test_an_error_is_one_line_whatever_it_names(terminals, name):
    arguments = {
        **{"train": ["-d", MISSING], "data": [MISSING], "import": [MISSING, "-o", "x"]},
        **{"tune": ["-d", MISSING, "-o", "x", "--trials", "1"], "plot": [MISSING]},
        **{"calibrate": [MISSING, "-d", "x", "-o", "y"], "quantize": [MISSING, "-o", "x"]},
        **{"threshold": [MISSING, "-i", "x", "--label", "a", "--keep", "0.5"]},
        **{"inspect": [MISSING, "a"], "explain": [MISSING, "a"], "export": [MISSING, "x.bin"]},
        **{"ft": ["test", MISSING, "x"], "push": [MISSING, "a/b"], "pull": [MISSING, "x"]},
    }.get(name, [MISSING])
    for more in ([], [f"--{MISSING}"], ["--set", f"{MISSING}=1"]):
        result = run_cli(name, *arguments, *more, code=None, stdin="")
        assert result.exit_code in (1, 2)
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert dangerous(result.stderr) == []


def test_output_for_programs_has_every_character(folder, monkeypatch):
    monkeypatch.chdir(folder)
    row = json.loads(run_cli("predict", FOLDER, TEXT, "-k", 2, "-f", "jsonl").stdout)
    assert row["text"] == TEXT
    assert set(row["labels"]) == set(LABELS)
    run_cli("predict", FOLDER, TEXT, "-k", 2, "-o", "p.csv", "--overwrite")
    _, cells = csv.reader(io.StringIO(Path("p.csv").read_bytes().decode(), newline=""))
    assert {TEXT, *LABELS} < set(cells)
    run_cli("predict", FOLDER, TEXT, "-k", 2, "-o", "p.csv", "--safe-csv", "--overwrite")
    _, cells = csv.reader(io.StringIO(Path("p.csv").read_bytes().decode(), newline=""))
    assert {TEXT, *(f"'{label}" for label in LABELS)} < set(cells)
    assert LABEL in json.loads(run_cli("info", FOLDER, "--json").stdout)["labels"]
    shown = run_cli("ft", "predict", "m.bin", "-", stdin="the team\n").stdout
    assert TITLE in shown


def test_plain_text_has_a_line_for_each_text(folder, monkeypatch):
    monkeypatch.chdir(folder)
    shown = run_cli("predict", FOLDER, TEXT, "a\nb\tc", "-k", 2).stdout
    assert len(shown.splitlines()) == 2
    assert all(line.count("\t") == 1 for line in shown.splitlines())
    assert dangerous(shown) == []


def test_safe_csv_needs_csv(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert "needs --format csv" in run_cli("predict", FOLDER, "a", "--safe-csv", code=2).stderr


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["svg", "png", "html"])
def test_no_page_or_picture_runs_anything(folder, monkeypatch, suffix):
    monkeypatch.chdir(folder)
    if suffix == "html":
        run_cli("explain", FOLDER, TEXT, "-o", "x.html", "--overwrite")
    else:
        run_cli("plot", FOLDER, FOLDER, "-o", f"x.{suffix}", "--overwrite")
    if suffix != "png":
        page = Path(f"x.{suffix}").read_text()
        assert dangerous(page) == []
        assert "<script" not in page
        assert "<img" not in page


@pytest.mark.slow
def test_a_real_terminal_gets_only_the_colors_of_the_program(folder):
    command = [sys.executable, "-m", "fasttext_app", "evaluate", FOLDER, "-d", "more.csv"]
    main, side = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen(
        command, cwd=folder, stdin=side, stdout=side, stderr=side, env=environment
    )
    os.close(side)
    shown = b""
    while True:
        try:
            shown += os.read(main, 65536)
        except OSError:  # the process has ended
            break
    assert process.wait() == 0
    text = shown.decode().replace("\r\n", "\n")
    colors = r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[0-9]?[AK]|\r"
    assert re.search(r"\x1b\[[0-9;]*m", text)
    assert dangerous(re.sub(colors, "", text)) == []
    assert "owned" in text


def test_a_bar_shows_names_as_they_are():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, _environ={"TERM": "xterm"})
    with LiveBar(console) as bar:
        bar.start("{task.fields[name]}", total=2, name=f"{TITLE}[red]\nforged: x")
        bar.update(1, name=f"{CLEAR}[bold]")
        bar.say(f"[red]{TITLE}\n{CLEAR}")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", stream.getvalue())
    assert dangerous(shown) == []
    assert "[red]" in shown
    assert "[bold]" in shown

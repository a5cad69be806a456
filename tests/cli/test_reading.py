"""The bar that shows how far the input is read, and the note that kernels are compiled."""

from __future__ import annotations

import gzip
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from fasttext_app.cli import messages, reading
from fasttext_app.cli.render import progress
from fasttext_app.config.schema import DataConfig
from fasttext_app.core import jit, meter
from fasttext_app.data import csv, jsonl, lines, parquet
from fasttext_app.data.files import scan_files
from tests.helpers import QUICK

ROWS = 200_000
TEXTS = [f"text {number:07} of many" for number in range(ROWS)]


def write(path: Path) -> None:
    """Write the texts in the format of the file's name."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": TEXTS}), path)
        return
    line = (lambda text: json.dumps({"text": text})) if ".jsonl" in path.name else str
    header = "" if ".jsonl" in path.name or path.suffix == ".txt" else "text\n"
    data = (header + "\n".join(map(line, TEXTS)) + "\n").encode()
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.parquet", "a.txt"])
def test_readers_keep_a_position_that_follows_the_rows(tmp_path, monkeypatch, name):
    for module in (csv, jsonl, lines):
        monkeypatch.setattr(module, "BLOCK_BYTES", 1 << 18)
    monkeypatch.setattr(parquet, "BATCH_ROWS", 10_000)
    path = tmp_path / name
    write(path)
    rows = 0
    for batch in scan_files([path], DataConfig(), False):
        rows += len(batch)
        entry = meter.current
        assert (entry.name, entry.total) == (str(path), path.stat().st_size)
        assert -0.1 < entry.position / entry.total - rows / ROWS < 0.05  # it lags by a block
        assert entry.position <= entry.total
    assert rows == ROWS


def test_several_files_are_one_input(tmp_path):
    paths = [tmp_path / f"{number}.txt" for number in range(3)]
    for path in paths:
        path.write_text("a text\n" * 10)
    seen = [
        (meter.current.before + meter.current.position, meter.current.total)
        for _ in scan_files(paths, DataConfig(), False)
    ]
    assert seen == [(70, 210), (140, 210), (210, 210)]
    assert meter.span is None


class Terminal:
    """Something that says it is a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.text += text


@pytest.fixture
def console(monkeypatch):
    """A console that records, in the place of the terminal; bars appear at once."""
    console = Console(force_terminal=True, width=80, file=io.StringIO(), record=True)
    monkeypatch.setattr(progress.LiveBar.__init__, "__defaults__", (console,))
    monkeypatch.setattr(reading, "DELAY", -1)
    monkeypatch.setattr(reading, "sys", SimpleNamespace(stderr=Terminal()))
    return console


def test_a_bar_shows_bytes_and_rate_and_leaves(console, tmp_path):
    path = tmp_path / "texts [red].txt"
    path.write_text("a text\n" * 200_000)
    with reading.reading_shown():
        for _ in meter.followed(scan_files([path], DataConfig(), False)):
            assert progress.LiveBar.is_shown
    assert not progress.LiveBar.is_shown
    shown = console.export_text()
    assert "reading texts [red].txt" in shown
    assert " of 1.4 MB" in shown
    assert " rows/s" in shown


def test_the_bar_leaves_before_an_error_is_reported(console, tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("a text\n" * 10)

    def work():
        with reading.reading_shown(then="encoding"):
            list(meter.followed(scan_files([path], DataConfig(), False)))
            assert progress.LiveBar.is_shown  # and says what comes then
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        work()
    assert not progress.LiveBar.is_shown
    assert "encoding" in console.export_text()
    assert reading.sys.stderr.text == reading.RESTORE
    assert meter.follow is None


def test_no_bar_in_a_pipe_or_with_quiet(console, monkeypatch):
    batches = iter([pa.record_batch({"text": ["a"]})])
    monkeypatch.setattr(messages, "is_quiet", True)
    with reading.reading_shown():
        assert meter.followed(batches) is batches
    monkeypatch.setattr(messages, "is_quiet", False)
    monkeypatch.setattr(Terminal, "isatty", lambda self: False)
    with reading.reading_shown():
        assert meter.followed(batches) is batches


@pytest.mark.slow
def test_a_terminal_gets_the_bar_of_a_forked_reader_and_stdout_only_the_result(tmp_path):
    """The data is read in another process, which draws on the same terminal."""
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "good fun,a\nbad luck,b\n" * 5_000)
    code = (
        "import sys\n"
        "from fasttext_app.cli import app, reading\n"
        "reading.DELAY = -1\n"
        "sys.argv = ['fasttext-app', *sys.argv[1:]]\n"
        "app.main()"
    )
    arguments = ["train", "--data", path, "--output", tmp_path / "model", *QUICK[:-1], "2"]
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=end
    )
    os.close(end)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 1 << 16)
        except OSError:  # the process has ended
            break
    result = process.communicate(timeout=60)[0].decode()
    assert result.startswith("saved the model of epoch ")
    assert "reading rows.csv" in shown.decode()
    assert "building the vocabulary" in shown.decode()
    assert "epoch 3/3" in shown.decode()


def test_compilation_is_announced_once(monkeypatch, capfd):
    import numba

    monkeypatch.setattr(messages, "_compiling", bytearray(1))
    monkeypatch.setattr(jit, "on_compile", messages.note_compilation)
    jit.compiled(lambda x: x)  # registers the listener
    for add in (1, 2):
        assert numba.njit(lambda x, add=add: x + add)(1) == 1 + add
    assert capfd.readouterr().err == "compiling kernels, once per machine; this can take a minute\n"

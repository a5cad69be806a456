"""Every command ends quietly, and with 141, once the reader of its output has (``| head``)."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress

import pytest

from fasttext_app.cli import app
from fasttext_app.cli.render import console
from fasttext_app.core import startup

pytestmark = pytest.mark.slow

COMMANDS = [
    ["--version"],
    ["--help"],
    ["train", "--help"],
    ["ft", "nn", "--help"],
    ["train", "--data", "good.csv", "--output", "new", "--epochs", "1", "--dim", "4"],
    ["train", "--data", "good.csv", "--dry-run"],
    ["predict", "model", "a text"],
    ["predict", "model", "--input", "good.csv", "--format", "jsonl"],
    ["evaluate", "model", "--data", "good.csv"],
    ["evaluate", "model", "--data", "good.csv", "--json"],
    ["calibrate", "model", "--data", "good.csv", "--thresholds", "f1", "--no-temperature",
     "--output", "calibrated"],
    ["threshold", "model", "--input", "good.csv", "--label", "sport", "--keep", "50%"],
    ["quantize", "model", "--output", "small", "--data", "good.csv"],
    ["explain", "model", "a text"],
    ["explain", "model", "a text", "--format", "html"],
    ["inspect", "model", "a text"],
    ["plot", "model"],
    ["info", "model"],
    ["data", "good.csv"],
]  # fmt: skip


@pytest.fixture
def program(monkeypatch, capfd):
    """Run the program with a closed pipe as standard output; return its exit code and stderr."""

    class Ended(BaseException):
        pass

    def end(code):
        raise Ended(code)

    threshold, environment = gc.get_threshold(), dict(os.environ)
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(startup, "is_command", startup.is_command)

    def run(*arguments):
        reader, writer = os.pipe()
        os.close(reader)
        monkeypatch.setattr(sys, "argv", ["fasttext-app", *arguments])
        monkeypatch.setattr(console.out, "quiet", False)  # Rich sets it at the first closed pipe
        with suppress(BrokenPipeError), open(writer, "w", encoding="utf-8") as stdout:  # noqa: PTH123
            monkeypatch.setattr(sys, "stdout", stdout)
            with pytest.raises(Ended) as ended:
                app.main()
        return ended.value.args[0], capfd.readouterr().err

    yield run
    gc.set_threshold(*threshold)
    os.environ.clear()
    os.environ.update(environment)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command_ends_with_141(program, model, arguments):
    code, shown = program(*arguments)
    assert code == 141
    assert "error" not in shown
    assert "Traceback" not in shown
